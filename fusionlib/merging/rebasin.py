"""Git Re-Basin: bring the hidden units of all checkpoints into the anchor's order, then average."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.compare import recognise
from fusionlib.checkpoints.layout import Layout
from fusionlib.contracts import ARCHITECTURES, METHODS, MergeMethod, Mixture, Permutation, parameter
from fusionlib.errors import ArchitectureError
from fusionlib.merging.average import average_rows
from fusionlib.merging.buffers import anchor_of

SWEEPS = 100
GAIN = 1e-12

Step = Callable[[Callable[[], Any]], Any]
"""Carries out one step of a match and gives its result back; it may raise `Cancelled` in its place."""


def _at_once(call: Callable[[], Any]) -> Any:
    return call()


@dataclass(frozen=True)
class Moves:
    """How many hidden units, of how many, a match put elsewhere, and in how many groups of units."""

    units: int
    of_units: int
    groups: int
    of_groups: int

    @property
    def text(self) -> str:
        """In words."""
        return f"{self.units} of {self.of_units} units moved, in {self.groups} of {self.of_groups} groups" + (
            "" if self.units else ": the match is the identity, the barrier is unchanged"
        )


@METHODS.register("rebasin")
@dataclass(frozen=True)
class Rebasin(MergeMethod):
    """`theta = alpha theta_a + (1 - alpha) mean_i pi_i(theta_i)`, pi_i the order of hidden units with the largest
    `<theta_a, pi(theta_i)>`.

    Weight matching by coordinate descent: permutations are visited in random order, each a linear assignment given the
    others, until a sweep over all of them gains nothing (at most 100). The result depends on the order: the best of
    `restarts` orders is kept. Running statistics move with their units but do not count in the match. Costs are
    float64, permutations integers.

    Source: Ainsworth, Hayase and Srinivasa 2023, "Git Re-Basin", Algorithm 1. Deviation for more than two: every
    checkpoint is matched to the anchor once, where the paper's MergeMany matches each to the mean of the others again
    and again. Breaks endpoints: at alpha 0 the second checkpoint comes back with its units in the anchor's order, the
    same function in other bytes.
    """

    title: ClassVar[str] = "Git Re-Basin"
    summary: ClassVar[str] = "Hidden units are matched to the anchor's by their weights, then averaged"
    citation: ClassVar[str] = "Ainsworth et al. 2023, Git Re-Basin, Algorithm 1 (weight matching)"
    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints"})
    needs: ClassVar = "architecture"
    averages: ClassVar[bool] = False

    anchor: int = parameter(
        0, "Number of the checkpoint whose order of units is kept, from 0", min=0, max=63, step=1, checkpoint=True
    )
    alpha: float = parameter(
        -1.0, "Weight of the anchor, the others share the rest; -1 means 1/M", min=-1.0, max=1.0, step=0.05
    )
    restarts: int = parameter(3, "Visiting orders that are tried", min=1, max=100, step=1)
    seed: int = parameter(0, "Seed of the visiting orders", min=0, max=2**31 - 1, step=1)

    def shares(self, count: int) -> tuple[float, ...]:
        """Alpha for the anchor, the rest in equal parts."""
        if count == 1 or self.alpha < 0:
            return (1 / count,) * count
        return tuple(self.alpha if number == self.anchor else (1 - self.alpha) / (count - 1) for number in range(count))

    def aligned(self, arena: Arena, step: Step = _at_once) -> Arena:
        """The arena with the units of all checkpoints that have a weight in the anchor's order; `notes` say how many
        moved.

        A match takes seconds: every sweep of it goes through `step`, so that others can use the device in between, or
        end it. Raises: `ArchitectureError` where no permutations are declared for this network.
        """
        return self._align(arena, step)[0]

    def moves(self, arena: Arena, step: Step = _at_once) -> dict[int, Moves]:
        """What the match moved, by the number of each checkpoint that was matched to the anchor."""
        return self._align(arena, step)[1]

    def _align(self, arena: Arena, step: Step) -> tuple[Arena, dict[int, Moves]]:
        key = ("rebasin", self.anchor, self.restarts, self.seed, tuple(share != 0 for share in self.shares(len(arena))))
        if key not in arena.memo:
            arena.memo[key] = self._matched(arena, step)
        return arena.memo[key]

    def _matched(self, arena: Arena, step: Step) -> tuple[Arena, dict[int, Moves]]:
        permutations, anchor = declared(arena), anchor_of(self, len(arena))
        weights, prints, moves = arena.weights.clone(), list(arena.fingerprints), {}
        for number, share in enumerate(self.shares(len(arena))):
            if number == anchor or share == 0:
                continue
            found = match(
                arena.layout, permutations, arena.weights[anchor], arena.weights[number], self.restarts, self.seed, step
            )
            weights[number] = permuted(arena.layout, permutations, found, arena.weights[number])
            moved = [int((order != torch.arange(len(order))).sum()) for order in found]
            moves[number] = Moves(
                sum(moved),
                sum(item.size for item in permutations),
                sum(count > 0 for count in moved),
                len(permutations),
            )
            if moves[number].units:  # what did not move is the same checkpoint still
                text = (
                    f"{prints[number]} matched to {arena.fingerprints[anchor]}, {self.restarts} orders, seed"
                    f" {self.seed}"
                )
                prints[number] = hashlib.sha256(text.encode()).hexdigest()
        notes = tuple(f"{arena.names[number]}: {item.text}" for number, item in moves.items())
        return replace(arena, weights=weights, fingerprints=tuple(prints), notes=notes), moves

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        aligned = self.aligned(arena)
        out = torch.empty_like(arena.weights[0]) if out is None else out
        average_rows(aligned, self.shares(len(arena)), out)
        return Mixture(out[None], torch.ones(1), aligned.notes)


def declared(arena: Arena) -> tuple[Permutation, ...]:
    """The permutations of the arena's network, checked against its tensors.

    Raises `ArchitectureError` where there are none.
    """
    known = recognise(arena.shapes)
    permutations: Sequence[Permutation] = getattr(ARCHITECTURES.get(known[0]), "permutations", ()) if known else ()
    if not permutations or arena.own:
        what = "checkpoints that share only a part" if permutations else "a network whose permutations are not declared"
        raise ArchitectureError(
            f"Re-Basin of {what}",
            "one of the built-in networks, the same in all checkpoints",
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


def match(
    layout: Layout,
    permutations: Sequence[Permutation],
    target: Tensor,
    other: Tensor,
    restarts: int = 1,
    seed: int = 0,
    step: Step = _at_once,
) -> list[Tensor]:
    """For each permutation the int64 order in which the units of `other` (P,) are to be taken to resemble `target` (P,)
    most.
    """
    target = target.double()
    best: tuple[float, list[Tensor]] | None = None
    for restart in range(restarts):
        visits = np.random.default_rng((seed, restart))
        row = other.double().clone()
        orders = [torch.arange(item.size) for item in permutations]
        for _ in range(SWEEPS):
            if not step(
                lambda row=row, orders=orders, visits=visits: _sweep(layout, permutations, target, row, orders, visits)
            ):
                break
        likeness = _likeness(layout, permutations, target, row)
        if best is None or likeness > best[0] + GAIN:
            best = likeness, orders
    assert best is not None
    return best[1]


def permuted(layout: Layout, permutations: Sequence[Permutation], orders: Sequence[Tensor], row: Tensor) -> Tensor:
    """A copy of `row` (P,) whose units are taken in these orders."""
    row = row.clone()
    for item, order in zip(permutations, orders, strict=True):
        _take(layout, item, order, row)
    return row


def _take(layout: Layout, item: Permutation, order: Tensor, row: Tensor) -> None:
    for name, axis, start in item.axes:
        part = layout.view(row, name).narrow(axis, start, item.size)
        part.copy_(part.index_select(axis, order.to(row.device)))


def _sweep(
    layout: Layout,
    permutations: Sequence[Permutation],
    target: Tensor,
    row: Tensor,
    orders: list[Tensor],
    visits: np.random.Generator,
) -> bool:
    """Visit every permutation once, in random order; whether that gained anything."""
    gained = [
        _improve(layout, permutations[number], target, row, orders, number)
        for number in visits.permutation(len(orders))
    ]
    return any(gained)


def _improve(layout: Layout, item: Permutation, target: Tensor, row: Tensor, orders: list[Tensor], number: int) -> bool:
    """Give the units of one permutation the best order, the others as they are in `row`; whether that gained
    anything.
    """
    gain = torch.zeros(item.size, item.size, dtype=torch.float64, device=row.device)
    for name, axis, start in _counted(layout, item):
        ours, theirs = (
            layout.view(flat, name).narrow(axis, start, item.size).movedim(axis, 0).reshape(item.size, -1)
            for flat in (target, row)
        )
        gain += ours @ theirs.T
    table = gain.cpu().numpy()
    order = torch.from_numpy(np.asarray(linear_sum_assignment(table, maximize=True)[1], dtype=np.int64))
    if table[np.arange(item.size), order.numpy()].sum() <= np.trace(table) + GAIN:
        return False
    _take(layout, item, order, row)
    orders[number] = orders[number][order]
    return True


def _counted(layout: Layout, item: Permutation) -> list[tuple[str, int, int]]:
    return [axis for axis in item.axes if layout.by_name[axis[0]].kind != "buffer"]


def _likeness(layout: Layout, permutations: Sequence[Permutation], target: Tensor, row: Tensor) -> float:
    names = {name for item in permutations for name, _, _ in _counted(layout, item)}
    return float(sum((layout.view(target, name) * layout.view(row, name)).sum() for name in sorted(names)))
