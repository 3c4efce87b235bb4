"""`sample P --count 10 --out DIR`: networks drawn from a posterior, as checkpoints or as a recipe of all together."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fusionlib.cli.common import add_data, open_data, open_files, open_studio, progress_bar
from fusionlib.errors import UsageError
from fusionlib.options import add_options

NAMED = 3
"""Tensors that a line names; of further ones it says how many there are."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("posterior", type=Path, help="a file that train --regime swag, kfac or spro has left")
    parser.add_argument("--count", type=int, default=10, metavar="M", help="networks to draw (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes (default 0)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor of each network's deviation from the mean (default 1)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the checkpoints")
    parser.add_argument(
        "--save-recipe",
        type=Path,
        metavar="F.yaml",
        help="write the recipe of all together, for evaluate and wherever a recipe is taken: no file holds it",
    )
    parser.add_argument(
        "--pictures", type=int, default=16, metavar="N", help="pictures of --data that are looked at (default 16)"
    )
    add_data(parser, required=False)
    add_options(parser)
    parser.set_defaults(measures=False)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Draw, and say what was written."""
    if given.out is None and given.save_recipe is None:
        raise UsageError("Nothing to write", "--out DIR, --save-recipe F.yaml or both", "Name one")
    from fusionlib.atomic import check_target, write_atomically
    from fusionlib.studio.sampling import posterior_in, sampling_recipe, write_samples

    studio = open_studio(given)
    (checkpoint,) = open_files(given, [given.posterior.absolute()])
    posterior = posterior_in(checkpoint)
    pictures = open_data(studio, given) if given.data else None
    parameters = {"count": given.count, "seed": given.seed, "scale": given.scale}
    recipe = sampling_recipe(checkpoint, parameters, pictures, given.pictures)
    if given.save_recipe is not None:
        check_target(given.save_recipe)
    studio.sources.know([checkpoint], pictures)
    files: list[tuple[Path, str]] = []
    if given.out is not None:
        with progress_bar("sample") as progress:
            merger = studio.runner.builder.merger
            files = write_samples(merger, recipe, given.out, progress, studio.runner.tally)
    if given.save_recipe is not None:
        write_atomically(given.save_recipe, recipe.to_yaml())
    return {
        "posterior": str(given.posterior),
        "fingerprint": checkpoint.fingerprint,
        "kind": posterior.kind,
        "about": dict(posterior.about),
        **parameters,
        "buffers": recipe.buffers,
        "data": pictures.spec if pictures else None,
        "files": [{"path": str(path), "fingerprint": print} for path, print in files],
        "recipe": str(given.save_recipe) if given.save_recipe else None,
    }


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    about = {name: value for name, value in result["about"].items() if not isinstance(value, list | dict)}
    print(f"{result['posterior']}: {result['kind']}, {', '.join(f'{name} {value}' for name, value in about.items())}")
    diagonal = result["about"].get("diagonal")
    if isinstance(diagonal, list) and diagonal:
        more = f" and {len(diagonal) - NAMED} more" if len(diagonal) > NAMED else ""
        print(f"a diagonal alone: {', '.join(map(str, diagonal[:NAMED]))}{more}")
    for file in result["files"]:
        print(f"{file['path']}   {file['fingerprint'][:12]}")
    if result["data"]:
        print(f"running statistics of each measured on {result['data']}")
    if result["recipe"]:
        print(f"all {result['count']} together: {result['recipe']}, for evaluate")
