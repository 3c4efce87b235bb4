"""Fisher merging: every parameter is averaged with weights that say how much each network's predictions depend on
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
    exactly. How F is estimated: `fusionlib.engine.fisher`. Breaks endpoints and unweighted: there is no alpha.
    """

    title: ClassVar[str] = "Fisher"
    summary: ClassVar[str] = "Each parameter weighed by how much each network's predictions depend on it"
    citation: ClassVar[str] = "Matena and Raffel 2022, Merging Models with Fisher-Weighted Averaging"
    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints", "unweighted"})
    needs: ClassVar = "pictures"

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
    information: Tensor | None = field(default=None, compare=False, repr=False, metadata={"hidden": True})

    def informed(self, information: Tensor) -> Fisher:  # type: ignore[override]
        """The same method that knows F (K, P)."""
        return replace(self, information=information)

    def shares(self, count: int) -> tuple[float, ...]:
        """The lambdas."""
        return check_shares(self.lambdas, count) if self.lambdas else (1 / count,) * count

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        if self.information is None or self.information.shape != arena.weights.shape:
            raise UsageError(
                "Fisher merging without the Fisher information of these checkpoints",
                "unlabelled pictures to estimate it on",
                "Give --data",
            )
        shares = self.shares(len(arena))
        out = torch.empty_like(arena.weights[0]) if out is None else out
        average_rows(arena, shares, out)
        scales, order = self._scales(shares), [number for number, _ in fold_order(arena.fingerprints, shares)]
        for entry in arena.layout.entries:
            if entry.kind == "buffer" or entry.name in arena.own:
                continue
            here = slice(entry.offset, entry.end)
            weights = self._weights(scales, here)
            _fold([arena.weights[number, here] for number in order], [weights[number] for number in order], out[here])
        return Mixture(out[None], torch.ones(1))

    def _scales(self, shares: tuple[float, ...]) -> Tensor:
        """(K, 1) float64: l_i, divided by the norm of F_i as it was estimated."""
        assert self.information is not None
        scales = torch.tensor(shares, dtype=torch.float64, device=self.information.device)
        if self.normalise:
            norms = torch.stack([torch.linalg.vector_norm(row, dtype=torch.float64) for row in self.information])
            scales = scales / torch.where(norms > 0, norms, 1)
        return scales.unsqueeze(1)

    def _weights(self, scales: Tensor, here: slice) -> Tensor:
        assert self.information is not None
        weights = self.information[:, here].to(torch.float64, copy=True)
        if self.favour_anchor:
            weights[self.anchor].clamp_(min=FLOOR)
        return weights.mul_(scales)


def _fold(rows: Sequence[Tensor], weights: Sequence[Tensor], out: Tensor) -> None:
    """Weighted mean of rows (n,) into `out` (n,), which keeps what it has where all weights are 0."""
    total, merged = weights[0].clone(), rows[0].double()
    for row, weight in zip(rows[1:], weights[1:], strict=True):
        total += weight
        merged = torch.lerp(merged, row.double(), torch.where(total > 0, weight / torch.where(total > 0, total, 1), 0))
    out.copy_(torch.where(total > 0, merged, out.double()))
