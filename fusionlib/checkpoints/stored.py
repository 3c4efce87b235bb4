"""A tensor that lies in a file: read as a whole or in pieces, without ever being mapped."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

import torch
from torch import Tensor

from fusionlib.checkpoints.snapshot import Snapshot
from fusionlib.description import Turn


@dataclass(frozen=True)
class Stored:
    """`shape` elements of `dtype` from byte `begin` of a snapshot; `strides` (in elements) where they do not lie in
    order.

    `negative` says that the file keeps the values with the opposite sign, as torch does with views of complex numbers.
    """

    snapshot: Snapshot
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


@dataclass(frozen=True)
class Turned:
    """A tensor whose numbers are taken in another order; the same pieces, each of which reads all of it."""

    source: Stored | Held
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

    sources: tuple[Stored | Held | Turned, ...]
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


Readable: TypeAlias = Stored | Held | Turned | Joined


def turned_back(tensor: Tensor, turn: Turn) -> Tensor:
    """The numbers of a tensor (any shape) in the order before `turn`, 1-D."""
    before = [turn.axes.index(axis) for axis in range(len(turn.axes))]
    return tensor.reshape([turn.sizes[axis] for axis in turn.axes]).permute(before).reshape(-1)


def _wider(one: torch.dtype, other: torch.dtype) -> torch.dtype:
    if one == other:
        return one
    return torch.float32 if min(one.itemsize, other.itemsize) == 1 else torch.promote_types(one, other)
