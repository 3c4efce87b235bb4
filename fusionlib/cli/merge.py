"""`merge RECIPE.yaml --out F`, `merge A B --alpha 0.25 --out F` and `merge --method NAME --checkpoints A B C --out
F`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionlib.atomic import check_target, write_atomically
from fusionlib.cli.common import (
    add_data,
    add_dtype,
    is_recipe,
    open_data,
    open_studio,
    progress_bar,
    show_verdict,
    weights_say,
)
from fusionlib.cli.settings import add_sharing
from fusionlib.contracts import METHODS, parameters_of
from fusionlib.errors import UsageError, WriteError
from fusionlib.merging.choices import POLICIES
from fusionlib.options import add_options

if TYPE_CHECKING:
    from fusionlib.checkpoints.reader import Checkpoint
    from fusionlib.recipe import Recipe
    from fusionlib.studio import Studio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("sources", nargs="*", type=Path, metavar="RECIPE.yaml | CHECKPOINT ...")
    parser.add_argument(
        "--checkpoints",
        nargs="+",
        default=[],
        type=Path,
        metavar="CHECKPOINT",
        help="the same, behind an option; of several a recipe is the network that it names",
    )
    parser.add_argument(
        "--method", help=f"one of {', '.join(METHODS.names_in_files())} (default linear); see `methods`"
    )
    parser.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="NAME=VALUE", help="parameters of the method"
    )
    parser.add_argument(
        "--anchor", type=int, metavar="N", help="number of the anchor (or base) among the checkpoints, from 0"
    )
    add_sharing(parser)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="F.safetensors", help="file to write; with --export hf a new folder"
    )
    parser.add_argument(
        "--export",
        choices=("hf",),
        help="hf: a folder as Hugging Face has them, with the JSON files of the anchor's, which from_pretrained opens",
    )
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
    parser.set_defaults(measures=False)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Merge and say what was written; `files` has one entry a file, the first of which is repeated above."""
    if given.export is None and given.out.suffix != ".safetensors":
        raise UsageError(f"--out {given.out.name}", "a name ending in .safetensors", "Change --out")
    from fusionlib.checkpoints.reader import open_checkpoints
    from fusionlib.cli.merge_recipes import outs_of, prepared

    by_recipe = bool(given.sources) or len(given.checkpoints) == 1
    given.sources = [*given.sources, *given.checkpoints]
    if not given.sources:
        raise UsageError("Nothing to merge", "a recipe, or two or more checkpoints", "Name them")
    studio = open_studio(given)
    recipes, checkpoints, calibration = prepared(given, studio, by_recipe and is_recipe(given.sources[0]))
    outs = outs_of(given.out, recipes, checkpoints)
    for out in outs:
        if out.resolve() in {item.path.resolve() for item in checkpoints}:
            raise UsageError(f"--out {out.name} is one of the checkpoints", "another file", "Change --out")
    saved = outs_of(given.save_recipe, recipes, checkpoints) if given.save_recipe else [None] * len(recipes)
    for recipe, out in zip(recipes, outs, strict=True):
        _check_out(given.export, recipe, checkpoints, out)
    for target in filter(None, saved):
        check_target(target)
    files = []
    for recipe, out, kept in zip(recipes, outs, saved, strict=True):
        with progress_bar("merge") as progress, _written_to(given.export, recipe, checkpoints, out) as file:
            export = studio.merge(recipe, checkpoints, file, calibration, progress)
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


def _check_out(export: str | None, recipe: Recipe, checkpoints: list[Checkpoint], out: Path) -> None:
    from fusionlib.studio.hub_export import check_hub_export

    if export is None:
        check_target(out)
    else:
        check_hub_export(recipe, checkpoints, out)


@contextmanager
def _written_to(export: str | None, recipe: Recipe, checkpoints: list[Checkpoint], out: Path) -> Iterator[Path]:
    """The file to merge into, `out` itself or one in a folder of that name."""
    from fusionlib.studio.hub_export import hub_export

    if export is None:
        yield out
        return
    with hub_export(recipe, checkpoints, out) as file:
        yield file


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
            f"{file['path']}: {', '.join(result['checkpoints'])} by {result['method']} "
            f"{file['parameters'] or 'with its defaults'}, "
            f"buffers {result['buffers']}, {file['bytes'] / 1e6:.1f} MB, {file['fingerprint'][:12]}"
        )
        for note in file["notes"]:
            print(f"    {note}")
        if file["recipe"]:
            print(f"    recipe: {file['recipe']}")
    show_verdict(result["verdict"])
    if "barriers" in result:
        _show_barriers(result["barriers"])


def _show_barriers(barriers: list[dict[str, Any]]) -> None:
    from fusionlib.studio.barriers import barrier_text

    for entry in barriers:
        if text := barrier_text(entry):
            print(f"{entry['name']} to {entry['anchor']}: {text}")


def _verdict(studio: Studio, recipe: Recipe, checkpoints: list[Checkpoint]) -> dict[str, Any] | None:
    """What the weights say of the average; None for a method that does not average them as they are, and for renamed
    tensors.
    """
    from fusionlib.studio.outlook import averages

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
    from fusionlib.merging.build import build_method
    from fusionlib.studio.barriers import moves_units, recipe_barriers

    if not moves_units(build_method(recipe.method, recipe.parameters)) or not given.data:
        return None
    pictures = open_data(studio, given)
    if not pictures.labelled:
        return None
    with progress_bar("barriers") as progress:
        studio.sources.know(checkpoints, pictures)
        return recipe_barriers(recipe, studio.runner, pictures, progress)
