"""The weighted average of rows that every linear method rests on, and the order in which rows are folded."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.errors import UsageError

SHARE_DIGITS = 12
"""Decimals of a share that count, in a merge as in the key of its results: 1 - 0.7 is 0.3."""


def check_shares(shares: Sequence[float], count: int) -> tuple[float, ...]:
    """`shares` as floats.

    Raises `UsageError` unless there are `count` of them, none negative, summing to 1 (within 1e-6).
    """
    values = tuple(float(share) for share in shares)
    if len(values) != count:
        raise UsageError(
            f"{len(values)} weights for {count} checkpoints", "one weight per checkpoint", "Give as many weights"
        )
    if any(not math.isfinite(value) or value < 0 for value in values) or abs(sum(values) - 1) > 1e-6:
        raise UsageError(
            f"Weights {', '.join(f'{value:g}' for value in values)}",
            "numbers from 0 to 1 that sum to 1",
            "Correct the weights",
        )
    return values


def fold_order(fingerprints: Sequence[str], shares: Sequence[float]) -> list[tuple[int, float]]:
    """Numbers of the checkpoints that take part, each with its share, in the order in which they are folded: by
    fingerprint.

    A sum of floats depends on its order. With this one it does not depend on the order in which the checkpoints are
    named, so that `a A + b B` and `b B + a A` are the same bytes.
    """
    rounded = [
        (fingerprint, round(float(share), SHARE_DIGITS))
        for fingerprint, share in zip(fingerprints, shares, strict=True)
    ]
    return [
        (number, rounded[number][1])
        for number in sorted(range(len(rounded)), key=rounded.__getitem__)
        if rounded[number][1] != 0
    ]


def average_rows(arena: Arena, shares: Sequence[float], out: Tensor, start: int = 0, end: int | None = None) -> Tensor:
    """`out = sum_i shares_i rows_i[start:end]` over an arena's rows, as `weighted_average` in the order of
    `fold_order`.
    """
    members = fold_order(arena.fingerprints, shares)
    return weighted_average(
        [arena.weights[number, start:end] for number, _ in members], [share for _, share in members], out
    )


def weighted_average(rows: Sequence[Tensor] | Tensor, shares: Sequence[float], out: Tensor) -> Tensor:
    """`out = sum_i shares_i rows_i`, rows and `out` (P,), as a chain of interpolations.

    Each row is folded in with `share / (sum of shares so far)`. Unlike a sum of products this gives identical rows back
    exactly, and a row alone in the mixture exactly; a row with share 0 is not even read. Per element the operations do
    not depend on how the rows are cut into pieces, so a merge streamed from files equals one made in memory bit for
    bit.
    """
    source: Tensor | None = None
    total = 0.0
    for row, share in zip(rows, shares, strict=True):
        if share == 0:
            continue
        total += share
        source = row if source is None else torch.lerp(source, row, share / total, out=out)
    if source is None:
        raise UsageError("All weights are 0", "weights that sum to 1", "Raise one of them")
    return source if source is out else out.copy_(source)
