"""What happens to batch-norm statistics in a merge: `average`, `anchor` or `gaussian`.

The fourth policy, `recalibrate`, needs pictures and lives in `fusionlib.engine.recalibrate`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.layout import COUNTER
from fusionlib.contracts import MergeMethod
from fusionlib.errors import UsageError
from fusionlib.merging.average import SHARE_DIGITS, fold_order, weighted_average
from fusionlib.merging.choices import check_policy
from fusionlib.merging.slices import Shares

EQUAL_COUNTS = "Batch counters are missing or zero"
"""How the note begins that says in which layers the Gaussians are pooled with equal counts."""

NAMED = 3
"""Layers that a note names; of further ones it says how many there are."""


def pooled_moments(means: Tensor, variances: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of a mixture of Gaussians.

    `n = sum n_j; mu = sum n_j mu_j / n; var = sum n_j (var_j + (mu_j - mu)^2) / n`, all inputs (K, B), computed in
    float64. What has the count 0 takes no part, whatever it holds; what alone has a count comes back exactly.

    Source: "Training-Free Model Merging for Multi-target Domain Adaptation", Eq. 4 and 5. The running VARIANCE enters
    as it is (the text's sigma is a standard deviation) and mu in Eq. 5 is the merged mean.
    """
    means, variances, counts = means.double(), variances.double(), counts.double()
    share, there = counts / counts.sum(0), counts > 0
    mean = torch.where(there, share * means, 0).sum(0)
    return mean, torch.where(there, share * (variances + (means - mean) ** 2), 0).sum(0)


def layer_shares(method: MergeMethod, arena: Arena) -> tuple[Shares, ...]:
    """K weights for each batch-norm layer of `arena.layout.statistics`: what its running statistics and its counter
    follow.

    Those of the layer's own tensors where the method has such, else those of the whole network. A
    layer that the checkpoints do not share is the anchor's in every row, so one row stands for all of them.
    """
    count, table = len(arena), method.tensor_shares(arena)
    whole, one = method.shares(count), (1.0, *(0.0,) * (count - 1))
    return tuple(
        one if item.mean.name in arena.own else tuple(table.get(item.mean.name, whole))
        for item in arena.layout.statistics
    )


def settle(policy: str, arena: Arena, method: MergeMethod, out: Tensor, anchor: int = 0) -> tuple[str, ...]:
    """Set the running statistics in `out` (P,), which `method` has just written, as `policy` says. Returns remarks for
    the user.

    `average` weighs like the parameters; a `tensorwise` method has done so already with
    those of the statistics' own tensors, as the layer-wise paper does. `gaussian` weighs by batches seen, as the paper
    and its code do, whatever the merge weights are; a checkpoint whose weight in a layer is 0 takes no part there, so
    that the ends of a path are the checkpoints themselves. The statistics therefore jump at the very ends of an alpha
    sweep and are constant between. A counter that is missing or 0 makes its own layer weigh equally, no other. `anchor`
    counts where the method has none of its own. Members of an ensemble keep their own statistics.

    Raises: `UsageError` for an unknown policy, or an anchor that is not there.
    """
    check_policy(policy)
    if method.keeps_statistics:
        return ()
    anchor = anchor_of(method, len(arena), anchor)
    if not arena.layout.statistics or policy == "recalibrate" or (policy == "average" and method.tensorwise):
        return ()
    arena = method.aligned(arena)  # the statistics of moved units have moved with them
    if policy == "gaussian":
        return _pool(arena, layer_shares(method, arena), out)
    members = fold_order(arena.fingerprints, method.shares(len(arena))) if policy == "average" else [(anchor, 1.0)]
    for index in (arena.mean_index, arena.variance_index):
        rows = [arena.weights[number, index] for number, _ in members]
        out[index] = weighted_average(rows, [share for _, share in members], torch.empty_like(rows[0]))
    return ()


def anchor_of(method: MergeMethod, count: int, default: int = 0) -> int:
    """The method's anchor, `default` where it has none. Raises `UsageError` where there is no such checkpoint."""
    anchor = default if method.anchor is None else method.anchor
    if not 0 <= anchor < count:
        raise UsageError(
            f"Anchor {anchor} of {count} checkpoints", f"a number from 0 to {count - 1}", "Correct the anchor"
        )
    return anchor


def _pool(arena: Arena, layers: Sequence[Shares], out: Tensor) -> tuple[str, ...]:
    statistics = arena.layout.statistics
    weighing = {row: [_weighs(share) for share in row] for row in set(layers)}
    takes_part = torch.tensor([weighing[row] for row in layers], device=out.device).T  # (K, L)
    unknown = (takes_part & (arena.counts <= 0)).any(0) & (takes_part.sum(0) > 1)
    counts = torch.where(unknown | (takes_part.sum(0) == 1), 1.0, arena.counts) * takes_part
    sizes = torch.tensor([item.mean.size for item in statistics], device=out.device)
    order = [number for number, _ in fold_order(arena.fingerprints, (1.0,) * len(arena))]
    means, variances = (
        torch.stack([arena.weights[number, index] for number in order])
        for index in (arena.mean_index, arena.variance_index)
    )
    mean, variance = pooled_moments(means, variances, counts[order].repeat_interleave(sizes, dim=1))
    out[arena.mean_index], out[arena.variance_index] = mean.to(out.dtype), variance.to(out.dtype)
    return _equal_counts(
        [item.layer for item, equal in zip(statistics, unknown.tolist(), strict=True) if equal], len(statistics)
    )


def _equal_counts(layers: Sequence[str], total: int) -> tuple[str, ...]:
    if not layers:
        return ()
    named = ", ".join(layers[:NAMED]) + (f" and {len(layers) - NAMED} more" if len(layers) > NAMED else "")
    where, their = (
        (f"{len(layers)} of {total} layers", "their") if len(layers) > 1 else (f"one of {total} layers", "its")
    )
    return (f"{EQUAL_COUNTS} in {where} ({named}): {their} Gaussians are pooled with equal counts",)


def _weighs(share: float) -> bool:
    return round(share, SHARE_DIGITS) != 0


def merged_integers(policy: str, arena: Arena, method: MergeMethod, anchor: int = 0) -> dict[str, Tensor]:
    """Integer tensors of the merge that `method` makes. Index tables are equal in all; a batch counter says where its
    layer's running statistics come from.

    Under `anchor` it is the anchor's; under `gaussian` the sum over those that have a weight in that layer, the n of
    Eq. 4, so that the merge weighs in a next one as it was trained; else that of the heaviest there: on a tie the
    method's anchor, where it has none or that is none of the heaviest, the first by fingerprint. `anchor` counts where
    the method has none of its own.
    """
    merged = dict(arena.integers[anchor_of(method, len(arena), anchor)])
    if policy == "anchor":
        return merged
    layers = dict(zip((item.counter for item in arena.layout.statistics), layer_shares(method, arena), strict=True))
    owners: dict[Shares, list[int]] = {}
    for name in (name for name in merged if name.endswith(COUNTER)):
        shares = layers.get(name) or tuple(method.shares(len(arena)))
        if shares not in owners:
            owners[shares] = (
                [number for number, share in enumerate(shares) if _weighs(share)]
                if policy == "gaussian"
                else [_heaviest(arena, shares, method.anchor)]
            )
        first, *others = (arena.integers[number][name] for number in owners[shares])
        merged[name] = sum(others, start=first)
    return merged


def _heaviest(arena: Arena, shares: Shares, anchor: int | None) -> int:
    rounded = [round(share, SHARE_DIGITS) for share in shares]
    heaviest = [number for number, share in enumerate(rounded) if share == max(rounded)]
    return anchor if anchor in heaviest else min(heaviest, key=arena.fingerprints.__getitem__)
