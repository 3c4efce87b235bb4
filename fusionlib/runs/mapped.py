"""States of pictures with their maps, out of bytes that others may have written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch

from fusionlib.contracts import State
from fusionlib.errors import DataError
from fusionlib.imaging.png import unpack_labels
from fusionlib.measures.states import MAP

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class MappedStates(Sequence[State]):
    """States of pictures in order, each with its map (H, W) uint8 as `MAP`.

    Maps are unpacked as they are looked at, and not kept: those of a split would take gigabytes, packed they take a
    hundredth.
    """

    sums: Sequence[State]
    packed: Sequence[bytes]
    sizes: Sequence[Size]

    def __len__(self) -> int:
        return len(self.sums)

    @overload
    def __getitem__(self, index: int) -> State: ...
    @overload
    def __getitem__(self, index: slice) -> MappedStates: ...
    def __getitem__(self, index: int | slice) -> State | MappedStates:
        if isinstance(index, slice):
            return MappedStates(self.sums[index], self.packed[index], self.sizes[index])
        return {**self.sums[index], MAP: torch.from_numpy(unpack_labels(self.packed[index], *self.sizes[index]))}


def is_whole(packed: object, size: Size, counts: torch.Tensor) -> bool:
    """Whether bytes are a map of that size with so many pixels of each value, `counts` (values,) int64."""
    if not isinstance(packed, bytes):
        return False
    try:
        found = torch.from_numpy(unpack_labels(packed, *size)).flatten().bincount(minlength=len(counts))
    except DataError:
        return False
    return torch.equal(found, counts)
