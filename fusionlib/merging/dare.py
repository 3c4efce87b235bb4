"""DARE: drop most of each change at random and enlarge the rest, so that changes collide less."""

from __future__ import annotations

import hashlib
from collections import Counter
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
    """`theta = theta_base + scale sum_i m_i * (theta_i - theta_base) / (1 - drop)`, each entry of m_i 1 with
    probability 1 - drop.

    The enlargement keeps the expectation: it is task arithmetic on average. Every tensor of every checkpoint has a mask
    of its own, made on the CPU from the seed, the checkpoint's fingerprint and the tensor's name, so that no order
    changes it.

    Source: Yu et al. 2024, "Language Models are Super Mario: Absorbing Abilities from Homologous Models as a Free
    Lunch", section 3. Running statistics are not dropped: they follow the buffer policy with equal weights for all but
    the base. Breaks endpoints and unweighted: there is no alpha.
    """

    title: ClassVar[str] = "DARE"
    summary: ClassVar[str] = "A base plus random parts of each change, enlarged to keep the expectation"
    citation: ClassVar[str] = "Yu et al. 2024, Language Models are Super Mario, section 3"

    drop: float = parameter(0.5, "Probability with which an entry of a change is dropped", min=0.0, max=0.99, step=0.01)
    scale: float = parameter(0.4, "Factor of the sum of changes", min=0.0, max=2.0, step=0.05)
    seed: int = parameter(0, "Seed of the masks", min=0, max=2**31 - 1, step=1)

    def add_changes(self, arena: Arena, tasks: tuple[int, ...], out: Tensor) -> None:
        """What the masks have left of the task vectors, enlarged."""
        base, copies = arena.weights[self.base], Counter[str]()
        for number in tasks:
            owner = f"{self.seed} {arena.fingerprints[number]} {copies[arena.fingerprints[number]]}"
            copies[arena.fingerprints[number]] += 1
            for entry in arena.layout.entries:
                here = slice(entry.offset, entry.end)
                kept = (torch.rand(entry.size, generator=_generator(f"{owner} {entry.name}")) >= self.drop).to(
                    base.device
                )
                out[here].add_((arena.weights[number, here] - base[here]) * kept, alpha=self.scale / (1 - self.drop))


def _generator(text: str) -> torch.Generator:
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]))
