"""`learners F --data SPEC`: the learners inside one network, each alone, every subset of them, and every fusion."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusionlib.cli.common import (
    add_data,
    add_rename,
    add_running,
    number,
    one_network,
    open_data,
    open_studio,
    percent,
    progress_bar,
    show_remarks,
)
from fusionlib.errors import clipped

LONGEST = 30
"""Characters of a row's name."""

_KEPT = ("state", "message", "done", "total", "fraction", "seconds_left", "current", "cost")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("checkpoint", type=Path, help="a checkpoint of a network of learners, or a recipe")
    add_data(parser)
    add_rename(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """`learners` alone, their `mean`, the `network` as it answers, `subsets`, `fusions`, `pairs`; what `parts` cost and
    the `cosines` of class embeddings.
    """
    studio = open_studio(given)
    recipe = one_network(given, given.checkpoint, studio)
    pictures = open_data(studio, given)
    work = studio.learners.open(recipe, pictures)
    with progress_bar("learners") as progress:
        found = work.measure(progress, fresh=given.fresh)
    table = {name: value for name, value in found.items() if name not in _KEPT}
    return {**table, "cosines": work.cosines(), **work.parts, "notes": list(pictures.notes)}


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    print(f"{result['network_name']} ({result['architecture']}) on {result['data']}, {result['images']} pictures")
    if result["reason"]:
        print(result["reason"])
        return
    if result["gain"] is not None:
        print(f"together {result['gain']:+.2f} points over the mean of the learners")
    print(f"{'':{LONGEST}}{'mIoU':>10}{'loss':>10}{'ECE':>10}{'variance x1e3':>15}")
    for one in result["learners"]:
        _line(one["name"], one)
    _line("mean of the learners", result["mean"])
    _line("the network", result["network"])
    for one in result["fusions"]:
        _line(one["title"], one)
    count = len(result["learners"])
    some = [one for one in result["subsets"] if 1 < len(one["members"]) < count]
    for one in sorted(some, key=lambda row: -(row["miou"] or 0)):
        _line(" + ".join(one["names"]), one)
    print(f"learners differ at {percent(result['disagreement']).strip()} of the pixels")
    _costs(result)
    show_remarks(result)


def _line(name: str, row: Mapping[str, Any]) -> None:
    cells: Sequence[str] = (percent(row["miou"]), number(row["loss"]), percent(row["ece"]))
    spread = "" if row.get("spread") is None else f"{1000 * row['spread']:15.3f}"
    print((f"{clipped(name, LONGEST):{LONGEST}}" + "".join(f"{cell:>10}" for cell in cells) + spread).rstrip())


def _costs(result: Mapping[str, Any]) -> None:
    total = f"{result['parameters'] / 1e6:.1f} M parameters, {result['macs'] / 1e9:.1f} G multiplications"
    printed = f" (the paper: {result['printed']})" if result["printed"] else ""
    print(f"{total} of {result['side']}x{result['side']}{printed}")
    for one in result["parts"]:
        print(f"  {one['name']:12}{one['parameters'] / 1e6:10.2f} M{one['macs'] / 1e9:10.2f} G")
