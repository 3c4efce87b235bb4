"""SWAG: a Gaussian of a diagonal and of low rank around the mean of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.posterior import PosteriorFile
from fusionlib.contracts import POSTERIORS
from fusionlib.merging.draws import normal

VARIANCE, DEVIATIONS = "variance", "deviations"
FLOOR = 1e-30
MOST = 1000
"""Deviations of a file, at most."""


class Swag:
    """`mean + sqrt(1/2) (sqrt(variance) z1 + D^T z2 / sqrt(K - 1))`, D (K, P) the deviations kept: covariance
    `1/2 (diag + D^T D / (K - 1))`.

    K is what was kept, not the most that might have been, which the authors' code divides by.
    Source: Maddox et al. 2019, "A Simple Baseline for Bayesian Uncertainty in Deep Learning", Eq. 1.
    """

    title: ClassVar[str] = "SWAG"
    summary: ClassVar[str] = "A Gaussian around the mean of a run: half a diagonal, half the last deviations from it"
    citation: ClassVar[str] = "Maddox et al. 2019, A Simple Baseline for Bayesian Uncertainty, Eq. 1"

    def check(self, file: PosteriorFile) -> None:
        """Two deviations or more, of every tensor that has a variance. Raises `CheckpointError`."""
        file.only(VARIANCE, DEVIATIONS)
        names = list(file.parts.get(VARIANCE, {}))
        if not names or set(names) != set(file.parts.get(DEVIATIONS, {})):
            raise file.refused("its variances and deviations are of other tensors", "both of each")
        rank = (*file.shape(DEVIATIONS, names[0]), 0)[0]
        if not 2 <= rank <= MOST:
            raise file.refused(f"{rank} deviations, which have no covariance", f"2 to {MOST}")
        for name in names:
            file.need(VARIANCE, name, file.shapes[name])
            file.need(DEVIATIONS, name, (rank, *file.shapes[name]))

    def deviations(self, file: PosteriorFile, keys: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        """As the class says."""
        rank = file.shape(DEVIATIONS, next(iter(file.parts[VARIANCE])))[0]
        shared = [normal(key, "", rank) / math.sqrt(rank - 1) for key in keys]
        for name in file.parts[VARIANCE]:
            spread = file.read(VARIANCE, name, least=0.0).clamp(min=FLOOR).sqrt()
            rows = file.read(DEVIATIONS, name)
            drawn = [
                spread * normal(key, name, *spread.shape, dtype=spread.dtype)
                + torch.tensordot(share.to(rows.dtype), rows, 1)
                for key, share in zip(keys, shared, strict=True)
            ]
            yield name, math.sqrt(0.5) * torch.stack(drawn)


POSTERIORS.register("swag")(Swag())
