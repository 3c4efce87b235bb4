"""Task arithmetic: the sum of what several checkpoints have learned since a common base."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, parameter
from fusionlib.merging.vectors import FromBase


@METHODS.register("task_arithmetic")
@dataclass(frozen=True)
class TaskArithmetic(FromBase):
    """`theta = theta_base + scale sum_(i != base) (theta_i - theta_base)`.

    The base is one of the checkpoints, named by its number: the one that all others were fine-tuned from. A scale of
    1/(M - 1) is their mean, a negative one forgets a task. Running statistics follow the buffer policy with equal
    weights for all but the base.

    Source: Ilharco et al. 2023, "Editing models with task arithmetic". Breaks endpoints and unweighted: there is no
    alpha.
    """

    title: ClassVar[str] = "Task arithmetic"
    summary: ClassVar[str] = "A base plus the scaled sum of what the others learned since"
    citation: ClassVar[str] = "Ilharco et al. 2023, Editing models with task arithmetic"

    scale: float = parameter(0.4, "Factor of the sum of differences", min=-2.0, max=2.0, step=0.05)

    def add_changes(self, arena: Arena, tasks: tuple[int, ...], out: Tensor) -> None:
        """The scaled task vectors."""
        for number in tasks:
            out.add_(arena.weights[number] - arena.weights[self.base], alpha=self.scale)
