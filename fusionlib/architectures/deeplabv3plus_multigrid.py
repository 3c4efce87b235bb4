"""DeepLabV3+ with a ResNet of several dilations in its last layer, in the names of jfzhang95/pytorch-deeplab-xception.

Sources: Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation", 2018, Figure 2 and section 4; Chen, Papandreou, Schroff, Adam, "Rethinking Atrous Convolution for
Semantic Image Segmentation", 2017, section 3.1.1 (multi-grid, here 1, 2 and 4). As in the public code: every block of a
dilated layer is dilated, convolutions are plain ones, two of 3x3 refine the joined maps, and maps are resized with the
corners of both sides upon one another, the logits too.

The output stride changes no tensor: a file that was trained at 8 is opened by `--model
deeplabv3plus-multigrid-resnet101-os8`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fusionlib.architectures.aspp import CHANNELS, RATES, PicturePooling, unit
from fusionlib.architectures.built_in import BuiltIn, OnRequest, in_turn
from fusionlib.architectures.resnet import ResNet
from fusionlib.contracts import ARCHITECTURES, Stage

LOW_LEVEL = 48
GRID = (1, 2, 4)


class Branch(nn.Module):
    """One rate of the pyramid."""

    def __init__(self, inputs: int, size: int, rate: int) -> None:
        super().__init__()
        self.atrous_conv, self.bn, self.relu = unit(inputs, CHANNELS, size, rate)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.atrous_conv(x)))


class Pyramid(nn.Module):
    """Input `(N, inputs, h, w)`, output `(N, 256, h, w)`."""

    def __init__(self, inputs: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.aspp1 = Branch(inputs, 1, 1)
        self.aspp2, self.aspp3, self.aspp4 = (Branch(inputs, 3, rate) for rate in rates)
        self.global_avg_pool = PicturePooling(inputs)
        self.conv1, self.bn1, self.relu = unit(5 * CHANNELS, CHANNELS)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.aspp1(x), self.aspp2(x), self.aspp3(x), self.aspp4(x), self.global_avg_pool(x)
        return self.dropout(self.relu(self.bn1(self.conv1(torch.cat(parts, 1)))))


class Decoder(nn.Module):
    """The pyramid at the sides of the first layer, and behind it a part of that layer."""

    def __init__(self, low: int, classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = unit(low, LOW_LEVEL)
        self.last_conv = nn.Sequential(
            *unit(CHANNELS + LOW_LEVEL, CHANNELS, 3),
            nn.Dropout(0.5),
            *unit(CHANNELS, CHANNELS, 3),
            nn.Dropout(0.1),
            nn.Conv2d(CHANNELS, classes, 1),
        )

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        low = self.relu(self.bn1(self.conv1(low)))
        return self.last_conv(torch.cat((_resized(high, low.shape[-2:]), low), 1))


class MultiGridDeepLab(nn.Module):
    """Input `(N, 3, H, W)` float32, output logits `(N, classes, H, W)`."""

    def __init__(self, depth: int, output_stride: int, classes: int) -> None:
        super().__init__()
        self.backbone = ResNet(depth, output_stride, whole=True, grid=GRID)
        _, low, *_, high = self.backbone.widths
        self.aspp = Pyramid(high, RATES[output_stride])
        self.decoder = Decoder(low, classes)

    def stages(self) -> tuple[Stage, ...]:
        """Every block of the backbone, pyramid pooling, decoder.

        States begin with the picture's sides, which the decoder brings its logits to.
        """
        first, *blocks = self.backbone.stages("backbone.", {1})
        return (
            replace(first, call=partial(_with_sides, first)),
            *blocks,
            Stage("aspp", self._pooled),
            Stage("decoder", self._decoded),
        )

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self.stages(), x)

    def _pooled(self, state: tuple[Any, Tensor, Tensor]) -> tuple[Any, Tensor, Tensor]:
        return *state[:2], self.aspp(state[2])

    def _decoded(self, state: tuple[Any, Tensor, Tensor]) -> Tensor:
        return _resized(self.decoder(*state[1:]), state[0])


def _with_sides(stage: Stage, x: Tensor) -> tuple[Any, ...]:
    return x.shape[-2:], *stage.call(x)


def _resized(x: Tensor, size: Any) -> Tensor:
    return nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=True)


def _deeplab(depth: int, output_stride: int = 16) -> BuiltIn:
    return (BuiltIn if output_stride == 16 else OnRequest)(
        f"DeepLabV3+ with a multi-grid, ResNet-{depth}, output stride {output_stride}",
        "Chen et al. 2018, Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
        partial(MultiGridDeepLab, depth, output_stride),
        head=("aspp", "decoder"),
        outputs=("decoder.last_conv.8.weight", "decoder.last_conv.8.bias"),
        names="jfzhang95/pytorch-deeplab-xception (backbone, aspp.aspp1, decoder.last_conv)",
        stride=output_stride,
    )


ARCHITECTURES.register("deeplabv3plus-multigrid-resnet101")(_deeplab(101))
ARCHITECTURES.register("deeplabv3plus-multigrid-resnet101-os8")(_deeplab(101, 8))
