"""DeepLabV3+ with a ResNet as encoder, in the names of segmentation_models_pytorch.

Source: Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation", 2018, Figures 2 and 3: convolutions of the pyramid and of the decoder are separable. As in the public
code, and unlike the paper: the pyramid's rates are 12, 24 and 36 at an output stride of 16, one 3x3 convolution follows
it and one the joined maps, every block of a dilated layer is dilated, and maps are resized with the corners of both
sides upon one another, the logits too.

Output stride and rates change no tensor: a file alone is taken to have these, a folder with a config has those of it.
"""

from __future__ import annotations

from functools import cache, partial

import torch
from torch import Tensor, nn

from fusionlib.architectures.aspp import ASPP, CHANNELS, separable_unit, unit
from fusionlib.architectures.built_in import BuiltIn, in_turn
from fusionlib.architectures.described import family, wholes
from fusionlib.architectures.resnet import ResNet
from fusionlib.architectures.smp_config import encoder_of, refused
from fusionlib.contracts import ARCHITECTURES, Description, Stage

LOW_LEVEL = 48
STRIDE = 16
RATES = (12, 24, 36)
"""The public code's defaults."""

State = tuple[Tensor, Tensor]
"""Activations of the first layer, and the newest."""


class Decoder(nn.Module):
    """Pyramid pooling, and behind it a part of the first layer, at the sides of the latter."""

    def __init__(self, low: int, high: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.aspp = nn.Sequential(ASPP(high, rates, 0.5, separable_unit), *separable_unit(CHANNELS, CHANNELS))
        self.block1 = nn.Sequential(*unit(low, LOW_LEVEL))
        self.block2 = nn.Sequential(*separable_unit(CHANNELS + LOW_LEVEL, CHANNELS))

    def pooled(self, state: State) -> State:
        """The first step."""
        return state[0], self.aspp(state[1])

    def joined(self, state: State) -> Tensor:
        """The second, `(N, 256, H / 4, W / 4)`."""
        low = self.block1(state[0])
        high = nn.functional.interpolate(state[1], size=low.shape[-2:], mode="bilinear", align_corners=True)
        return self.block2(torch.cat((high, low), 1))


class SeparableDeepLab(nn.Module):
    """Input `(N, 3, H, W)` float32, output logits `(N, classes, H, W)`; H and W are multiples of the stride."""

    def __init__(self, depth: int, output_stride: int, rates: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.encoder = ResNet(depth, output_stride, whole=True)
        _, low, *_, high = self.encoder.widths
        self.decoder = Decoder(low, high, rates)
        self.segmentation_head = nn.Sequential(nn.Conv2d(CHANNELS, classes, 1))

    def stages(self) -> tuple[Stage, ...]:
        """Every block of the encoder, pyramid pooling, decoder, logits."""
        return (
            *self.encoder.stages("encoder.", {1}),
            Stage("decoder.aspp", self.decoder.pooled),
            Stage("decoder", self.decoder.joined, ("decoder.block1", "decoder.block2")),
            Stage("segmentation_head", self._leave),
        )

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self.stages(), x)

    def _leave(self, x: Tensor) -> Tensor:
        logits = self.segmentation_head(x)
        return nn.functional.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=True)


@cache
def _deeplab(depth: int, output_stride: int, rates: tuple[int, ...]) -> BuiltIn:
    odd = "" if rates == RATES else f", rates {', '.join(map(str, rates))}"
    return BuiltIn(
        f"DeepLabV3+ of separable convolutions, ResNet-{depth}, output stride {output_stride}{odd}",
        "Chen et al. 2018, Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
        partial(SeparableDeepLab, depth, output_stride, rates),
        head=("decoder", "segmentation_head"),
        outputs=("segmentation_head.0.weight", "segmentation_head.0.bias"),
        names="segmentation_models_pytorch (encoder, decoder.aspp, decoder.block1, segmentation_head)",
        stride=output_stride,
        pad=output_stride,
    )


@family("DeepLabV3Plus")
def of_description(description: Description) -> BuiltIn:
    """The network of a folder. Raises `ArchitectureError` where its config asks for what is not built in."""
    config = description.config
    depth = encoder_of(config, {"decoder_channels": CHANNELS, "decoder_aspp_separable": True, "upsampling": 4})
    stride, rates = config.get("encoder_output_stride", STRIDE), wholes(config, "decoder_atrous_rates", RATES, 512)
    if stride not in (8, 16):
        raise refused(config, "encoder_output_stride", "8 or 16")
    if rates is None:
        raise refused(config, "decoder_atrous_rates", "three whole numbers")
    return _deeplab(depth, stride, rates)


ARCHITECTURES.register("deeplabv3plus-smp-resnet18")(_deeplab(18, STRIDE, RATES))
ARCHITECTURES.register("deeplabv3plus-smp-resnet34")(_deeplab(34, STRIDE, RATES))
ARCHITECTURES.register("deeplabv3plus-smp-resnet50")(_deeplab(50, STRIDE, RATES))
ARCHITECTURES.register("deeplabv3plus-smp-resnet101")(_deeplab(101, STRIDE, RATES))
