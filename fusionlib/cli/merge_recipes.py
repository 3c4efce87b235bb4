"""From the command line of `merge` to the recipes that it asks for."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fusionlib.architectures.recognise import recognise
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.sharing import unlike
from fusionlib.checkpoints.sources import open_sources
from fusionlib.cli.common import numbers, open_data, open_files
from fusionlib.cli.settings import parse_settings, sharing_of
from fusionlib.contracts import METHODS, parameters_of
from fusionlib.data.cache import DecodedCache
from fusionlib.errors import CheckpointError, UsageError
from fusionlib.merging.buffers import anchor_of
from fusionlib.merging.build import build_method
from fusionlib.merging.choices import check_policy
from fusionlib.recipe import Recipe, read_recipe
from fusionlib.studio import Studio, write_recipe


def outs_of(out: Path, recipes: list[Recipe], checkpoints: list[Checkpoint]) -> list[Path]:
    """One name a file: with several results each has the name of the checkpoint whose head it keeps."""
    if len(recipes) == 1:
        return [out]
    stems = ["".join(c if c.isalnum() or c in "-_." else "_" for c in item.name)[:100] for item in checkpoints]
    names = [stem if stems.count(stem) == 1 else f"{stem}-{number}" for number, stem in enumerate(stems)]
    return [out.with_name(f"{out.stem}-{name}{out.suffix}") for name in names]


def prepared(
    given: argparse.Namespace, studio: Studio, by_recipe: bool
) -> tuple[list[Recipe], list[Checkpoint], DecodedCache | None]:
    """The recipes, the opened checkpoints that all of them merge, and the pictures to measure with, where some are
    named. `by_recipe`: the first source is one that says everything.
    """
    first = given.sources[0]
    if by_recipe:
        settings = (
            given.alpha,
            given.weights,
            given.buffers,
            given.dtype,
            given.method,
            given.set,
            given.anchor,
            sharing_of(given),
            given.group,
        )
        if len(given.sources) > 1 or any(setting not in (None, []) for setting in settings):
            raise UsageError(
                "A recipe together with checkpoints or settings",
                "a recipe alone: it says everything",
                "Leave the rest out, or merge without a recipe",
            )
        recipe = read_recipe(first)
        calibration = _calibration(given, studio, recipe)
        return [recipe], open_sources(recipe, [first.parent, *given.folder], recognise), calibration
    if len(given.sources) < 2:
        raise CheckpointError(
            f"One checkpoint, {first.name}", "two or more, or a recipe ending in .yaml", "Name another checkpoint"
        )
    # In full, because a recipe's relative paths count from the recipe, which may be saved in another folder; links are
    # not followed, because a download cache gives the files that they lead to no names.
    checkpoints = open_files(given, [path.absolute() for path in given.sources])
    calibration = open_data(studio, given) if given.data else None
    return list(_recipes(given, checkpoints, calibration)), checkpoints, calibration


def _calibration(given: argparse.Namespace, studio: Studio, recipe: Recipe) -> DecodedCache | None:
    if recipe.calibration is None:
        return None
    return open_data(studio, given) if given.data else studio.workspace.open_pictures(recipe.calibration.data, None)


def _recipes(
    given: argparse.Namespace, checkpoints: list[Checkpoint], calibration: DecodedCache | None
) -> Iterator[Recipe]:
    """One recipe; of a method that is meant for each anchor in turn, and without one, one for every checkpoint."""
    method = given.method or "linear"
    buffers = check_policy(given.buffers or "average")
    parameters = {**_short_form(given, method, len(checkpoints)), **parse_settings(method, given.set)}
    parameters, anchor = _anchored(given.anchor, method, parameters)
    each = METHODS.get(method).for_each_anchor and "anchor" not in parameters
    anchors = range(len(checkpoints)) if each else [None]
    for number in anchors:
        own = parameters if number is None else {**parameters, "anchor": number}
        built = build_method(method, own)
        at = anchor_of(built, len(checkpoints), anchor or 0)
        sharing = sharing_of(given) or (unlike(checkpoints, at) if built.takes_unlike else None)
        yield write_recipe(
            checkpoints,
            method,
            own,
            buffers,
            calibration,
            given.count,
            anchor=anchor,
            sharing=sharing,
            dtype=given.dtype,
        )


def _short_form(given: argparse.Namespace, method: str, count: int) -> dict[str, Any]:
    """What --alpha and --weights say, and what the method means by leaving everything out."""
    if given.weights and given.alpha is not None:
        raise UsageError("Both --alpha and --weights", "one of them", "Leave one out")
    if given.weights:
        return {"weights": list(numbers(given.weights))}
    if given.alpha is not None:
        return {"alpha": given.alpha}
    return {} if given.set else METHODS.get(method).defaults(count)


def _anchored(anchor: int | None, method: str, parameters: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    """The parameters with --anchor where the method has an anchor or a base; else the number for the recipe itself."""
    places = [item.name for item in parameters_of(METHODS.get(method)) if item.checkpoint]
    name = next((name for name in ("anchor", "base") if name in places), None)
    if anchor is None or not places:
        return parameters, anchor
    if name is None or name in parameters:
        raise UsageError(
            f"--anchor with {method}" if name is None else f"Both --anchor and --set {name}",
            "one way to say it",
            f"Use --set {' '.join(f'{place}=N' for place in places)}" if name is None else "Leave one out",
        )
    return {**parameters, name: anchor}, None
