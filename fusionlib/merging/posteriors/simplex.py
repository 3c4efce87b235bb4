"""A simplex of networks: every mixture of its vertices is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.posterior import PosteriorFile
from fusionlib.contracts import POSTERIORS
from fusionlib.merging.draws import generator

VERTICES = "vertices"
MOST = 100


class Simplex:
    """`sum_i l_i v_i`, l uniform on the simplex (Dirichlet(1, ..., 1)); the mean is that of the vertices.

    Source: Benton et al. 2021, "Loss Surface Simplexes for Mode Connecting Volumes and Fast Ensembling", section 4.
    """

    title: ClassVar[str] = "Simplex"
    summary: ClassVar[str] = "Uniform on the simplex between vertices that were trained together"
    citation: ClassVar[str] = "Benton et al. 2021, Loss Surface Simplexes, section 4"

    def check(self, file: PosteriorFile) -> None:
        """Two vertices or more, of equal number in every tensor. Raises `CheckpointError`."""
        file.only(VERTICES)
        names = list(file.parts.get(VERTICES, {}))
        count = (*file.shape(VERTICES, names[0]), 0)[0] if names else 0
        if not 2 <= count <= MOST:
            raise file.refused(f"{count} vertices", f"2 to {MOST}")
        for name in names:
            file.need(VERTICES, name, (count, *file.shapes[name]))

    def deviations(self, file: PosteriorFile, keys: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        """As the class says."""
        sides = file.shape(VERTICES, next(iter(file.parts[VERTICES])))[0]
        shares = dirichlet(len(keys), sides, [generator(key) for key in keys]) - 1 / sides
        for name in file.parts[VERTICES]:
            vertices = file.read(VERTICES, name).double()
            # One at a time: a product with several rows may round otherwise than with fewer.
            yield name, torch.stack([torch.tensordot(row, vertices, 1) for row in shares])


def dirichlet(count: int, sides: int, random: Sequence[torch.Generator]) -> Tensor:
    """Points uniform on a simplex (count, sides) float64, rows sum to 1; one generator each."""
    drawn = torch.stack([torch.empty(sides, dtype=torch.float64).exponential_(generator=one) for one in random[:count]])
    return drawn / drawn.sum(1, keepdim=True)


POSTERIORS.register("simplex")(Simplex())
