"""DeepLabV3 and FCN with a ResNet as backbone, as torchvision defines and names them.

Sources: Chen, Papandreou, Schroff, Adam, "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017; Long,
Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015. Both run at an output stride of 8,
and FCN is a single 3x3 convolution of a quarter of the channels and a classifier.

An auxiliary head in the file, `aux_classifier.*`, is merged and kept but never run: it serves training alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from fusionlib.architectures.aspp import ASPP, CHANNELS, RATES, unit
from fusionlib.architectures.built_in import BuiltIn, in_turn
from fusionlib.architectures.resnet import ResNet
from fusionlib.contracts import ARCHITECTURES, Stage

STRIDE = 8


class BackboneAndHead(nn.Module):
    """Input `(N, 3, H, W)` float32, output logits `(N, classes, H / 8, W / 8)`."""

    def __init__(self, depth: int, head: type[DeepLabHead] | type[FCNHead], classes: int) -> None:
        super().__init__()
        self.backbone = ResNet(depth, STRIDE)
        self.classifier = head(self.backbone.widths[-1], classes)

    def stages(self) -> tuple[Stage, ...]:
        """Every block of the backbone, then the head from one convolution to the next."""
        head = list(self.classifier)
        starts = [number for number, module in enumerate(head) if isinstance(module, ASPP | nn.Conv2d)]
        steps = (
            Stage(
                f"classifier.{start}",
                partial(_through, head[start:end]),
                tuple(f"classifier.{number}" for number in range(start, end)),
            )
            for start, end in pairwise((*starts, len(head)))
        )
        return *self.backbone.stages("backbone.", ()), *steps

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self.stages(), x)


def _through(modules: Iterable[nn.Module], state: tuple[Tensor] | Tensor) -> Tensor:
    """The backbone's state, or an activation of the head, through modules in turn; what comes in stays as it is."""
    x = state[0] if isinstance(state, tuple) else state
    for module in modules:
        x = module(x)
    return x


class DeepLabHead(nn.Sequential):
    """Pyramid pooling, a 3x3 convolution and a classifier."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(
            ASPP(inputs, RATES[STRIDE], dropout=0.5), *unit(CHANNELS, CHANNELS, 3), nn.Conv2d(CHANNELS, classes, 1)
        )


class FCNHead(nn.Sequential):
    """A 3x3 convolution and a classifier."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(*unit(inputs, inputs // 4, 3), nn.Dropout(0.1), nn.Conv2d(inputs // 4, classes, 1))


def _torchvision(title: str, citation: str, depth: int, head: type[DeepLabHead] | type[FCNHead]) -> BuiltIn:
    return BuiltIn(
        f"{title}, ResNet-{depth}",
        citation,
        partial(BackboneAndHead, depth, head),
        head=("classifier", "aux_classifier"),
        outputs=("classifier.4.weight", "classifier.4.bias"),
        names="torchvision (backbone, classifier; aux_classifier may lie beside)",
        stride=STRIDE,
    )


def _deeplab(depth: int) -> BuiltIn:
    citation = "Chen et al. 2017, Rethinking Atrous Convolution for Semantic Image Segmentation"
    return _torchvision("DeepLabV3", citation, depth, DeepLabHead)


def _fcn(depth: int) -> BuiltIn:
    citation = "Long et al. 2015, Fully Convolutional Networks for Semantic Segmentation"
    return _torchvision("FCN", citation, depth, FCNHead)


ARCHITECTURES.register("deeplabv3-resnet50")(_deeplab(50))
ARCHITECTURES.register("deeplabv3-resnet101")(_deeplab(101))
ARCHITECTURES.register("fcn-resnet50")(_fcn(50))
ARCHITECTURES.register("fcn-resnet101")(_fcn(101))
