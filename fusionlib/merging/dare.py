"""DARE: drop most of each change at random and enlarge the rest, so that changes collide less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, parameter
from fusionlib.merging.vectors import FromBase


@METHODS.register("dare")
@dataclass(frozen=True)
class Dare(FromBase):
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

    drop: float = parameter(0.5, "Probability with which an entry of a change is dropped", min=0.0, max=0.99, step=0.01)
    scale: float = parameter(0.4, "Factor of the sum of changes", min=0.0, max=2.0, step=0.05)
    seed: int = parameter(0, "Seed of the masks", min=0, max=2**31 - 1, step=1)

    def add_changes(self, arena: Arena, tasks: tuple[int, ...], out: Tensor) -> None:
        """What the masks have left of the task vectors, enlarged."""
        base, generator = arena.weights[self.base], torch.Generator().manual_seed(self.seed)
        for number in tasks:
            kept = (torch.rand(base.shape, generator=generator) >= self.drop).to(base.device)
            out.add_((arena.weights[number] - base) * kept, alpha=self.scale / (1 - self.drop))
