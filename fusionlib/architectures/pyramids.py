"""Feature pyramids: four maps of a backbone at one width, each with what the coarser ones see.

Source: Lin, Dollar, Girshick, He, Hariharan, Belongie, "Feature Pyramid Networks for Object Detection", 2017, section
3; with window transformer blocks in place of the 3x3 convolutions: "Efficient Self-Ensemble for Semantic Segmentation",
section B.1, Equations 7 and 8. Names are those of that paper's released code (`neck`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import Tensor, nn

from fusionlib.architectures import swin
from fusionlib.contracts import Stage

Maps = tuple[Tensor, ...]

KINDS = ("fpnt", "fpn", "none")
"""What follows on the sums: a window transformer block, a 3x3 convolution, or no sum and nothing."""


class Convolution(nn.Module):
    """A convolution with a bias and nothing else, one level down as public code wraps it."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _Blocks(nn.Module):
    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([swin.Block(width, heads, window, shifted=False)])


class WindowTransformer(nn.Module):
    """One Swin block, its windows not shifted, on a map (N, C, h, w)."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.swin_blocks = _Blocks(width, heads, window)

    def forward(self, x: Tensor) -> Tensor:
        return self.swin_blocks.blocks[0](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()


class Pyramid(nn.Module):
    """Maps of `widths` channels, the finest first -> as many maps of `width` channels at the same sides.

    `P'_i = 1x1 (C_i)`, from top to bottom `S_i = P'_i + up(S_(i+1))`, `P_i = block(S_i)` at every level, with the
    nearest neighbour to go up. `literal` is Equation 7 as printed: `P_i = block(P'_i + up(P'_(i+1)))`, where only the
    next coarser level is added, and `P_5 = P'_5` has no block. Without a pyramid (`none`) learners see `P'_i`: the text
    does not say what gives all levels one width then, and the released code has no such network.
    """

    def __init__(
        self, widths: tuple[int, ...], width: int, kind: str, heads: int = 8, window: int = 7, literal: bool = False
    ) -> None:
        super().__init__()
        self.kind, self.literal, self.levels = kind, literal, len(widths)
        self.lateral_convs = nn.ModuleList(Convolution(one, width, 1) for one in widths)
        count = self.levels - literal
        if kind == "fpnt":
            self.fpn_swins = nn.ModuleList(WindowTransformer(width, heads, window) for _ in range(count))
        elif kind == "fpn":
            self.fpn_convs = nn.ModuleList(Convolution(width, width, 3) for _ in range(count))

    def forward(self, maps: Maps) -> Maps:
        for stage in self.stages(""):
            maps = stage.call(maps)
        return maps

    def stages(self, prefix: str) -> Iterator[Stage]:
        """The sums, then every level."""
        yield Stage(f"{prefix}lateral_convs", self.summed)
        for name in ("fpn_swins", "fpn_convs"):
            for level, block in enumerate(getattr(self, name, ())):
                yield Stage(f"{prefix}{name}.{level}", partial(_at_level, block, level))

    def summed(self, maps: Maps) -> Maps:
        """Every map projected, and what is above it added."""
        own = [projection(one) for projection, one in zip(self.lateral_convs, maps, strict=True)]
        if self.kind == "none":
            return tuple(own)
        found = list(own)
        for level in range(self.levels - 2, -1, -1):
            above = own[level + 1] if self.literal else found[level + 1]
            found[level] = own[level] + nn.functional.interpolate(above, size=own[level].shape[2:], mode="nearest")
        return tuple(found)


def _at_level(block: nn.Module, level: int, maps: Maps) -> Maps:
    return *maps[:level], block(maps[level]), *maps[level + 1 :]
