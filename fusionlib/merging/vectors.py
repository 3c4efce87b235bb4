"""Task vectors: what each checkpoint has learned since a common base, and the frame of every method that starts from
them.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import MergeMethod, Mixture, parameter
from fusionlib.errors import UsageError
from fusionlib.merging.average import fold_order
from fusionlib.merging.slices import merge_slices


@dataclass(frozen=True)
class FromBase(MergeMethod):
    """`theta = theta_base + change`, the change made of task vectors `theta_i - theta_base`; a method says which in
    `add_changes`.

    Running statistics are no parameters: they follow the buffer policy with equal weights for all but the base.
    Breaks endpoints and unweighted: there is no alpha.
    """

    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints", "unweighted"})

    base: int = parameter(
        0, "Number of the checkpoint that the others were trained from, from 0", min=0, max=63, step=1, checkpoint=True
    )

    @property
    def anchor(self) -> int:
        """The anchor's statistics are those of the base."""
        return self.base

    def shares(self, count: int) -> tuple[float, ...]:
        """Equal for all but the base: what running statistics follow."""
        return task_shares(count, self.base)

    @abstractmethod
    def add_changes(self, arena: Arena, tasks: tuple[int, ...], out: Tensor) -> None:
        """Add the change to `out` (P,), which holds the base."""

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        tasks, base = tasks_of(arena, self.base), arena.weights[self.base]
        out = torch.empty_like(base) if out is None else out
        out.copy_(base)
        self.add_changes(arena, tasks, out)
        statistics_from_tasks(arena, self.base, out)
        return Mixture(out[None], torch.ones(1))


def tasks_of(arena: Arena, base: int) -> tuple[int, ...]:
    """Numbers of the checkpoints other than the base, in the order of `fold_order`.

    Raises: `UsageError` where the base is not there or is alone.
    """
    if not 0 <= base < len(arena):
        raise UsageError(
            f"Base {base} of {len(arena)} checkpoints", f"a number from 0 to {len(arena) - 1}", "Correct the base"
        )
    if len(arena) < 2:
        raise UsageError(
            "A base alone", "a base checkpoint and at least one that was trained from it", "Add a checkpoint"
        )
    return tuple(number for number, _ in fold_order(arena.fingerprints, task_shares(len(arena), base)))


def task_shares(count: int, base: int) -> tuple[float, ...]:
    """Equal weights for all but the base: what running statistics follow. A base without any other keeps all."""
    if count == 1:
        return (1.0,)
    return tuple(0.0 if number == base else 1 / (count - 1) for number in range(count))


def statistics_from_tasks(arena: Arena, base: int, out: Tensor) -> None:
    """Mean running statistics of the tasks in `out`: a base plus scaled differences could make a variance negative."""
    shares = task_shares(len(arena), base)
    merge_slices(
        arena,
        {entry.name: shares for entry in arena.layout.entries},
        out,
        [entry for entry in arena.layout.entries if entry.kind == "buffer"],
    )
