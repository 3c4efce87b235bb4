"""What happens to batch-norm statistics in a merge: `average`, `anchor` or `gaussian`.

The fourth policy, `recalibrate`, needs pictures and lives in `fusionlib.inference.recalibrate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import MergeMethod
from fusionlib.errors import UsageError
from fusionlib.merging.average import weighted_average

POLICIES: Mapping[str, str] = {
    "average": "Average running means and variances with the same weights as the parameters",
    "gaussian": "Pool the checkpoints' Gaussians: means weighted by batches seen, variance with the spread of the means",
    "anchor": "Keep the statistics of the anchor (the first checkpoint)",
    "recalibrate": "Measure the statistics anew on unlabelled pictures with the merged weights",
}
"""Policy name to what it does, in one line."""

EQUAL_COUNTS = "Batch counters are missing or zero: the Gaussians are pooled with equal counts"


def check_policy(policy: str) -> str:
    """`policy` itself. Raises `UsageError` that lists the valid ones."""
    if policy not in POLICIES:
        raise UsageError(f"Unknown buffer policy {policy!r}", f"one of {', '.join(POLICIES)}", "Correct --buffers")
    return policy


def pooled_moments(means: Tensor, variances: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of a mixture of Gaussians.

    `n = sum n_j; mu = sum n_j mu_j / n; var = sum n_j (var_j + (mu_j - mu)^2) / n`, all inputs (K, B), computed in float64.

    Source: "Training-Free Model Merging for Multi-target Domain Adaptation", Eq. 4 and 5. The running VARIANCE enters as
    it is (the text's sigma is a standard deviation) and mu in Eq. 5 is the merged mean.
    """
    means, variances, counts = means.double(), variances.double(), counts.double()
    share = counts / counts.sum(0)
    mean = (share * means).sum(0)
    return mean, (share * (variances + (means - mean) ** 2)).sum(0)


def apply_policy(policy: str, arena: Arena, shares: Sequence[float], out: Tensor, anchor: int = 0) -> tuple[str, ...]:
    """Set the running statistics in `out` (P,) as `policy` says. Returns remarks for the user.

    `gaussian` weighs by batches seen, as the paper and its code do, whatever the merge weights are; a checkpoint whose
    weight is 0 takes no part, so that the ends of a path are the checkpoints themselves. The statistics therefore jump at
    the very ends of an alpha sweep and are constant between. Raises `UsageError` for an unknown policy.
    """
    check_policy(policy)
    if not arena.layout.statistics or policy == "recalibrate":
        return ()
    if policy == "anchor":
        _copy_statistics(arena, arena.weights[anchor], out)
        return ()
    if policy == "average":
        for index in (arena.mean_index, arena.variance_index):
            rows = [row[index] for row in arena.weights]
            out[index] = weighted_average(rows, shares, torch.empty_like(rows[0]))
        return ()
    return _pool(arena, shares, out)


def settle(policy: str, arena: Arena, method: MergeMethod, out: Tensor, anchor: int = 0) -> tuple[str, ...]:
    """Set the running statistics in `out` (P,), which `method` has just written, as `policy` says. Returns remarks for the user.

    A method with weights by tensor (`tensor_shares`) has averaged the statistics with the weights of their own tensors already, as the
    layer-wise paper does; under `gaussian` a checkpoint without weight for a layer has no part in that layer. `anchor` counts
    where the method has none of its own. Members of an ensemble keep their own.
    """
    if getattr(method, "keeps_statistics", False):
        return ()
    anchor = anchor_of(method, len(arena), anchor)
    if hasattr(method, "aligned"):  # the statistics of moved units have moved with them
        arena = method.aligned(arena)  # type: ignore[attr-defined]
    tensor_shares = getattr(method, "tensor_shares", None)
    if tensor_shares is None or policy not in ("average", "gaussian"):
        return apply_policy(policy, arena, method.shares(len(arena)), out, anchor)
    if policy == "average" or not arena.layout.statistics:
        return ()
    table = tensor_shares(arena)
    rows = [table[item.mean.name] for item in arena.layout.statistics for _ in range(item.mean.size)]
    takes_part = torch.tensor(rows, dtype=torch.float64, device=out.device).T > 0
    counts, notes = arena.counts, ()
    if not bool((counts > 0).all()):
        counts, notes = torch.ones_like(counts), (EQUAL_COUNTS,)
    mean, variance = pooled_moments(arena.weights[:, arena.mean_index], arena.weights[:, arena.variance_index], counts * takes_part)
    out[arena.mean_index], out[arena.variance_index] = mean.to(out.dtype), variance.to(out.dtype)
    return notes


def anchor_of(method: MergeMethod, count: int, default: int = 0) -> int:
    """The method's anchor, `default` where it has none. Raises `UsageError` where there is no such checkpoint."""
    anchor = int(getattr(method, "anchor", default))
    if not 0 <= anchor < count:
        raise UsageError(f"Anchor {anchor} of {count} checkpoints", f"a number from 0 to {count - 1}", "Correct the anchor")
    return anchor


def _pool(arena: Arena, shares: Sequence[float], out: Tensor) -> tuple[str, ...]:
    taking_part = [number for number, share in enumerate(shares) if share != 0]
    if len(taking_part) == 1:
        _copy_statistics(arena, arena.weights[taking_part[0]], out)
        return ()
    rows = torch.tensor(taking_part, device=out.device)
    means, variances = arena.weights[rows][:, arena.mean_index], arena.weights[rows][:, arena.variance_index]
    counts = arena.counts[rows]
    known = bool((counts > 0).all())
    mean, variance = pooled_moments(means, variances, counts if known else torch.ones_like(counts))
    out[arena.mean_index], out[arena.variance_index] = mean.to(out.dtype), variance.to(out.dtype)
    return () if known else (EQUAL_COUNTS,)


def _copy_statistics(arena: Arena, row: Tensor, out: Tensor) -> None:
    for index in (arena.mean_index, arena.variance_index):
        out[index] = row[index]


def merged_integers(policy: str, arena: Arena, shares: Sequence[float], anchor: int = 0) -> dict[str, Tensor]:
    """Integer tensors of the merge: the anchor's, or those of the first checkpoint that takes part (weight above 0).

    `gaussian` sums the batch counters of all that take part: the n of Eq. 4.
    """
    tables = [table for table, share in zip(arena.integers, shares, strict=True) if share != 0]
    merged = dict(arena.integers[anchor] if shares[anchor] != 0 else tables[0])
    if policy == "gaussian":
        for name in (item.counter for item in arena.layout.statistics if item.counter):
            merged[name] = torch.stack([table[name] for table in tables]).sum(0, dtype=tables[0][name].dtype)
    return merged
