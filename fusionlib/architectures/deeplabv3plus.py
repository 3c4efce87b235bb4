"""DeepLabV3+ with a ResNet as backbone, in the names of VainF/DeepLabV3Plus-Pytorch.

Source: Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation", 2018, Figure 2 and section 4: pyramid pooling at rates 6, 12 and 18 for an output stride of 16, doubled
for 8; 48 channels of the first layer beside it. As in the public code, and unlike the paper, one plain 3x3 convolution
refines them and none is separable.

The output stride changes no tensor: a file that was trained at 8 is opened by `--model deeplabv3plus-resnet101-os8`.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from fusionlib.architectures.aspp import ASPP, CHANNELS, RATES, unit
from fusionlib.architectures.built_in import BuiltIn, OnRequest, in_turn
from fusionlib.architectures.resnet import ResNet
from fusionlib.contracts import ARCHITECTURES, Stage

LOW_LEVEL = 48

State = tuple[Tensor, Tensor]
"""Activations of the first layer, and the newest."""


class Head(nn.Module):
    """Pyramid pooling, brought to the sides of the first layer and put beside a part of it."""

    def __init__(self, low: int, high: int, classes: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.project = nn.Sequential(*unit(low, LOW_LEVEL))
        self.aspp = ASPP(high, rates, dropout=0.1)
        self.classifier = nn.Sequential(*unit(LOW_LEVEL + CHANNELS, CHANNELS, 3), nn.Conv2d(CHANNELS, classes, 1))

    def pooled(self, state: State) -> State:
        """The first step."""
        return state[0], self.aspp(state[1])

    def decoded(self, state: State) -> Tensor:
        """The second: logits at the sides of the first layer."""
        low = self.project(state[0])
        high = nn.functional.interpolate(state[1], size=low.shape[-2:], mode="bilinear", align_corners=False)
        return self.classifier(torch.cat((low, high), 1))


class DeepLabV3Plus(nn.Module):
    """Input `(N, 3, H, W)` float32, output logits `(N, classes, H / 4, W / 4)`."""

    def __init__(self, depth: int, output_stride: int, classes: int) -> None:
        super().__init__()
        self.backbone = ResNet(depth, output_stride)
        _, low, *_, high = self.backbone.widths
        self.classifier = Head(low, high, classes, RATES[output_stride])

    def stages(self) -> tuple[Stage, ...]:
        """Every block of the backbone, pyramid pooling, decoder."""
        return (
            *self.backbone.stages("backbone.", {1}),
            Stage("classifier.aspp", self.classifier.pooled),
            Stage("classifier", self.classifier.decoded, ("classifier.project", "classifier.classifier")),
        )

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self.stages(), x)


def _deeplab(depth: int, output_stride: int = 16) -> BuiltIn:
    return (BuiltIn if output_stride == 16 else OnRequest)(
        f"DeepLabV3+, ResNet-{depth}, output stride {output_stride}",
        "Chen et al. 2018, Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
        partial(DeepLabV3Plus, depth, output_stride),
        head=("classifier",),
        outputs=("classifier.classifier.3.weight", "classifier.classifier.3.bias"),
        names="VainF/DeepLabV3Plus-Pytorch (backbone, classifier.project, classifier.aspp)",
        stride=output_stride,
    )


ARCHITECTURES.register("deeplabv3plus-resnet50")(_deeplab(50))
ARCHITECTURES.register("deeplabv3plus-resnet101")(_deeplab(101))
ARCHITECTURES.register("deeplabv3plus-resnet50-os8")(_deeplab(50, 8))
ARCHITECTURES.register("deeplabv3plus-resnet101-os8")(_deeplab(101, 8))
