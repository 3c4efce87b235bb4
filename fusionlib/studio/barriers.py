"""What Git Re-Basin does to the barriers: the path from the anchor to every other checkpoint, before and after its
units are matched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusionlib.checkpoints.permuting import Moves
from fusionlib.contracts import MergeMethod, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.diagnostics.barrier import MODES, barrier
from fusionlib.engine.statistics import find
from fusionlib.errors import DataError, UsageError
from fusionlib.merging.build import build_method
from fusionlib.recipe import Recipe
from fusionlib.runs.runner import Runner

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where the paths are measured, alpha being the anchor's weight; the ends are the networks themselves, with their own
statistics.
"""


def moves_units(method: MergeMethod) -> bool:
    """Whether a method brings the units of all checkpoints into the anchor's order."""
    return "permutation" in method.statistics


def recipe_barriers(
    recipe: Recipe,
    runner: Runner,
    pictures: DecodedCache,
    progress: Progress | None = None,
    *,
    fresh: bool = False,
) -> list[dict[str, Any]]:
    """One entry for every checkpoint that a recipe of Re-Basin matches to its anchor: what moved, and its path `before`
    and `after` the match.

    A path has `loss` (nats) and `miou` at `alphas`, and under `barriers` how high each is by both definitions (see
    `fusionlib.diagnostics.barrier`). Where no unit moved both are None: the path is the same one. Progress is in
    forward passes; it may raise `Cancelled`. Raises `DataError` without masks, `UsageError` for any other method.
    """
    method = build_method(recipe.method, recipe.parameters)
    if not moves_units(method):
        raise UsageError(
            f"Barriers before and after {recipe.method}",
            "the method rebasin",
            "Use sweep or diagnose for the path itself",
        )
    if not pictures.labelled:
        raise DataError(
            f"{pictures.title} has no masks", "labelled pictures to measure barriers on", "Name data with masks"
        )
    merger = runner.builder.merger
    anchor = merger.anchor(recipe, method)
    arena = merger.arena(recipe, anchor)

    method = find(method, arena, worker=runner.worker, store=merger.statistics, progress=progress)
    moves = {
        want.members[1]: Moves.of(method.table(want.statistic, *want.members).values())
        for want in method.wanted(len(arena))
    }
    paths = {
        (number, after): _recipes(recipe, anchor, number, after)
        for number, item in moves.items()
        if item.units
        for after in (True, False)
    }
    points = _measured([one for path in paths.values() for one in path], runner, pictures, progress, fresh)

    def path(number: int, after: bool) -> dict[str, Any] | None:
        found = paths.get((number, after))
        return _path([points[one.content] for one in found]) if found else None

    return [
        {
            **_about(arena.names, anchor, number, item),
            "buffers": recipe.buffers,
            "images": len(pictures),
            "alphas": list(ALPHAS),
            "before": path(number, False),
            "after": path(number, True),
        }
        for number, item in moves.items()
    ]


def barrier_text(entry: Mapping[str, Any]) -> str:
    """The heights of one entry in words, the buffer policy with them; nothing where no unit moved."""
    before, after = entry["before"], entry["after"]
    if before is None or after is None:
        return ""
    heights: dict[str, list[str]] = {mode: [] for mode in MODES}
    for meter, scale, unit in (("loss", 1, "nats"), ("mIoU", 100, "points")):
        old, new = before["barriers"][meter.lower()], after["barriers"][meter.lower()]
        for mode in MODES if old and new else ():
            heights[mode].append(f"{meter} barrier {scale * old[mode]:.4g} -> {scale * new[mode]:.4g} {unit}")
    line, mean = (", ".join(texts) for texts in heights.values())
    mean = mean.replace(" barrier", "")
    return (
        f"{line} (over the mean of the ends: {mean}); {len(entry['alphas'])} alphas, {entry['images']} pictures, "
        f"statistics: {entry['buffers']}"
    )


def _about(names: Sequence[str], anchor: int, number: int, item: Moves) -> dict[str, Any]:
    return {
        "name": names[number],
        "anchor": names[anchor],
        "moved": item.units,
        "units": item.of_units,
        "groups": item.groups,
        "of_groups": item.of_groups,
    }


def _recipes(recipe: Recipe, anchor: int, number: int, after: bool) -> list[Recipe]:
    """The networks along the path from another checkpoint (alpha 0) to the anchor, with its units moved or not."""
    pair = (recipe.checkpoints[anchor], recipe.checkpoints[number])
    method, given = (recipe.method, {**recipe.parameters, "anchor": 0}) if after else ("linear", {})
    two = recipe.model_copy(update={"checkpoints": pair, "method": method, "anchor": None})
    return [
        two.alone(0 if alpha else 1)
        if alpha in (0.0, 1.0)
        else two.model_copy(update={"parameters": {**given, "alpha": alpha}})
        for alpha in ALPHAS
    ]


def _measured(
    recipes: Sequence[Recipe],
    runner: Runner,
    pictures: DecodedCache,
    progress: Progress | None,
    fresh: bool,
) -> dict[str, dict[str, Any]]:
    """Figures by the content of the recipe; those that are known cost nothing, unless `fresh`."""
    wanted = list({one.content: one for one in recipes}.values())
    known = [None] * len(wanted) if fresh else runner.recall(wanted, pictures)
    points = {one.content: found for one, found in zip(wanted, known, strict=True) if found is not None}
    left, images = [one for one in wanted if one.content not in points], len(pictures)
    for number, one in enumerate(left):

        def advance(done: int, total: int, before: int = number * images) -> None:
            if progress is not None:
                progress(before + (round(images * done / total) if total else 0), len(left) * images)

        points[one.content] = runner.measure(one, pictures, advance, fresh=fresh)
    return points


def _path(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = {name: [point[name] for point in points] for name in ("loss", "miou")}
    heights = {
        name: (
            None
            if None in row
            else {mode: barrier(ALPHAS, row, mode, higher_is_better=name == "miou") for mode in MODES}
        )
        for name, row in values.items()
    }
    return {**values, "barriers": heights}
