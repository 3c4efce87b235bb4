"""A diagnosis as one table of JSON values: what the page draws and `diagnose --json` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.diagnostics.barrier import MODES, barrier_point
from fusionlib.diagnostics.evidence import Evidence, guesses, weight_evidence
from fusionlib.diagnostics.gram import cosine_along_path
from fusionlib.diagnostics.survey import GROUPS, WITH_STATISTICS, WeightSurvey
from fusionlib.diagnostics.verdict import judge
from fusionlib.studies.diagnose import Pair
from fusionlib.studies.grid import path_summary
from fusionlib.studio.diagnosis_obstacles import Obstacles
from fusionlib.studio.intervals import Chance
from fusionlib.studio.outlook import path_evidence

PATH = tuple(np.linspace(0, 1, 21).round(2).tolist())


def full_report(
    checkpoints: Sequence[Checkpoint],
    weights: WeightSurvey,
    functions: Mapping[str, Any] | None,
    paths: Mapping[Pair, Mapping[str, Any] | None],
    obstacles: Obstacles,
    no_path: Mapping[Pair, str | None],
    chances: Mapping[Pair, Chance | None],
) -> dict[str, Any]:
    """`pairs`, `singles` (in the order of `checkpoints`) and the `set`; None for whatever is not known.

    `reason` says why a network or a pair cannot be measured, `path_reason` why there is no path between two; None where
    they can be. `both_run` of a pair: whether each network alone can be measured, so that whatever reason there is is
    the pair's own. `chances`: how sure the gain of each measured path is.
    """
    singles = (functions or {}).get("singles") or [None] * len(checkpoints)
    joint = {(pair["a"], pair["b"]): pair for pair in (functions or {}).get("pairs", ())}
    images = (functions or {}).get("images")
    pairs = [
        _pair(checkpoints, weights, pair, singles, joint.get(pair), path, images, obstacles, chances.get(pair))
        for pair, path in paths.items()
    ]
    for row, pair in zip(pairs, paths, strict=True):
        row |= {
            "reason": obstacles.pairs[pair],
            "path_reason": no_path[pair],
            "both_run": all(obstacles.singles[number] is None for number in pair),
        }
    whole = (functions or {}).get("set", {})
    members = [number for number, why in enumerate(obstacles.singles) if why is None] or range(len(checkpoints))
    return {
        "pairs": pairs,
        "singles": [
            {**_single(item, number, weights, singles[number]), "reason": obstacles.singles[number]}
            for number, item in enumerate(checkpoints)
        ],
        "set": {
            "order": [checkpoints[number].name for number in members],
            "diversity": whole.get("diversity"),
            "oracle_miou": whole.get("oracle_miou"),
            "oracle_pixel_accuracy": whole.get("oracle_pixel_accuracy"),
        },
        "tau": weights.tau,
        "images": images,
        "cka_pictures": (functions or {}).get("cka_pictures"),
    }


def _single(
    checkpoint: Checkpoint, number: int, weights: WeightSurvey, figures: Mapping[str, Any] | None
) -> dict[str, Any]:
    norms = weights.pair(number, number).norms
    found = figures or {}
    return {
        "name": checkpoint.name,
        "norm": norms[0] if norms else None,
        "miou": found.get("miou"),
        "loss": found.get("loss"),
        "pixel_accuracy": found.get("pixel_accuracy"),
        "blind": found.get("blind"),
        "guesses": guesses(found),
    }


def _pair(
    checkpoints: Sequence[Checkpoint],
    weights: WeightSurvey,
    pair: Pair,
    singles: Sequence[Mapping[str, Any] | None],
    joint: Mapping[str, Any] | None,
    path: Mapping[str, Any] | None,
    images: int | None,
    obstacles: Obstacles,
    chance: Chance | None,
) -> dict[str, Any]:
    a, b = pair
    row = {"a": checkpoints[a].name, "b": checkpoints[b].name, **_weights(weights, a, b)}
    ends = [
        figures["miou"] for number in pair if (figures := singles[number]) is not None and figures["miou"] is not None
    ]
    best_single = max(ends) if len(ends) == 2 else None
    found = joint or {}
    names = ("oracle_miou", "oracle_pixel_accuracy", "disagreement", "diversity", "cka", "feature_distance")
    row |= {name: found.get(name) for name in names}
    row["best_single_miou"] = best_single
    row["oracle_headroom"] = _difference(row["oracle_miou"], best_single)
    row |= _path(path, row["oracle_miou"])
    row["compatible"] = weights.same_tensors(a, b)
    others = {
        item.name: figures["miou"]
        for number, (item, figures) in enumerate(zip(checkpoints, singles, strict=True))
        if number not in pair and figures is not None and figures["miou"] is not None
    }
    known = replace(
        _from_weights(weights, a, b),
        runs=obstacles.runs(*pair),
        matches=obstacles.matches(*pair),
        ends=tuple((checkpoints[number].name, figures) for number in pair if (figures := singles[number]) is not None),
    )
    row["verdict"] = judge(_measured(known, row, others, images, chance)).to_dict()
    return row


@lru_cache(maxsize=1024)
def _from_weights(weights: WeightSurvey, a: int, b: int) -> Evidence:
    return weight_evidence(weights, a, b)


@lru_cache(maxsize=1024)
def _weights(weights: WeightSurvey, a: int, b: int) -> dict[str, Any]:
    """What never changes of a pair; a page asks for it at every rerun."""
    parameters, everything = weights.pair(a, b), weights.pair(a, b, WITH_STATISTICS)
    products = weights.gram(a, b)
    norms = parameters.norms or (None, None)
    parts = {
        part: [number for number, entry in enumerate(weights.entries) if entry.part == part]
        for part in ("backbone", "head")
    }
    return {
        "cosine": parameters.cosine,
        "cosine_with_buffers": everything.cosine,
        "l2": parameters.l2,
        "l2_with_buffers": everything.l2,
        "norm_a": norms[0],
        "norm_b": norms[1],
        "elements": parameters.elements,
        "parts": {
            part: {
                "cosine": weights.pair(a, b, tensors=numbers).cosine,
                "discrepancy": weights.discrepancy(a, b, numbers),
            }
            for part, numbers in parts.items()
        },
        "cosine_groups": {group: weights.pair(a, b, tensors=weights.of_group(group)).cosine for group in GROUPS},
        "discrepancy": {group: weights.discrepancy(a, b, weights.of_group(group)) for group in GROUPS},
        "cosine_path": {
            "alpha": list(PATH),
            **{name: _numbers(cosine_along_path(products, PATH, end)) for end, name in enumerate("ab")},
        },
        "layers": _layers(weights, a, b),
    }


def _layers(weights: WeightSurvey, a: int, b: int) -> list[dict[str, Any]]:
    rows = []
    for layer in weights.layers:
        numbers = weights.members[layer]
        parameters, everything = (weights.pair(a, b, tensors=numbers), weights.pair(a, b, WITH_STATISTICS, numbers))
        entry = weights.entries[numbers[0]]
        owner = weights.names[int(weights.shared[numbers].any(0).argmax())]
        rows.append(
            {
                "name": layer,
                "kind": weights.groups[layer],
                "part": entry.part,
                "block": entry.block,
                "first_in": owner,
                "elements": everything.elements,
                "cosine": parameters.cosine,
                "cosine_with_buffers": everything.cosine,
                "l2": parameters.l2,
                "discrepancy": weights.discrepancy(a, b, numbers),
            }
        )
    return rows


def _path(path: Mapping[str, Any] | None, oracle: float | None) -> dict[str, Any]:
    if path is None:
        return {"barrier": None, "path": None, "best": None, "gain": None, "unrefined": [], "oracle_over_merge": None}
    points, summary = path["points"], path_summary(path["points"])
    return {
        "barrier": {
            "loss": _barriers(points, "loss", False),
            "miou": _barriers(points, "miou", True),
            "buffers": path["buffers"],
            "points": len(points),
        },
        "path": points,
        **summary,
        "oracle_over_merge": _difference(oracle, summary["best"]["miou"] if summary["best"] else None),
    }


def _barriers(points: Sequence[Mapping[str, Any]], name: str, higher: bool) -> dict[str, Any] | None:
    known = [(point["alpha"], point[name]) for point in points if point[name] is not None]
    if not known or known[0][0] != 0 or known[-1][0] != 1:
        return None
    alphas, values = zip(*known, strict=True)
    found: dict[str, Any] = {"scale": (values[0] + values[-1]) / 2}
    for mode in MODES:
        found[mode], found[f"{mode}_alpha"] = barrier_point(alphas, values, mode, higher_is_better=higher)
    return found


def _measured(
    known: Evidence, row: Mapping[str, Any], others: Mapping[str, float], images: int | None, chance: Chance | None
) -> Evidence:
    """What the weights tell, and what of the pair's row was measured."""
    best = max(others, key=others.__getitem__, default=None)
    loss = (row["barrier"] or {}).get("loss") or {}
    measured = any(row[name] is not None for name in ("oracle_miou", "path"))
    return replace(
        path_evidence(known, row, images if measured else None, chance),
        headroom=row["oracle_headroom"],
        loss_barrier=loss.get("entezari"),
        loss_scale=loss.get("scale"),
        third=(best, others[best] - row["best"]["miou"]) if best is not None and row["best"] else None,
    )


def _numbers(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _difference(high: float | None, low: float | None) -> float | None:
    return None if high is None or low is None else high - low
