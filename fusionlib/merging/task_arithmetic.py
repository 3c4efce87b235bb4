"""Task arithmetic: the sum of what several checkpoints have learned since a common base."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, Mixture, parameter
from fusionlib.merging.vectors import statistics_from_tasks, task_shares, tasks_of


@METHODS.register("task_arithmetic")
@dataclass(frozen=True)
class TaskArithmetic:
    """`theta = theta_base + scale sum_(i != base) (theta_i - theta_base)`.

    The base is one of the checkpoints, named by its number: the one that all others were fine-tuned from. A scale of 1/(M - 1) is
    their mean, a negative one forgets a task. Running statistics follow the buffer policy with equal weights for all but the base.

    Source: Ilharco et al. 2023, "Editing models with task arithmetic". Breaks endpoints and unweighted: there is no alpha.
    """

    title: ClassVar[str] = "Task arithmetic"
    summary: ClassVar[str] = "A base plus the scaled sum of what the others learned since"
    citation: ClassVar[str] = "Ilharco et al. 2023, Editing models with task arithmetic"
    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints", "unweighted"})
    needs: ClassVar[str] = "weights"

    base: int = parameter(0, "Number of the checkpoint that the others were trained from, from 0", min=0, max=63, step=1, checkpoint=True)
    scale: float = parameter(0.4, "Factor of the sum of differences", min=-2.0, max=2.0, step=0.05)

    @property
    def anchor(self) -> int:
        """Integers and the anchor's statistics come from the base."""
        return self.base

    def shares(self, count: int) -> tuple[float, ...]:
        """Equal for all but the base: what running statistics follow."""
        return task_shares(count, self.base)

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        tasks, base = tasks_of(arena, self.base), arena.weights[self.base]
        out = torch.empty_like(base) if out is None else out
        out.copy_(base)
        for number in tasks:
            out.add_(arena.weights[number] - base, alpha=self.scale)
        statistics_from_tasks(arena, self.base, out)
        return Mixture(out[None], torch.ones(1))
