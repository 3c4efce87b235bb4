"""What Git Re-Basin did to the barriers: how many units it moved, and the paths before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusionlib.checkpoints.permuting import Moves
from fusionlib.contracts import MergeMethod, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.diagnostics.barrier import MODES
from fusionlib.engine.statistics import find
from fusionlib.errors import DataError, UsageError
from fusionlib.merging.build import build_method
from fusionlib.recipe import Recipe
from fusionlib.runs.runner import Runner
from fusionlib.runs.work import Work
from fusionlib.studies.barriers import ALPHAS, Barriers, MatchedPath, matched_path

Match = Mapping[str, Any]
"""What a match moved, as JSON values: name, anchor, moved, units, groups, of_groups and the checkpoint's `number`."""


def moves_units(method: MergeMethod) -> bool:
    """Whether a method brings the units of all checkpoints into the anchor's order."""
    return "permutation" in method.statistics


def matches(recipe: Recipe, runner: Runner, progress: Progress | None = None) -> list[Match]:
    """What a recipe of Re-Basin moves, checkpoint by checkpoint. Raises `UsageError` for any other method."""
    method = build_method(recipe.method, recipe.parameters)
    if not moves_units(method):
        raise UsageError(
            f"Barriers before and after {recipe.method}",
            "the method rebasin",
            "Use sweep or diagnose for the path itself",
        )
    merger = runner.builder.merger
    anchor = merger.anchor(recipe, method)
    arena = merger.arena(recipe, anchor)
    method = find(method, arena, worker=runner.worker, store=merger.statistics, progress=progress)
    found = []
    for want in method.wanted(len(arena)):
        moved = Moves.of(method.table(want.statistic, *want.members).values())
        found.append(
            {
                "number": want.members[1],
                "name": arena.names[want.members[1]],
                "anchor": arena.names[anchor],
                "moved": moved.units,
                "units": moved.of_units,
                "groups": moved.groups,
                "of_groups": moved.of_groups,
            }
        )
    return found


def paths_of(recipe: Recipe, found: Sequence[Match], runner: Runner) -> tuple[MatchedPath, ...]:
    """The path of every checkpoint that was matched."""
    anchor = runner.builder.merger.anchor(recipe, build_method(recipe.method, recipe.parameters))
    return tuple(
        matched_path(recipe, anchor, one["number"], one["name"]) if one["moved"] else MatchedPath(one["name"])
        for one in found
    )


def listed(recipe: Recipe, found: Sequence[Match], paths: Sequence[Mapping[str, Any]], images: int) -> list[dict]:
    """One entry for every checkpoint: what moved, and its path `before` and `after`, as the study's table has it.

    Where no unit moved both are None: the path is the same one.
    """
    return [
        {
            **{name: value for name, value in one.items() if name != "number"},
            "buffers": recipe.buffers,
            "images": images,
            "alphas": list(ALPHAS),
            "before": path["before"],
            "after": path["after"],
        }
        for one, path in zip(found, paths, strict=True)
    ]


def recipe_barriers(
    recipe: Recipe,
    runner: Runner,
    pictures: DecodedCache,
    progress: Progress | None = None,
    *,
    fresh: bool = False,
) -> list[dict[str, Any]]:
    """One entry for every checkpoint that a recipe of Re-Basin matches to its anchor, as `listed` has them.

    Progress is in forward passes; it may raise `Cancelled`. Raises `DataError` without masks, `UsageError` for any
    other method.
    """
    if not pictures.labelled:
        raise DataError(
            f"{pictures.title} has no masks", "labelled pictures to measure barriers on", "Name data with masks"
        )
    found, data = matches(recipe, runner, progress), pictures.fingerprint()
    work = Work("barriers", Barriers(paths_of(recipe, found, runner), data), runner, {data: pictures})
    work.run(progress=progress, fresh=fresh)
    return listed(recipe, found, work.table()["paths"], len(pictures))


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
