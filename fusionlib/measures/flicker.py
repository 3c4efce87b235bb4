"""Labels that change from frame to frame where the truth does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fusionlib.contracts import IGNORE
from fusionlib.errors import UsageError


def neighbours(groups: Sequence[str]) -> list[tuple[int, int]]:
    """Numbers of pictures that follow one another in a group (a sequence), in the order of the dataset."""
    last: dict[str, int] = {}
    pairs = []
    for number, group in enumerate(groups):
        if group in last:
            pairs.append((last[group], number))
        last[group] = number
    return pairs


def flicker_counts(
    truths: tuple[np.ndarray, np.ndarray], predictions: tuple[np.ndarray, np.ndarray], classes: int
) -> np.ndarray:
    """(2, C) int64 of two frames: pixels of each class whose labelled truth is the same in both, and those of them
    whose prediction changes. No motion is compensated. Four maps (H, W) uint8.

    Raises `UsageError` where the shapes differ.
    """
    if len({one.shape for one in (*truths, *predictions)}) != 1:
        raise UsageError("Frames of different sizes", "a sequence of one size", "Look at each size alone")
    still = (truths[0] == truths[1]) & (truths[0] != IGNORE)
    changed = still & (predictions[0] != predictions[1])
    return np.stack([np.bincount(truths[0][part], minlength=classes)[:classes] for part in (still, changed)]).astype(
        np.int64
    )


def flicker(counts: Iterable[np.ndarray]) -> float | None:
    """Share of the still pixels of all frames together whose prediction changes; None where nothing is still."""
    still, changed = np.sum(list(counts) or [np.zeros((2, 1), np.int64)], axis=0).sum(1)
    return float(changed / still) if still else None
