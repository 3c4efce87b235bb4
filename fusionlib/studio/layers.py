"""Layer profiles of two checkpoints: the units of a layout, what a browser may ask for, and presets in closed form."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.layout import Layout
from fusionlib.diagnostics.discrepancy import TAU, differences
from fusionlib.diagnostics.gram import as_floats, cosine_from_gram, products_of
from fusionlib.errors import UsageError
from fusionlib.merging.profile import LayerProfile
from fusionlib.merging.slices import GRANULARITIES, unit_of, units

DIGITS = 4
"""Decimals of a weight: what travels, what is shown and what is exported are the same number."""

ANCHORS = (0, 1)
"""A or B: who keeps a locked layer, integer tensors and, under that policy, the statistics."""


def profile_of(layout: Layout, level: str, weights: Any, anchor: Any = 0) -> LayerProfile:
    """The profile in which unit number n of `level` takes `weights[n]` of A and the rest of B.

    Everything comes from a browser. Raises `UsageError` for an unknown level or anchor, another count, or a weight outside 0 to 1.
    """
    if not isinstance(level, str) or level not in GRANULARITIES:
        raise UsageError(f"Granularity {str(level)[:40]!r}", f"one of {', '.join(GRANULARITIES)}", "Reload the page")
    if isinstance(anchor, bool) or anchor not in ANCHORS:
        raise UsageError(f"Anchor {str(anchor)[:40]!r}", "0 for A or 1 for B", "Reload the page")
    names = list(units(layout, level))
    if not isinstance(weights, list | tuple) or len(weights) != len(names):
        raise UsageError(f"{len(weights) if isinstance(weights, list | tuple) else 'No list of'} weights",
                         f"{len(names)}, one for each {level}", "Reload the page")
    return LayerProfile(anchor=int(anchor), granularity=level,
                        weights={name: _pair(weight) for name, weight in zip(names, weights, strict=True)})


def _pair(weight: Any) -> tuple[float, float]:
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0 <= weight <= 1:  # NaN and infinity fail the comparison too
        raise UsageError(f"Weight {str(weight)[:40]}", "a number from 0 to 1", "Reload the page")
    share = round(float(weight), DIGITS)
    return share, round(1 - share, DIGITS)


def profile_parameters(profile: LayerProfile) -> dict[str, Any]:
    """The profile as plain values for a recipe."""
    return {"anchor": profile.anchor, "granularity": profile.granularity,
            "weights": {name: list(shares) for name, shares in profile.weights.items()}}


def mixture_name(mixture: float | LayerProfile) -> str:
    """A short name for files: the alpha, or the granularity and the beginning of a hash of all weights."""
    if not isinstance(mixture, LayerProfile):
        return f"alpha{mixture:g}"
    text = json.dumps(profile_parameters(mixture), sort_keys=True)
    return f"{mixture.granularity}-profile-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def describe(arena: Arena) -> dict[str, Any]:
    """What the page draws: every level with its units, and by unit the size, cosine, discrepancy and preset curves, as JSON values."""
    layout = arena.layout
    moved, squares = _by_tensor(arena)
    answer: dict[str, Any] = {"tau": TAU, "sizes": [entry.size for entry in layout.entries], "levels": {}}
    for level in GRANULARITIES:
        groups = units(layout, level)
        numbers = {name: number for number, name in enumerate(groups)}
        of = [numbers[unit_of(entry, level)] for entry in layout.entries]
        sizes = [sum(entry.size for entry in entries) for entries in groups.values()]
        cosine = _cosines(squares, of, len(groups))
        heads = [sum(entry.size for entry in entries if entry.part == "head") / max(1, size)
                 for entries, size in zip(groups.values(), sizes, strict=True)]
        answer["levels"][level] = {
            "names": list(groups), "of": of, "size": sizes, "cosine": cosine,
            "discrepancy": [_rounded(float(moved[np.array(of) == number].sum()) / max(1, size)) for number, size in enumerate(sizes)],
            "presets": {"ramp": ramp(len(groups)), "step": smooth_step(len(groups)), "backbone": [_rounded(1 - share) for share in heads],
                        "head": [_rounded(share) for share in heads], "cosine": from_cosine(cosine)},
        }
    return answer


def ramp(count: int) -> list[float]:
    """The anchor's weight by unit j = 1..N of two checkpoints, `H_a = 1 - (N - j) / (2 N)`: strictly the heavier one everywhere.

    Source: Layer-wise Model Merging for Unsupervised Domain Adaptation, the function H for M = 2 (the anchor's follows from the sum).
    """
    return [_rounded(1 - (count - j) / (2 * count)) for j in range(1, count + 1)]


def smooth_step(count: int) -> list[float]:
    """`w(t) = 3 t^2 - 2 t^3`, t from 0 at the first unit to 1 at the last: from the other checkpoint to the anchor without a kink."""
    places = [number / max(1, count - 1) for number in range(count)]
    return [_rounded(t * t * (3 - 2 * t)) for t in places]


def from_cosine(cosine: Sequence[float | None]) -> list[float]:
    """The anchor's weight `1 - (c - low) / (2 (high - low))`: the most alike unit is shared equally, the least alike is the anchor's.

    Where two layers point apart, their average is least likely to be good for either. Units without a cosine are the anchor's.
    """
    known = [value for value in cosine if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    spread = high - low
    return [1.0 if value is None else 0.5 if spread == 0 else _rounded(1 - (value - low) / (2 * spread)) for value in cosine]


def _rounded(value: float) -> float:
    return round(value, DIGITS)


def _by_tensor(arena: Arena) -> tuple[np.ndarray, np.ndarray]:
    """Elements that moved (T,) with A as yardstick, and inner products (T, 2, 2), from one pass over the rows in memory."""
    entries = arena.layout.entries
    moved, grams = np.zeros(len(entries), dtype=np.int64), np.zeros((len(entries), 2, 2))
    rows = [as_floats(row) for row in arena.weights[:2]]
    for number, entry in enumerate(entries):
        pieces = [row[entry.offset:entry.end] for row in rows]
        grams[number] = products_of(pieces)
        moved[number] = differences(pieces[0], pieces[1], TAU)[0]
    return moved, grams


def _cosines(grams: np.ndarray, of: Sequence[int], count: int) -> list[float | None]:
    sums = np.zeros((count, 2, 2))
    np.add.at(sums, np.array(of, dtype=np.int64), grams)
    values = [float(cosine_from_gram(gram)[0, 1]) for gram in sums]
    return [None if math.isnan(value) else round(value, 6) for value in values]
