"""TIES: trim small changes, elect a sign for each parameter, average the changes that agree with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, parameter
from fusionlib.merging.vectors import FromBase


@METHODS.register("ties")
@dataclass(frozen=True)
class Ties(FromBase):
    """`theta = theta_base + scale tau`, tau the mean of the trimmed task vectors whose sign is the elected one.

    Trim: of each task vector `theta_i - theta_base` only the `density` largest entries by magnitude stay. Elect: per
    parameter the sign of the sum of what is left. Merge: the mean over those that are not zero and have this sign.
    Where what is left cancels exactly no sign is elected and the base stays as it is; the authors' code takes the
    commonest sign of the whole network there, so that one of two sides that are equally strong wins.

    Source: Yadav et al. 2023, "TIES-Merging: Resolving Interference When Merging Models", Algorithm 1. Running
    statistics are no parameters: they are not trimmed but follow the buffer policy with equal weights for all but the
    base. Breaks endpoints and unweighted: there is no alpha.
    """

    title: ClassVar[str] = "TIES"
    summary: ClassVar[str] = "A base plus the changes that are large and agree in sign"
    citation: ClassVar[str] = "Yadav et al. 2023, TIES-Merging, Algorithm 1"

    density: float = parameter(0.2, "Fraction of each task vector that is kept", min=0.01, max=1.0, step=0.01)
    scale: float = parameter(1.0, "Factor of the merged change", min=0.0, max=2.0, step=0.05)

    def add_changes(self, arena: Arena, tasks: tuple[int, ...], out: Tensor) -> None:
        """The mean of the trimmed changes that agree with the elected sign."""
        base = arena.weights[self.base]
        changes = torch.stack([trimmed(arena, arena.weights[number] - base, self.density) for number in tasks])
        agree = changes.sign() == changes.sum(0).sign()
        count = (agree & (changes != 0)).sum(0).clamp_(min=1)
        merged = torch.where(agree, changes, 0).sum(0) / count
        out.add_(merged, alpha=self.scale)


def trimmed(arena: Arena, change: Tensor, density: float) -> Tensor:
    """`change` (P,) with all but the `density` largest parameters by magnitude set to 0; ties at the limit stay."""
    entries = [entry for entry in arena.layout.entries if entry.kind != "buffer" and entry.name not in arena.own]
    parameters = [change[entry.offset : entry.end] for entry in entries]
    magnitude = torch.cat(parameters).abs() if parameters else change.abs()
    drop = magnitude.numel() - max(1, round(density * magnitude.numel()))
    if drop <= 0:
        return change
    limit = magnitude.kthvalue(drop + 1).values
    return torch.where(change.abs() >= limit, change, 0)
