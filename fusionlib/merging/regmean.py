"""RegMean: each layer of the merge answers as the layers that it is made of do, as nearly as one layer can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, MergeMethod, Mixture, Shares, Table, parameter
from fusionlib.errors import UsageError
from fusionlib.merging.average import average_rows, fold_order

RIDGE = 1e-6
"""What is added to the diagonal of a singular sum, as a share of its mean."""

SINGULAR = 1e-10
"""A sum is singular where a pivot of its Cholesky factor, squared, is less than this share of its diagonal."""


@METHODS.register("regmean")
@dataclass(frozen=True)
class RegMean(MergeMethod):
    """`W = (sum_i G_i)^-1 sum_i G_i W_i` for each linear layer and convolution: least squares of `sum_i |X_i W - X_i
    W_i|^2`.

    W (d, outputs) is a layer's weight matrix, a convolution's by unfolding. `G_i = X_i^T X_i` (d, d) is made of the
    inputs that network i gives the layer; its off-diagonals are multiplied by `off_diagonal` before both sums. Where
    the sum is singular, 1e-6 of its mean diagonal is added to its diagonal, and 1/M of that to each G_i: an input that
    no network uses then has the mean weight, where the addition on one side alone would give it 0.

    All else is the mean: biases, norms, and weights without a Gram matrix (transposed and grouped convolutions, layers
    of more than `widest` inputs), of which a note says how many they are. Running statistics follow the buffer policy
    with equal weights. Nothing weighs one checkpoint more than another.

    Source: Jin et al. 2023, "Dataless Knowledge Fusion by Merging Weights of Language Models", section 3. Computed in
    float64 as the mean plus `(sum_i G_i)^-1 sum_i G_i (W_i - mean)`, which gives equal weights back exactly, sums in
    the order of the fingerprints. How G is estimated: `fusionlib.statistics.gram`. Breaks endpoints and unweighted:
    there is no alpha.
    """

    title: ClassVar[str] = "RegMean"
    summary: ClassVar[str] = "Each layer is the one that comes nearest to all networks' answers to their own inputs"
    citation: ClassVar[str] = "Jin et al. 2023, Dataless Knowledge Fusion by Merging Weights of Language Models"
    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints", "unweighted"})
    needs: ClassVar = "pictures"
    statistics: ClassVar[tuple[str, ...]] = ("gram",)

    off_diagonal: float = parameter(
        0.9, "Factor of the Gram matrices' off-diagonals; at 0 inputs count one by one", min=0.0, max=1.0, step=0.05
    )
    widest: int = parameter(8192, "Layers of more inputs than this take the mean", min=1, max=1 << 20, step=1)

    def shares(self, count: int) -> Shares:
        """1/M each."""
        return (1 / count,) * count

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        order = [number for number, _ in fold_order(arena.fingerprints, self.shares(len(arena)))]
        tables = [self.table("gram", number) for number in order]
        out = torch.empty_like(arena.weights[0]) if out is None else out
        average_rows(arena, self.shares(len(arena)), out)
        shared = [entry for entry in arena.layout.entries if entry.name not in arena.own]
        matrices = [entry for entry in shared if entry.kind == "weight" and len(entry.shape) > 1]
        regressed = [entry for entry in matrices if all(entry.name in table for table in tables)]
        singular = 0
        for entry in regressed:
            here, shape = slice(entry.offset, entry.end), (entry.shape[0], -1)
            rows = [arena.weights[number, here].view(shape) for number in order]
            grams = [self._gram(table, entry.name, rows[0]) for table in tables]
            singular += _regress(grams, rows, out[here].view(shape))
        return Mixture(out[None], torch.ones(1), _notes(len(regressed), len(matrices), singular))

    def _gram(self, table: Table, name: str, row: Tensor) -> Tensor:
        """G (d, d) of a layer, its off-diagonals shrunk. Raises `UsageError` where it is another layer's."""
        gram = table[name].to(row.device, torch.float64)
        if gram.shape != (row.shape[1], row.shape[1]):
            raise UsageError(
                f"A Gram matrix of {tuple(gram.shape)} for {row.shape[1]} inputs of {name}",
                "Gram matrices of these checkpoints",
                "Estimate them on these",
            )
        return gram * self.off_diagonal + torch.diag(gram.diagonal()) * (1 - self.off_diagonal)


def _regress(grams: Sequence[Tensor], rows: Sequence[Tensor], out: Tensor) -> bool:
    """Move `out` (outputs, d), the mean of `rows`, to the solution; whether the sum of G was singular."""
    total = grams[0].clone()
    for gram in grams[1:]:
        total += gram
    ridge = 0.0
    if singular := _is_singular(total):
        ridge = RIDGE * float(total.diagonal().mean())
        total.diagonal().add_(ridge)
    if not bool((total.diagonal() > 0).all()):  # no input at all
        return singular
    mean = out.double()
    right = torch.zeros_like(mean).T
    for gram, row in zip(grams, rows, strict=True):
        apart = (row.double() - mean).T
        right = right + gram @ apart + ridge / len(grams) * apart
    out.copy_(mean + _solved(total, right).T)
    return singular


def _unit(total: Tensor) -> tuple[Tensor, Tensor]:
    """The matrix scaled to a diagonal of ones, and the scales (d, 1)."""
    scale = total.diagonal().rsqrt().unsqueeze(1)
    return total * scale * scale.T, scale


def _is_singular(total: Tensor) -> bool:
    if not bool((total.diagonal() > 0).all()):
        return True
    factor, failed = torch.linalg.cholesky_ex(_unit(total)[0])
    return bool(failed) or float(factor.diagonal().min()) ** 2 < SINGULAR


def _solved(total: Tensor, right: Tensor) -> Tensor:
    unit, scale = _unit(total)
    return scale * torch.cholesky_solve(scale * right, torch.linalg.cholesky(unit))


def _notes(regressed: int, matrices: int, singular: int) -> tuple[str, ...]:
    notes = []
    if matrices > regressed:
        notes.append(
            f"{matrices - regressed} of {matrices} weight matrices are the mean: those of transposed and grouped"
            " convolutions, and of layers that are too wide or that no picture passes through"
        )
    if singular:
        notes.append(f"Inputs are linearly dependent in {singular} of {regressed} layers: 1e-6 of the mean was added")
    return tuple(notes)
