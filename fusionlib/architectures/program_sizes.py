"""Which pictures a program of torch.export takes: sizes were fixed, or left open, when it was exported."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from fusionlib.contracts import Preprocessing

_SMALLEST_WINDOW = 64
"""Pixels a side; smaller squares show too little of a picture."""


@dataclass(frozen=True)
class Side:
    """Lengths of one axis: from `low` to `high` (None: any), multiples of `step`."""

    low: int = 1
    high: int | None = None
    step: int = 1

    @property
    def fixed(self) -> int | None:
        """The only length; None where there are several."""
        return self.low if self.high == self.low else None

    def takes(self, length: int) -> bool:
        """Whether it may be so long."""
        return self.low <= length and (self.high is None or length <= self.high) and length % self.step == 0

    def __str__(self) -> str:
        if self.fixed is not None:
            return str(self.low)
        most = "or more" if self.high is None else f"to {self.high}"
        return f"{self.low} {most}" + (f" in multiples of {self.step}" if self.step > 1 else "")


@dataclass(frozen=True)
class Sizes:
    """Pictures in a batch, and their height and width."""

    batch: Side = Side()
    height: Side = Side()
    width: Side = Side()

    def __str__(self) -> str:
        if self.height.fixed is not None and self.width.fixed is not None:
            return f"{self.width}x{self.height}"
        return f"a width of {self.width} and a height of {self.height}"

    def takes(self, height: int, width: int) -> bool:
        """Whether pictures may be so large."""
        return self.height.takes(height) and self.width.takes(width)

    def fitted(self) -> dict[str, Any]:
        """What a program of these sizes needs where nobody declares it: squares of one size slide over the picture,
        other pictures of one size are resized to it, and those of multiples are continued to them.
        """
        height, width = self.height.fixed, self.width.fixed
        if height is not None and width is not None:
            slides = height == width and height >= _SMALLEST_WINDOW
            return {"window": (height, height * 2 // 3)} if slides else {"resize": (height, width)}
        step = math.lcm(self.height.step, self.width.step)
        return {"pad": step} if height is None and width is None and step > 1 else {}

    def refuses(self, about: Preprocessing) -> tuple[int, int] | None:
        """Height and width of what goes in as `about` says where the program does not take them; None where it does,
        or where they are those of the picture.
        """
        if about.resize is None and about.window is None:
            return None
        seen = about.seen(1, 1)
        return None if self.takes(*seen) else seen

    def nearest(self, height: int, width: int) -> tuple[int, int]:
        """The height and width that pictures may have next to these."""
        return _near(self.height, height), _near(self.width, width)


def side_of(dimension: Any, ranges: Any) -> Side:
    """An axis of a program's input: a number, a symbol, or a number times a symbol; `ranges` are its constraints."""
    if isinstance(dimension, int):
        return Side(dimension, dimension)
    expression = dimension.node.expr
    factor, rest = expression.as_coeff_Mul()
    symbols, step = list(rest.free_symbols), int(factor) if factor.is_Integer and factor > 0 else 1
    limits = ranges.get(rest) if len(symbols) == 1 and rest == symbols[0] else None
    if limits is None:
        return Side()
    low, high = (int(one) * step if one.is_Integer else None for one in (limits.lower, limits.upper))
    return Side(max(1, low or 1), high, step)


def _near(side: Side, wanted: int) -> int:
    most = wanted if side.high is None else min(wanted, side.high)
    return -(-max(side.low, most) // side.step) * side.step
