"""Samples of a posterior as a mixture: networks drawn from one checkpoint, whose answers are averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.posterior import PosteriorFile
from fusionlib.contracts import METHODS, MergeMethod, Mixture, parameter
from fusionlib.errors import UsageError
from fusionlib.merging.draws import deviations


@METHODS.register("samples")
@dataclass(frozen=True)
class Samples(MergeMethod):
    """`p = 1/M sum_j softmax(f(theta + scale d_j))`, d_j drawn from the posterior whose mean the checkpoint theta is.

    One checkpoint is enough; of several the others take no part. The j-th sample follows from seed and j alone, so that
    more samples begin with the fewer. All have the running statistics of the mean, unless the buffer policy measures
    them anew for each, which SWAG and simplexes want. Its cost is M forward passes, and no single file holds it. Breaks
    endpoints, unweighted and copies: there is no alpha, and samples are not their mean.

    Source: Maddox et al. 2019, Ritter et al. 2018, Benton et al. 2021: see `fusionlib.merging.posteriors`. Their codes
    put a scale under the root or at it; here its square is a factor of the covariance.
    """

    title: ClassVar[str] = "Samples of a posterior"
    summary: ClassVar[str] = "Networks drawn from a checkpoint that is a posterior run and their answers are averaged"
    citation: ClassVar[str] = "Maddox et al. 2019; Ritter et al. 2018; Benton et al. 2021"
    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints", "unweighted", "copies"})
    averages: ClassVar[bool] = False
    no_defaults: ClassVar[str] = (
        "Needs a posterior, which train --regime swag, kfac or spro leaves: try it with its number as the anchor"
    )

    anchor: int = parameter(
        0, "Number of the checkpoint that is sampled, a posterior, from 0", min=0, max=63, step=1, checkpoint=True
    )
    count: int = parameter(10, "M, how many networks are drawn", min=1, max=100, step=1)
    seed: int = parameter(0, "Seed of the samples", min=0, max=2**31 - 1, step=1)
    scale: float = parameter(1.0, "Factor of each sample's deviation from the mean", min=0.0, max=10.0, step=0.1)

    def shares(self, count: int) -> tuple[float, ...]:
        """All on the one that is sampled. Raises `UsageError` where it is not there."""
        if self.anchor >= count:
            raise UsageError(
                f"Samples of checkpoint {self.anchor} of {count}", f"a number from 0 to {count - 1}", "Correct anchor"
            )
        return tuple(float(number == self.anchor) for number in range(count))

    def networks(self, count: int) -> int:
        """M."""
        return self.count

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        mean, file = arena.weights[self.anchor], self._posterior(arena)
        rows = out[None] if out is not None and self.count == 1 else mean.new_empty(self.count, len(mean))
        rows.copy_(mean.expand_as(rows))
        for name, drawn in deviations(file, self.seed, self.count):
            entry = arena.layout.by_name[name]
            here = rows[:, entry.offset : entry.end]
            here.copy_(here.double().add_(drawn.flatten(1).to(rows.device, torch.float64), alpha=self.scale))
        return Mixture(rows, torch.full((self.count,), 1 / self.count, dtype=torch.float64))

    def _posterior(self, arena: Arena) -> PosteriorFile:
        file = arena.posteriors[self.anchor] if arena.posteriors else None
        if file is None:
            raise UsageError(
                f"{arena.names[self.anchor]} is no posterior",
                "a file that train --regime swag, kfac or spro has left",
                "Choose such a checkpoint",
            )
        return file
