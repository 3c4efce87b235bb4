"""Means of scores over domains: what one number says of all of them together."""

from __future__ import annotations

from collections.abc import Sequence

from fusionlib.errors import UsageError

Score = float | None
"""A figure from 0 to 1, None where it is undefined."""


def harmonic(scores: Sequence[Score]) -> Score:
    """`m / sum_i 1/x_i`, of two `2ab / (a + b)`, of one itself; 0 where one is 0, None where one is missing.

    Source: "Training-Free Model Merging for Multi-target Domain Adaptation", tables 1 and 3. Raises `UsageError` below
    0.
    """
    found = _all(scores)
    if found is None:
        return None
    if min(found) < 0:
        raise UsageError(f"A score of {min(found):g}", "scores from 0", "Correct it")
    if len(found) == 1:
        return found[0]
    return 0.0 if 0 in found else len(found) / sum(1 / score for score in found)


def arithmetic(scores: Sequence[Score]) -> Score:
    """The mean; None where one is missing."""
    found = _all(scores)
    return None if found is None else sum(found) / len(found)


def worst(scores: Sequence[Score]) -> Score:
    """The least; None where one is missing."""
    found = _all(scores)
    return None if found is None else min(found)


def _all(scores: Sequence[Score]) -> list[float] | None:
    found = [score for score in scores if score is not None]
    return found if found and len(found) == len(scores) else None
