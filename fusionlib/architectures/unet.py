"""U-Net with a ResNet as encoder, in the names of segmentation_models_pytorch.

Source: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015, Figure 1,
with the encoder of He et al. 2016. As in the public code, and unlike the paper, convolutions are padded and normalised,
sides are doubled by the nearest neighbour, and the decoder has five blocks of 256, 128, 64, 32 and 16 channels, the
last without a skip connection.
"""

from __future__ import annotations

from functools import cache, partial

import torch
from torch import Tensor, nn

from fusionlib.architectures.built_in import BuiltIn, in_turn
from fusionlib.architectures.described import family
from fusionlib.architectures.resnet import ResNet
from fusionlib.architectures.smp_config import encoder_of
from fusionlib.contracts import ARCHITECTURES, Description, Stage

DECODER = (256, 128, 64, 32, 16)

State = tuple[Tensor, ...]
"""Skip connections still to be used, the deepest last, and behind them the newest activation."""


def _unit(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class DecoderBlock(nn.Module):
    """Twice the sides, the skip connection behind it, two 3x3 convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _unit(inputs + skip, outputs)
        self.conv2 = _unit(outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        if skip is None:
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        else:
            x = torch.cat((nn.functional.interpolate(x, size=skip.shape[-2:], mode="nearest"), skip), 1)
        return self.conv2(self.conv1(x))


class Decoder(nn.Module):
    """Five blocks from stride 32 back to 1."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        inputs, skips = (widths[-1], *DECODER[:-1]), (*widths[-2::-1], 0)
        self.blocks = nn.ModuleList(map(DecoderBlock, inputs, skips, DECODER))


class UNet(nn.Module):
    """Input `(N, 3, H, W)` float32, output logits `(N, classes, H, W)`; H and W are multiples of 32."""

    def __init__(self, depth: int, classes: int) -> None:
        super().__init__()
        self.encoder = ResNet(depth)
        self.decoder = Decoder(self.encoder.widths)
        self.segmentation_head = nn.Sequential(nn.Conv2d(DECODER[-1], classes, 3, padding=1))

    def stages(self) -> tuple[Stage, ...]:
        """Every block of the encoder and of the decoder."""
        return (
            *self.encoder.stages("encoder.", range(4)),
            *(Stage(f"decoder.blocks.{n}", partial(_decode, block)) for n, block in enumerate(self.decoder.blocks)),
            Stage("segmentation_head", self._leave),
        )

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self.stages(), x)

    def _leave(self, state: State) -> Tensor:
        return self.segmentation_head(state[-1])


def _decode(block: nn.Module, state: State) -> State:
    *skips, x = state
    return (*skips[:-1], block(x, skips[-1])) if skips else (block(x),)


@cache
def _unet(depth: int) -> BuiltIn:
    return BuiltIn(
        f"U-Net, ResNet-{depth}",
        "Ronneberger et al. 2015, U-Net: Convolutional Networks for Biomedical Image Segmentation; He et al. 2016",
        partial(UNet, depth),
        head=("decoder", "segmentation_head"),
        outputs=("segmentation_head.0.weight", "segmentation_head.0.bias"),
        names="segmentation_models_pytorch (encoder, decoder.blocks, segmentation_head)",
        stride=32,
        pad=32,
    )


@family("Unet")
def of_description(description: Description) -> BuiltIn:
    """The network of a folder. Raises `ArchitectureError` where its config asks for what is not built in."""
    usual = {"decoder_interpolation": "nearest", "decoder_channels": list(DECODER), "decoder_attention_type": None}
    return _unet(encoder_of(description.config, usual))


ARCHITECTURES.register("unet-resnet18")(_unet(18))
ARCHITECTURES.register("unet-resnet34")(_unet(34))
ARCHITECTURES.register("unet-resnet50")(_unet(50))
ARCHITECTURES.register("unet-resnet101")(_unet(101))
