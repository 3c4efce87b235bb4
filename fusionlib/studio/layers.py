"""Layer profiles of two or more checkpoints: the units of a layout, what a browser may ask for, and presets in closed
form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.layout import Layout
from fusionlib.diagnostics.discrepancy import TAU, differences
from fusionlib.diagnostics.gram import as_floats, cosine_from_gram, products_of
from fusionlib.errors import UsageError
from fusionlib.merging.choices import GRANULARITIES
from fusionlib.merging.profile import LayerProfile
from fusionlib.merging.slices import unit_of, units
from fusionlib.studies.choices import PRESETS

DIGITS = 4
"""Decimals of a weight: what travels, what is shown and what is exported are the same number."""

ROUNDING = 1e-3
"""How far rounded weights may sum from 1; the heaviest takes up the difference."""


def profile_of(layout: Layout, level: str, weights: Any, anchor: Any = 0, count: int = 2) -> LayerProfile:
    """The profile in which unit number n of `level` is mixed by `weights[n]`, one weight for each of `count`
    checkpoints.

    Everything comes from a browser. `anchor` is who keeps a locked layer and, under that policy, the statistics; ties
    of counters are its. Raises `UsageError` for an unknown level or anchor, another count, or weights off the simplex.
    """
    if not isinstance(level, str) or level not in GRANULARITIES:
        raise UsageError(
            f"Granularity {str(level)[:40]!r}", f"one of {', '.join(GRANULARITIES)}", "Correct it, or reload the page"
        )
    if isinstance(anchor, bool) or anchor not in range(count):
        raise UsageError(
            f"Anchor {str(anchor)[:40]!r}", f"a number from 0 to {count - 1}: 0 is A", "Correct it, or reload the page"
        )
    names = list(units(layout, level))
    if not isinstance(weights, list | tuple) or len(weights) != len(names):
        raise UsageError(
            f"{len(weights) if isinstance(weights, list | tuple) else 'No list of'} weights",
            f"{len(names)} rows, one for each {level}",
            "Correct it, or reload the page",
        )
    return LayerProfile(
        anchor=int(anchor),
        granularity=level,
        weights={name: _row(row, count) for name, row in zip(names, weights, strict=True)},
    )


def uniform_profile(layout: Layout, level: str, shares: Sequence[float], anchor: int, count: int) -> LayerProfile:
    """The same weights in every unit of `level`."""
    return profile_of(
        layout, level, [list(shares)] * (len(units(layout, level)) if level in GRANULARITIES else 0), anchor, count
    )


def preset_profile(
    layout: Layout, level: str, described: Mapping[str, Any], preset: str, anchor: int, count: int
) -> LayerProfile:
    """A preset curve of `described` as a profile: the anchor's weight by unit, the others share the rest equally."""
    if preset not in PRESETS or level not in described["levels"]:
        raise UsageError(
            f"Preset {preset!r} by {level!r}",
            f"one of {', '.join(PRESETS)}, by {', '.join(GRANULARITIES)}",
            "Correct it",
        )
    others = count - 1
    rows = [
        [weight if number == anchor else (1 - weight) / others for number in range(count)]
        for weight in described["levels"][level]["presets"][preset]
    ]
    return profile_of(layout, level, rows, anchor, count)


def _row(row: Any, count: int) -> tuple[float, ...]:
    if not isinstance(row, list | tuple) or len(row) != count or not all(_is_weight(weight) for weight in row):
        raise UsageError(
            f"Weights {str(row)[:40]}",
            f"{count} numbers from 0 to 1, one for each checkpoint",
            "Correct it, or reload the page",
        )
    shares = [round(float(weight), DIGITS) for weight in row]
    if abs(sum(shares) - 1) > ROUNDING:
        raise UsageError(f"Weights that sum to {sum(shares):.4f}", "a sum of 1", "Correct it, or reload the page")
    heaviest = shares.index(max(shares))
    shares[heaviest] = round(1 - sum(shares[:heaviest]) - sum(shares[heaviest + 1 :]), DIGITS)
    return tuple(shares)


def _is_weight(weight: Any) -> bool:
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    return number and 0 <= weight <= 1  # NaN and infinity fail the comparison too


def describe(arena: Arena) -> dict[str, Any]:
    """What the page draws, as JSON values: every level with its units, and by unit the size, cosine, discrepancy and
    preset curves.

    All levels are there; `offered` are those that say something of this network: without learners that of a learner is
    the same as that of a block. Of more than two checkpoints cosine is the mean over all pairs, discrepancy the mean
    over the others against A. A preset curve is the anchor's weight; the others share the rest.
    """
    layout, count = arena.layout, len(arena)
    moved, squares = _by_tensor(arena)
    learners = any(entry.learner for entry in layout.entries)
    offered = [level for level in GRANULARITIES if learners or level != "learner"]
    answer: dict[str, Any] = {"tau": TAU, "sizes": [entry.size for entry in layout.entries], "offered": offered}
    answer["levels"] = {}
    for level in GRANULARITIES:
        groups = units(layout, level)
        numbers = {name: number for number, name in enumerate(groups)}
        of = [numbers[unit_of(entry, level)] for entry in layout.entries]
        sizes = [sum(entry.size for entry in entries) for entries in groups.values()]
        cosine = _cosines(squares, of, len(groups))
        heads = [
            sum(entry.size for entry in entries if entry.part == "head") / max(1, size)
            for entries, size in zip(groups.values(), sizes, strict=True)
        ]
        answer["levels"][level] = {
            "names": list(groups),
            "of": of,
            "size": sizes,
            "cosine": cosine,
            "discrepancy": [
                _rounded(float(moved[np.array(of) == number].sum()) / max(1, size)) for number, size in enumerate(sizes)
            ],
            "presets": {
                "equal": [_rounded(1 / count)] * len(groups),
                "ramp": ramp(len(groups), count),
                "step": smooth_step(len(groups)),
                "backbone": [_rounded(1 - share) for share in heads],
                "head": [_rounded(share) for share in heads],
                "cosine": from_cosine(cosine, count),
            },
        }
    return answer


def ramp(units: int, count: int = 2) -> list[float]:
    """The anchor's weight by unit j = 1..N of M = `count` checkpoints, `H_a = 1 - (M - 1) (N - j) / (N M)`: everywhere
    the heaviest.

    Source: Layer-wise Model Merging for Unsupervised Domain Adaptation, the function H (the anchor's follows from the
    sum).
    """
    return [_rounded(1 - (count - 1) * (units - j) / (units * count)) for j in range(1, units + 1)]


def smooth_step(count: int) -> list[float]:
    """`w(t) = 3 t^2 - 2 t^3`, t from 0 at the first unit to 1 at the last: from the other checkpoint to the anchor
    without a kink.
    """
    places = [number / max(1, count - 1) for number in range(count)]
    return [_rounded(t * t * (3 - 2 * t)) for t in places]


def from_cosine(cosine: Sequence[float | None], count: int = 2) -> list[float]:
    """The anchor's weight `1 - (1 - 1 / M) (c - low) / (high - low)`: the most alike unit is shared equally, the least
    alike its own.

    Where two layers point apart, their average is least likely to be good for either. Units without a cosine are the
    anchor's.
    """
    known = [value for value in cosine if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    spread = high - low
    return [
        1.0 if value is None else _rounded(1 - (1 - 1 / count) * ((value - low) / spread if spread else 1.0))
        for value in cosine
    ]


def _rounded(value: float) -> float:
    return round(value, DIGITS)


def _by_tensor(arena: Arena) -> tuple[np.ndarray, np.ndarray]:
    """Elements that moved (T,) with A as yardstick, the mean over the others, and inner products (T, K, K), in one pass
    over the rows.
    """
    entries, count = arena.layout.entries, len(arena)
    moved, grams = np.zeros(len(entries)), np.zeros((len(entries), count, count))
    rows = [as_floats(row) for row in arena.weights]
    for number, entry in enumerate(entries):
        pieces = [row[entry.offset : entry.end] for row in rows]
        grams[number] = products_of(pieces)
        moved[number] = np.mean([differences(pieces[0], other, TAU)[0] for other in pieces[1:]])
    return moved, grams


def _cosines(grams: np.ndarray, of: Sequence[int], count: int) -> list[float | None]:
    sums = np.zeros((count, *grams.shape[1:]))
    pairs = np.triu_indices(grams.shape[1], 1)
    np.add.at(sums, np.array(of, dtype=np.int64), grams)
    values = [float(cosine_from_gram(gram)[pairs].mean()) for gram in sums]
    return [None if math.isnan(value) else round(value, 6) for value in values]
