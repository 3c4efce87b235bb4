"""`merge RECIPE.yaml --out F`, `merge A B --alpha 0.25 --out F` and `merge --method NAME --checkpoints A B C --out
F`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fusionlib.atomic import check_target, write_atomically
from fusionlib.checkpoints.compare import recognise
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoints
from fusionlib.checkpoints.recipe import Recipe, open_sources, read_recipe
from fusionlib.checkpoints.sharing import unlike
from fusionlib.cli.common import (
    add_data,
    add_dtype,
    add_options,
    numbers,
    open_data,
    open_files,
    open_studio,
    progress_bar,
    show_verdict,
    weights_say,
)
from fusionlib.cli.settings import add_sharing, parse_settings, sharing_of
from fusionlib.contracts import METHODS, parameters_of
from fusionlib.data.cache import DecodedCache
from fusionlib.errors import CheckpointError, UsageError, WriteError
from fusionlib.merging.buffers import POLICIES, anchor_of, check_policy
from fusionlib.merging.build import build_method
from fusionlib.studio import Studio, write_recipe
from fusionlib.studio.barriers import barrier_text, moves_units, recipe_barriers
from fusionlib.studio.outlook import averages

NAME, HELP = "merge", "Merge checkpoints, by a recipe or directly, into one safetensors file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("sources", nargs="*", type=Path, metavar="RECIPE.yaml | CHECKPOINT ...")
    parser.add_argument(
        "--checkpoints", nargs="+", default=[], type=Path, metavar="CHECKPOINT", help="the same, behind an option"
    )
    parser.add_argument("--method", help=f"one of {', '.join(METHODS.names())} (default linear); see `methods`")
    parser.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="NAME=VALUE", help="parameters of the method"
    )
    parser.add_argument(
        "--anchor", type=int, metavar="N", help="number of the anchor (or base) among the checkpoints, from 0"
    )
    add_sharing(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="F.safetensors", help="file to write")
    parser.add_argument("--alpha", type=float, help="weight of the first of two checkpoints (default 0.5)")
    parser.add_argument("--weights", metavar="W1,W2,...", help="one weight per checkpoint, summing to 1")
    parser.add_argument(
        "--buffers", help="; ".join(f"{name}: {what}" for name, what in POLICIES.items()).replace("%", "%%")
    )
    add_dtype(parser)
    parser.add_argument(
        "--folder",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="where else to look for a recipe's checkpoints",
    )
    parser.add_argument(
        "--save-recipe",
        type=Path,
        metavar="F.yaml",
        help="also write the recipe of this merge; of several merges one each, named like their files",
    )
    parser.add_argument(
        "--count",
        type=int,
        default=16,
        help="pictures for --buffers recalibrate and methods that need some (default 16)",
    )
    add_data(parser, required=False)
    add_options(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Merge and say what was written; `files` has one entry a file, the first of which is repeated above."""
    if given.out.suffix != ".safetensors":
        raise UsageError(f"--out {given.out.name}", "a name ending in .safetensors", "Change --out")
    given.sources = [*given.sources, *given.checkpoints]
    if not given.sources:
        raise UsageError("Nothing to merge", "a recipe, or two or more checkpoints", "Name them")
    studio = open_studio(given)
    recipes, checkpoints, calibration = _prepared(given, studio)
    outs = _outs(given.out, recipes, checkpoints)
    for out in outs:
        if out.resolve() in {item.path.resolve() for item in checkpoints}:
            raise UsageError(f"--out {out.name} is one of the checkpoints", "another file", "Change --out")
    saved = _outs(given.save_recipe, recipes, checkpoints) if given.save_recipe else [None] * len(recipes)
    for target in (*outs, *filter(None, saved)):
        check_target(target)
    files = []
    for recipe, out, kept in zip(recipes, outs, saved, strict=True):
        with progress_bar("merge") as progress:
            export = studio.merge(recipe, checkpoints, out, calibration, progress)
        written = open_checkpoints([out])[0]
        if kept:
            _save_recipe(kept, recipe, out)
        files.append(
            {
                "path": str(out),
                "fingerprint": written.fingerprint,
                "bytes": written.size_bytes,
                "notes": [*_defaulted(recipe, checkpoints), *export.notes, *(calibration.notes if calibration else ())],
                "parameters": recipe.parameters,
                "recipe": str(kept) if kept else None,
            }
        )
    recipe = recipes[0]
    barriers = _barriers(given, studio, recipe, checkpoints)
    return {
        **files[0],
        "method": recipe.method,
        "parameters": recipe.parameters,
        "buffers": recipe.buffers,
        "verdict": _verdict(studio, recipe, checkpoints),
        "checkpoints": [item.name for item in checkpoints],
        "files": files,
        **({} if barriers is None else {"barriers": barriers}),
    }


def _save_recipe(path: Path, recipe: Recipe, merged: Path) -> None:
    try:
        write_atomically(path, recipe.to_yaml())
    except WriteError as problem:
        raise WriteError(
            f"{problem.got}; {merged.name} is written, with the recipe inside", problem.needs, problem.do
        ) from problem


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    for file in result["files"]:
        print(
            f"{file['path']}: {', '.join(result['checkpoints'])} by {result['method']} {file['parameters']}, "
            f"buffers {result['buffers']}, {file['bytes'] / 1e6:.1f} MB, {file['fingerprint'][:12]}"
        )
        for note in file["notes"]:
            print(f"    {note}")
        if file["recipe"]:
            print(f"    recipe: {file['recipe']}")
    show_verdict(result["verdict"])
    for entry in result.get("barriers", ()):
        if text := barrier_text(entry):
            print(f"{entry['name']} to {entry['anchor']}: {text}")


def _verdict(studio: Studio, recipe: Recipe, checkpoints: list[Checkpoint]) -> dict[str, Any] | None:
    """What the weights say of the average; None for a method that does not average them as they are, and for renamed
    tensors.
    """
    if not averages(recipe.method) or (recipe.shared is not None and recipe.shared.rename):
        return None
    return weights_say(checkpoints, studio.outlooks, shared=recipe.shared is not None)


def _defaulted(recipe: Recipe, checkpoints: list[Checkpoint]) -> list[str]:
    """Checkpoints that nobody named for what they do in the merge."""
    offered = {
        item.name: item.default
        for item in parameters_of(METHODS.get(recipe.method))
        if item.checkpoint and item.name != "anchor"
    }
    words = ("the first", "the second")
    return [
        f"{name}: {checkpoints[number].name}, {words[number]}"
        for name, number in offered.items()
        if name not in recipe.parameters
    ]


def _barriers(
    given: argparse.Namespace, studio: Studio, recipe: Recipe, checkpoints: list[Checkpoint]
) -> list[dict[str, Any]] | None:
    """What moving units did to the barriers, where labelled pictures are named to measure them on; the file is there by
    now.
    """
    if not moves_units(build_method(recipe.method, recipe.parameters)) or not given.data:
        return None
    pictures = open_data(studio, given)
    if not pictures.labelled:
        return None
    with progress_bar("barriers") as progress:
        return recipe_barriers(
            recipe,
            checkpoints,
            studio.network_of(checkpoints[0]),
            pictures,
            worker=studio.worker,
            store=studio.store,
            device=studio.device,
            precision=studio.options.precision,
            progress=progress,
        )


def _outs(out: Path, recipes: list[Recipe], checkpoints: list[Checkpoint]) -> list[Path]:
    """One name a file: with several results each has the name of the checkpoint whose head it keeps."""
    if len(recipes) == 1:
        return [out]
    stems = ["".join(c if c.isalnum() or c in "-_." else "_" for c in item.name)[:100] for item in checkpoints]
    names = [stem if stems.count(stem) == 1 else f"{stem}-{number}" for number, stem in enumerate(stems)]
    return [out.with_name(f"{out.stem}-{name}{out.suffix}") for name in names]


def _prepared(given: argparse.Namespace, studio: Studio) -> tuple[list[Recipe], list[Checkpoint], DecodedCache | None]:
    first = given.sources[0]
    if first.suffix in (".yaml", ".yml"):
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
