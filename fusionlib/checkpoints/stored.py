"""A tensor that lies in files: read as a whole or in pieces, without ever being mapped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from fusionlib.checkpoints.snapshot import Section, Snapshot
from fusionlib.description import Turn


@dataclass(frozen=True)
class Stored:
    """`shape` elements of `dtype` from byte `begin` of a snapshot; `strides` (in elements) where they do not lie in
    order.

    `negative` says that the file keeps the values with the opposite sign, as torch does with views of complex numbers.
    """

    snapshot: Snapshot | Section
    begin: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None = None
    negative: bool = False

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def span(self) -> int:
        """Number of elements from the first to the last in the file; fewer than `numel` where some are repeated."""
        if not self.numel or self.strides is None:
            return self.numel
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))

    def piece(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        """Elements `start` to `stop` in row-major order, 1-D; into `out` (a contiguous tensor of as many elements)
        where it is given.
        """
        if self.strides is None and not self.negative:
            here = out if out is not None and out.dtype == self.dtype else torch.empty(stop - start, dtype=self.dtype)
            self._fill(here, start)
        else:
            here = self._whole().reshape(-1)[start:stop]
        if out is None or here is out:
            return here
        return out.copy_(here)

    def rows(self, begin: int, shape: tuple[int, ...], alone: bool) -> Stored:
        """`shape[0]` rows from `begin` on, in that shape, which differs from the own one in sizes of 1 at its end; with
        `alone` all of it.
        """
        strides = self.strides and self.strides[: len(shape)]
        step = self.strides[0] if self.strides else math.prod(self.shape[1:])
        first = 0 if alone else begin * step * self.dtype.itemsize
        return replace(self, begin=self.begin + first, shape=shape, strides=strides)

    def _whole(self) -> Tensor:
        flat = torch.empty(self.span, dtype=self.dtype)
        self._fill(flat, 0)
        view = flat.view(self.shape) if self.strides is None else flat.as_strided(self.shape, self.strides).contiguous()
        return view.neg() if self.negative else view

    def _fill(self, target: Tensor, start: int) -> None:
        """Bytes from element `start` on into all of `target`."""
        if target.numel():
            _ = self.snapshot.fingerprint  # of the whole file, before any of its numbers are used
            self.snapshot.read_into(
                target.view(-1).view(torch.uint8).numpy().data, self.begin + start * self.dtype.itemsize
            )


@dataclass(frozen=True)
class Held:
    """A tensor in memory, from a format that can only be read as a whole; the same pieces."""

    tensor: Tensor

    @property
    def dtype(self) -> torch.dtype:
        """Its dtype."""
        return self.tensor.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.tensor.shape)

    def piece(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        """As `Stored.piece`."""
        here = self.tensor.resolve_neg().reshape(-1)[start:stop]
        return here if out is None else out.copy_(here)

    def rows(self, begin: int, shape: tuple[int, ...], alone: bool) -> Held:
        """As `Stored.rows`."""
        return Held((self.tensor if alone else self.tensor[begin : begin + shape[0]]).reshape(shape))


@dataclass(frozen=True)
class Assembled:
    """A tensor in parts that lie in several places: boxes of a grid, one beside the other without gap or overlap.

    `parts` are (offsets, part), each of the grid's dimensions. `shape` has as many elements as the grid, in the same
    order, or `numel` of them from element `first` on.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    grid: tuple[int, ...]
    parts: tuple[tuple[tuple[int, ...], Stored | Held], ...]
    first: int = 0

    def piece(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        """As `Stored.piece`. Only parts that hold some of it are read, and of these only rows that do."""
        start, stop = start + self.first, stop + self.first
        row = math.prod(self.grid[1:])
        begin, end = (start // row, -(-stop // row)) if row and stop > start else (0, 0)
        band = torch.empty(end - begin, *self.grid[1:], dtype=self.dtype)
        for offsets, part in self.parts:
            low, high = max(begin, offsets[0]), min(end, offsets[0] + part.shape[0])
            if low < high:
                here = math.prod(part.shape[1:])
                rows = part.piece((low - offsets[0]) * here, (high - offsets[0]) * here)
                place = (slice(low - begin, high - begin), *map(_reach, offsets[1:], part.shape[1:]))
                band[place] = rows.view(high - low, *part.shape[1:])
        found = band.view(-1)[start - begin * row : stop - begin * row]
        return found if out is None else out.copy_(found)

    def rows(self, begin: int, shape: tuple[int, ...], alone: bool) -> Assembled:
        """As `Stored.rows`."""
        return replace(self, shape=shape, first=self.first + (0 if alone else begin * math.prod(self.shape[1:])))


Kept: TypeAlias = Stored | Held | Assembled
"""However the numbers of a tensor are kept in files: each has `rows` beside what all have."""


@dataclass(frozen=True)
class Turned:
    """A tensor whose numbers are taken in another order; the same pieces, each of which reads all of it."""

    source: Kept
    turn: Turn
    shape: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """Its dtype."""
        return self.source.dtype

    def piece(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        """As `Stored.piece`."""
        whole = self.source.piece(0, math.prod(self.shape))
        here = whole.reshape(self.turn.sizes).permute(self.turn.axes).reshape(-1)[start:stop]
        return here if out is None else out.copy_(here)


@dataclass(frozen=True)
class Joined:
    """Tensors that are the rows of one, in this order; the same pieces. Where their dtypes differ, it has the wider."""

    sources: tuple[Kept | Turned, ...]
    shape: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that holds the numbers of all."""
        return reduce(_wider, (source.dtype for source in self.sources))

    def piece(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        """As `Stored.piece`."""
        here = torch.empty(stop - start, dtype=self.dtype) if out is None else out
        begin = 0
        for source in self.sources:
            size = math.prod(source.shape)
            low, high = max(start, begin), min(stop, begin + size)
            if low < high:
                source.piece(low - begin, high - begin, here[low - start : high - start])
            begin += size
        return here


Readable: TypeAlias = Kept | Turned | Joined


def turned_back(tensor: Tensor, turn: Turn) -> Tensor:
    """The numbers of a tensor (any shape) in the order before `turn`, 1-D."""
    before = [turn.axes.index(axis) for axis in range(len(turn.axes))]
    return tensor.reshape([turn.sizes[axis] for axis in turn.axes]).permute(before).reshape(-1)


def fills(grid: Sequence[int], boxes: Sequence[tuple[Sequence[int], Sequence[int]]]) -> bool:
    """Whether boxes (offsets, sizes) lie in the grid one beside the other: none empty, without gap or overlap."""
    if any(min(sizes, default=1) < 1 or min(offsets, default=0) < 0 for offsets, sizes in boxes):
        return False
    if any(first + size > most for box in boxes for first, size, most in zip(*box, grid, strict=True)):
        return False
    if sum(math.prod(sizes) for _, sizes in boxes) != math.prod(grid):
        return False
    low = np.array([offsets for offsets, _ in boxes], dtype=np.int64).reshape(len(boxes), len(grid))
    high = low + np.array([sizes for _, sizes in boxes], dtype=np.int64).reshape(low.shape)
    return not any(
        bool(((low[:number] < high[number]) & (low[number] < high[:number])).all(1).any())
        for number in range(1, len(boxes))
    )


def _reach(offset: int, size: int) -> slice:
    return slice(offset, offset + size)


def _wider(one: torch.dtype, other: torch.dtype) -> torch.dtype:
    if one == other:
        return one
    return torch.float32 if min(one.itemsize, other.itemsize) == 1 else torch.promote_types(one, other)
