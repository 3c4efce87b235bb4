"""DARE: drop most of each change at random and enlarge the rest, so that changes collide less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, Mixture, parameter
from fusionlib.merging.vectors import statistics_from_tasks, task_shares, tasks_of


@METHODS.register("dare")
@dataclass(frozen=True)
class Dare:
    """`theta = theta_base + scale sum_i m_i * (theta_i - theta_base) / (1 - drop)`, each entry of m_i 1 with probability 1 - drop.

    The enlargement keeps the expectation: it is task arithmetic on average. The masks come from a generator of their own with
    the given seed, on the CPU, in the order of the checkpoints.

    Source: Yu et al. 2024, "Language Models are Super Mario: Absorbing Abilities from Homologous Models as a Free Lunch", section 3.
    Running statistics are not dropped: they follow the buffer policy with equal weights for all but the base.
    Breaks endpoints and unweighted: there is no alpha.
    """

    title: ClassVar[str] = "DARE"
    summary: ClassVar[str] = "A base plus random parts of each change, enlarged to keep the expectation"
    citation: ClassVar[str] = "Yu et al. 2024, Language Models are Super Mario, section 3"
    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints", "unweighted"})
    needs: ClassVar[str] = "weights"

    base: int = parameter(0, "Number of the checkpoint that the others were trained from, from 0", min=0, max=63, step=1, checkpoint=True)
    drop: float = parameter(0.5, "Probability with which an entry of a change is dropped", min=0.0, max=0.99, step=0.01)
    scale: float = parameter(0.4, "Factor of the sum of changes", min=0.0, max=2.0, step=0.05)
    seed: int = parameter(0, "Seed of the masks", min=0, max=2**31 - 1, step=1)

    @property
    def anchor(self) -> int:
        """Integers and the anchor's statistics come from the base."""
        return self.base

    def shares(self, count: int) -> tuple[float, ...]:
        """Equal for all but the base: what running statistics follow."""
        return task_shares(count, self.base)

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        tasks, base = tasks_of(arena, self.base), arena.weights[self.base]
        generator = torch.Generator().manual_seed(self.seed)
        out = torch.empty_like(base) if out is None else out
        out.copy_(base)
        for number in tasks:
            kept = (torch.rand(base.shape, generator=generator) >= self.drop).to(base.device)
            out.add_((arena.weights[number] - base) * kept, alpha=self.scale / (1 - self.drop))
        statistics_from_tasks(arena, self.base, out)
        return Mixture(out[None], torch.ones(1))
