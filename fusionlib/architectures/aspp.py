"""Atrous spatial pyramid pooling: one context, seen at several rates.

Source: Chen, Papandreou, Schroff, Adam, "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, section
3.3 and Figure 5: a 1x1 convolution, three dilated 3x3 ones and the mean of the picture, side by side, 256 channels
each. Names are those of torchvision, which others share.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CHANNELS = 256

RATES = {16: (6, 12, 18), 8: (12, 24, 36)}
"""Output stride of the backbone to dilations: twice as many pixels are twice as far apart."""


def unit(inputs: int, outputs: int, size: int = 1, dilation: int = 1) -> list[nn.Module]:
    """A convolution that keeps the sides, its norm and its activation."""
    padding = dilation * (size // 2)
    convolution = nn.Conv2d(inputs, outputs, size, padding=padding, dilation=dilation, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def separable_unit(inputs: int, outputs: int, size: int = 3, dilation: int = 1) -> list[nn.Module]:
    """The same, of each channel by itself and then 1x1 across them (Chen et al. 2018, Figure 3)."""
    padding = dilation * (size // 2)
    alone = nn.Conv2d(inputs, inputs, size, padding=padding, dilation=dilation, groups=inputs, bias=False)
    across = nn.Conv2d(inputs, outputs, 1, bias=False)
    return [nn.Sequential(alone, across), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class PicturePooling(nn.Sequential):
    """The mean over the picture, at every pixel."""

    def __init__(self, inputs: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *unit(inputs, CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        for module in self:
            x = module(x)
        return nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


class ASPP(nn.Module):
    """Input `(N, inputs, h, w)`, output `(N, 256, h, w)`; `make` gives the modules of a dilated branch."""

    def __init__(
        self, inputs: int, rates: tuple[int, ...], dropout: float, make: Callable[..., list[nn.Module]] = unit
    ) -> None:
        super().__init__()
        dilated = (nn.Sequential(*make(inputs, CHANNELS, 3, rate)) for rate in rates)
        branches = (nn.Sequential(*unit(inputs, CHANNELS)), *dilated, PicturePooling(inputs))
        self.convs = nn.ModuleList(branches)
        self.project = nn.Sequential(*unit(len(branches) * CHANNELS, CHANNELS), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(torch.cat([branch(x) for branch in self.convs], 1))
