"""Fisher merging: every parameter is averaged with weights that say how much each network's predictions depend on
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, MergeMethod, Mixture, parameter
from fusionlib.errors import UsageError
from fusionlib.merging.average import average_rows, check_shares, fold_order

FLOOR = 1e-6


@METHODS.register("fisher")
@dataclass(frozen=True)
class Fisher(MergeMethod):
    """`theta_k = sum_i l_i F_ik theta_ik / sum_i l_i F_ik`, F (K, P) the diagonal Fisher information of each network.

    `normalise` divides l_i by the L2 norm of F_i, so that a network with larger gradients does not win everywhere.
    `favour_anchor` raises the anchor's F alone to `max(F_a, 1e-6)` where it is less, before that division and without
    changing its norm: a parameter that no network's predictions depend on is the anchor's, and where F_a is above the
    floor nothing is favoured, however large the network is. Without it, and wherever all F are 0, such a parameter is
    the mean with weights l. Running statistics have no Fisher information and follow the buffer policy with weights l;
    so do tensors that are not trained.

    Source: Matena and Raffel 2022, "Merging Models with Fisher-Weighted Averaging", Eq. 2 and section 3; norm and floor
    as in the authors' code. Computed in float64 as a chain of interpolations, which gives equal parameters back
    exactly. How F is estimated: `fusionlib.statistics.fisher`. Breaks endpoints and unweighted: there is no alpha.
    """

    title: ClassVar[str] = "Fisher"
    summary: ClassVar[str] = "Each parameter weighed by how much each network's predictions depend on it"
    citation: ClassVar[str] = "Matena and Raffel 2022, Merging Models with Fisher-Weighted Averaging"
    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints", "unweighted"})
    needs: ClassVar = "pictures"
    statistics: ClassVar[tuple[str, ...]] = ("fisher",)

    anchor: int = parameter(
        0,
        "Number of the checkpoint that keeps what no prediction depends on, from 0",
        min=0,
        max=63,
        step=1,
        checkpoint=True,
    )
    lambdas: tuple[float, ...] = parameter((), "One weight per checkpoint, summing to 1; equal when left out")
    favour_anchor: bool = parameter(True, "Count the anchor's information as 1e-6 where it is less")
    normalise: bool = parameter(True, "Divide each network's information by its L2 norm")
    labels: str = parameter(
        "sampled",
        "Labels drawn from the prediction of each pixel, or the exact expectation over classes",
        choices=("sampled", "exact"),
    )
    seed: int = parameter(0, "Seed of the sampled labels", min=0, max=2**31 - 1, step=1)

    def shares(self, count: int) -> tuple[float, ...]:
        """The lambdas."""
        return check_shares(self.lambdas, count) if self.lambdas else (1 / count,) * count

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        members = fold_order(arena.fingerprints, self.shares(len(arena)))
        information = [self._information(arena, number) for number, _ in members]
        out = torch.empty_like(arena.weights[0]) if out is None else out
        average_rows(arena, self.shares(len(arena)), out)
        scales = self._scales(information, [share for _, share in members])
        for entry in arena.layout.entries:
            if entry.kind == "buffer" or entry.name in arena.own:
                continue
            here = slice(entry.offset, entry.end)
            weights = [
                self._weighed(row[here], number == self.anchor, scale)
                for row, (number, _), scale in zip(information, members, scales, strict=True)
            ]
            _fold([arena.weights[number, here] for number, _ in members], weights, out[here])
        return Mixture(out[None], torch.ones(1))

    def _information(self, arena: Arena, number: int) -> Tensor:
        """F (P,) of a checkpoint. Raises `UsageError` where it is not known, or not of this network."""
        row = self.table("fisher", number)["information"]
        if row.shape != arena.weights[number].shape:
            raise UsageError(
                f"Fisher information of {len(row)} elements for networks of {arena.layout.size}",
                "information about these checkpoints",
                "Estimate it on them",
            )
        return row.to(arena.weights.device)

    def _scales(self, information: Sequence[Tensor], shares: Sequence[float]) -> list[Tensor]:
        """The l_i in float64, each divided by the norm of F_i as it was estimated."""
        scales = torch.tensor(shares, dtype=torch.float64, device=information[0].device)
        if self.normalise:
            norms = torch.stack([torch.linalg.vector_norm(row, dtype=torch.float64) for row in information])
            scales = scales / torch.where(norms > 0, norms, 1)
        return list(scales)

    def _weighed(self, information: Tensor, leads: bool, scale: Tensor) -> Tensor:
        weights = information.to(torch.float64, copy=True)
        return (weights.clamp_(min=FLOOR) if leads and self.favour_anchor else weights).mul_(scale)


def _fold(rows: Sequence[Tensor], weights: Sequence[Tensor], out: Tensor) -> None:
    """Weighted mean of rows (n,) into `out` (n,), which keeps what it has where all weights are 0."""
    total, merged = weights[0].clone(), rows[0].double()
    for row, weight in zip(rows[1:], weights[1:], strict=True):
        total += weight
        merged = torch.lerp(merged, row.double(), torch.where(total > 0, weight / torch.where(total > 0, total, 1), 0))
    out.copy_(torch.where(total > 0, merged, out.double()))
