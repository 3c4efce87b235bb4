"""Hidden units in another order: whether a network's permutations fit an arena, and a row whose units were moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.layout import Layout
from fusionlib.contracts import Permutation
from fusionlib.errors import ArchitectureError


@dataclass(frozen=True)
class Moves:
    """How many hidden units, of how many, a match put elsewhere, and in how many groups of units."""

    units: int
    of_units: int
    groups: int
    of_groups: int

    @classmethod
    def of(cls, orders: Iterable[Tensor]) -> Moves:
        """What these int64 orders, one a group, move."""
        moved = [(int((order != torch.arange(len(order))).sum()), len(order)) for order in orders]
        return cls(
            sum(count for count, _ in moved),
            sum(size for _, size in moved),
            sum(count > 0 for count, _ in moved),
            len(moved),
        )

    @property
    def text(self) -> str:
        """In words."""
        return f"{self.units} of {self.of_units} units moved, in {self.groups} of {self.of_groups} groups" + (
            "" if self.units else ": the match is the identity, the barrier is unchanged"
        )


def checked(arena: Arena, permutations: Sequence[Permutation]) -> tuple[Permutation, ...]:
    """The permutations that the arena's network declares, checked against its tensors.

    Raises `ArchitectureError` where there are none, where only a part is shared, or where one does not fit.
    """
    if not permutations or arena.own:
        what = "checkpoints that share only a part" if permutations else "a network whose permutations are not declared"
        raise ArchitectureError(
            f"Re-Basin of {what}",
            "a built-in network that declares which units may change places, the same in all checkpoints",
            "Choose another method: a wrong guess would scramble the network",
        )
    for item in permutations:
        for name, axis, start in item.axes:
            entry = arena.layout.by_name.get(name)
            if entry is None or axis >= len(entry.shape) or start + item.size > entry.shape[axis]:
                raise ArchitectureError(
                    f"Permutation {item.name} does not fit tensor {name}",
                    "a declaration that fits the network",
                    "Correct the architecture's permutations",
                )
    return tuple(permutations)


def permuted(layout: Layout, permutations: Sequence[Permutation], orders: Sequence[Tensor], row: Tensor) -> Tensor:
    """A copy of `row` (P,) whose units are taken in these orders."""
    row = row.clone()
    for item, order in zip(permutations, orders, strict=True):
        take(layout, item, order, row)
    return row


def take(layout: Layout, item: Permutation, order: Tensor, row: Tensor) -> None:
    """Take the units of one permutation in this order, in place of `row` (P,)."""
    for name, axis, start in item.axes:
        part = layout.view(row, name).narrow(axis, start, item.size)
        part.copy_(part.index_select(axis, order.to(row.device)))
