"""`merge RECIPE.yaml --out F` and `merge A B --alpha 0.25 --out F`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fusionlib.checkpoints.reader import Checkpoint, open_checkpoints
from fusionlib.checkpoints.recipe import Recipe, open_sources, read_recipe
from fusionlib.cli.common import add_data, add_options, numbers, open_data, open_studio, progress_bar
from fusionlib.data.cache import DecodedCache
from fusionlib.errors import CheckpointError, UsageError
from fusionlib.merging.buffers import POLICIES, check_policy
from fusionlib.studio import Studio, write_recipe

NAME, HELP = "merge", "Merge checkpoints, by a recipe or directly, into one safetensors file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("sources", nargs="+", type=Path, metavar="RECIPE.yaml | CHECKPOINT ...")
    parser.add_argument("--out", required=True, type=Path, metavar="F.safetensors", help="file to write")
    parser.add_argument("--alpha", type=float, help="weight of the first of two checkpoints (default 0.5)")
    parser.add_argument("--weights", metavar="W1,W2,...", help="one weight per checkpoint, summing to 1")
    parser.add_argument("--buffers", help="; ".join(f"{name}: {what}" for name, what in POLICIES.items()).replace("%", "%%"))
    parser.add_argument("--folder", action="append", default=[], type=Path, metavar="DIR",
                        help="where else to look for a recipe's checkpoints")
    parser.add_argument("--save-recipe", type=Path, metavar="F.yaml", help="also write the recipe of this merge")
    parser.add_argument("--count", type=int, default=16, help="pictures for --buffers recalibrate (default 16)")
    add_data(parser, required=False)
    add_options(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Merge and say what was written."""
    if given.out.suffix != ".safetensors":
        raise UsageError(f"--out {given.out.name}", "a name ending in .safetensors", "Change --out")
    studio = open_studio(given)
    recipe, checkpoints, calibration = _prepared(given, studio)
    if given.out.resolve() in {item.path.resolve() for item in checkpoints}:
        raise UsageError(f"--out {given.out.name} is one of the checkpoints", "another file", "Change --out")
    if given.save_recipe and not given.save_recipe.parent.is_dir():
        raise UsageError(f"--save-recipe {given.save_recipe}: no such folder", "an existing folder", "Create it first")
    with progress_bar("merge") as progress:
        export = studio.merge(recipe, checkpoints, given.out, calibration, progress)
    if given.save_recipe:
        given.save_recipe.write_text(recipe.to_yaml(), encoding="utf-8")
    written = open_checkpoints([given.out])[0]
    return {"path": str(given.out), "fingerprint": written.fingerprint, "bytes": written.size_bytes, "method": recipe.method,
            "parameters": recipe.parameters, "buffers": recipe.buffers, "checkpoints": [item.name for item in checkpoints],
            "notes": list(export.notes)}


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    print(f"{result['path']}: {', '.join(result['checkpoints'])} by {result['method']} {result['parameters']}, "
          f"buffers {result['buffers']}, {result['bytes'] / 1e6:.1f} MB, {result['fingerprint'][:12]}")
    for note in result["notes"]:
        print(f"    {note}")


def _prepared(given: argparse.Namespace, studio: Studio) -> tuple[Recipe, list[Checkpoint], DecodedCache | None]:
    first = given.sources[0]
    if first.suffix in (".yaml", ".yml"):
        if len(given.sources) > 1 or given.alpha is not None or given.weights or given.buffers:
            raise UsageError("A recipe together with checkpoints or settings", "a recipe alone: it says everything",
                             "Leave the rest out, or merge without a recipe")
        recipe = read_recipe(first)
        calibration = _calibration(given, studio, recipe)
        return recipe, open_sources(recipe, [first.parent, *given.folder]), calibration
    if len(given.sources) < 2:
        raise CheckpointError(f"One checkpoint, {first.name}", "two or more, or a recipe ending in .yaml", "Name another checkpoint")
    # In full, because a recipe's relative paths count from the recipe, which may be saved in another folder.
    checkpoints = open_checkpoints([path.resolve() for path in given.sources])
    calibration = open_data(studio, given) if given.data else None
    return _short_form(given, checkpoints, calibration), checkpoints, calibration


def _calibration(given: argparse.Namespace, studio: Studio, recipe: Recipe) -> DecodedCache | None:
    if recipe.calibration is None:
        return None
    return open_data(studio, given) if given.data else studio.workspace.open_pictures(recipe.calibration.data, None)


def _short_form(given: argparse.Namespace, checkpoints: list[Checkpoint], calibration: DecodedCache | None) -> Recipe:
    buffers = check_policy(given.buffers or "average")
    if given.weights and given.alpha is not None:
        raise UsageError("Both --alpha and --weights", "one of them", "Leave one out")
    if given.weights:
        parameters: dict[str, Any] = {"weights": list(numbers(given.weights))}
    elif given.alpha is not None or len(checkpoints) == 2:
        parameters = {"alpha": 0.5 if given.alpha is None else given.alpha}
    else:
        parameters = {"weights": [1 / len(checkpoints)] * len(checkpoints)}
    return write_recipe(checkpoints, "linear", parameters, buffers, calibration, given.count)
