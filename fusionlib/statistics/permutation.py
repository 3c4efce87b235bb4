"""The order in which the hidden units of one checkpoint resemble those of another most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from fusionlib.architectures.recognise import permutations_of
from fusionlib.checkpoints.layout import Layout
from fusionlib.checkpoints.permuting import checked, take
from fusionlib.contracts import STATISTICS, Permutation, Progress, Subject

SWEEPS = 100
GAIN = 1e-12

Step = Callable[[Callable[[], Any]], Any]
"""Carries out one step of a match and gives its result back; it may raise `Cancelled` in its place."""


def _at_once(call: Callable[[], Any]) -> Any:
    return call()


class WeightMatching:
    """`pi = argmax <theta_a, pi(theta_b)>`: for each permutation of the network an int64 order, pi_i b's unit placed at
    i.

    Coordinate descent: permutations are visited in random order, each a linear assignment given the others, until a
    sweep over all of them gains nothing (at most 100). The result depends on the order: the best of `restarts` orders
    is kept. Running statistics move with their units but do not count in the match. Costs are float64.

    Raises `ArchitectureError` where no permutations are declared for this network.
    """

    title: ClassVar = "permutation of units"
    summary: ClassVar = "The order of hidden units in which two checkpoints resemble one another most"
    source: ClassVar = "Ainsworth, Hayase and Srinivasa 2023, Git Re-Basin, Algorithm 1 (weight matching)"
    version: ClassVar = 1
    needs: ClassVar = "architecture"
    grain: ClassVar = "pair"
    options: ClassVar = ("restarts", "seed")
    cost: ClassVar = 0

    def estimate(self, subject: Subject, options: Mapping[str, Any], progress: Progress) -> dict[str, Tensor]:
        """The second member's units in the order of the first's, by name of the permutation."""
        arena = subject.arena
        permutations = checked(arena, permutations_of(arena.shapes))

        def step(call: Callable[[], Any]) -> Any:
            progress(0, 0)
            return subject.run(call)

        target, other = arena.weights
        orders = match(arena.layout, permutations, target, other, options["restarts"], options["seed"], step)
        return {item.name: order for item, order in zip(permutations, orders, strict=True)}


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

    It takes seconds: every sweep goes through `step`, so that others can use the device in between, or end it.
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
    from scipy.optimize import linear_sum_assignment  # half a second, for this alone

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
    take(layout, item, order, row)
    orders[number] = orders[number][order]
    return True


def _counted(layout: Layout, item: Permutation) -> list[tuple[str, int, int]]:
    return [axis for axis in item.axes if layout.by_name[axis[0]].kind != "buffer"]


def _likeness(layout: Layout, permutations: Sequence[Permutation], target: Tensor, row: Tensor) -> float:
    names = {name for item in permutations for name, _, _ in _counted(layout, item)}
    return float(sum((layout.view(target, name) * layout.view(row, name)).sum() for name in sorted(names)))


STATISTICS.register("permutation")(WeightMatching())
