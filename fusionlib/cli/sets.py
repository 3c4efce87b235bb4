"""`sets A B C ... --data SPEC [--reference R1,R2,...]`: how good and how different the networks of a set are."""

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
    open_data,
    open_files,
    open_studio,
    percent,
    progress_bar,
    show_remarks,
)
from fusionlib.errors import clipped
from fusionlib.merging.choices import POLICIES, check_policy

LONGEST = 28
"""Characters of a network's name in the table for people."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument(
        "checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="two or more, in the order an ensemble grows in"
    )
    parser.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="R1,R2,...",
        help="independent networks, the deep ensemble that equivalents count in (default: the set itself)",
    )
    parser.add_argument(
        "--buffers", default="average", help=f"statistics of the mean: one of {', '.join(POLICIES)} (default average)"
    )
    add_data(parser)
    add_rename(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """`members` alone, `ensembles` of the first 1, 2, ..., the `soup` (mean of the weights), `pairs`; likelihoods in
    nats a pixel, `dee` in networks of the `reference`, `dee_text` in words.
    """
    check_policy(given.buffers)
    reference = [path for text in given.reference for path in _paths(text)]
    studio = open_studio(given)
    paths = list(dict.fromkeys([*given.checkpoints, *reference]))
    opened = dict(zip(paths, open_files(given, paths), strict=True))
    members, others = ([opened[path] for path in named] for named in (given.checkpoints, reference))
    pictures = open_data(studio, given)
    work = studio.sets.of(members, pictures, given.buffers, others)
    with progress_bar("set") as progress:
        found = work.measure(progress, fresh=given.fresh)
    kept = ("state", "message", "done", "total", "fraction", "seconds_left", "current", "cost")
    return {**{name: value for name, value in found.items() if name not in kept}, "notes": list(pictures.notes)}


def _paths(text: str) -> list[Path]:
    """One file, or several with commas between them."""
    return [Path(text)] if Path(text).exists() else [Path(part) for part in text.split(",") if part]


def show(result: dict[str, Any]) -> None:
    """Print it for people: the networks, their ensembles, their mean, and how different they are."""
    print(f"{result['data']}, {result['images']} pictures")
    if result["reason"]:
        print(result["reason"])
    print(f"{'':{LONGEST}}{'mIoU':>10}{'loss':>10}{'ECE':>10}{'differs':>10}{'correlates':>12}{'CLL':>10}{'DEE':>7}")
    for one in result["members"]:
        _line(one["name"], one)
    _line("mean of these", result["mean"])
    for one in result["ensembles"][1:]:
        _line(f"first {one['networks']} together", one)
    _line("mean of the weights", result["soup"])
    if result["soup"]["reason"]:
        print(f"no mean of the weights: {result['soup']['reason']}")
    if (oracle := result["oracle_miou"]) is not None:
        print(f"oracle mIoU {percent(oracle).strip()}: the best choice of a network at every pixel")
    print(
        "differs: pixels labelled differently from the others; CLL: calibrated log-likelihood (nats);"
        f" DEE: {_reference(result['reference'])}"
    )
    show_remarks(result)


def _reference(reference: Mapping[str, Any]) -> str:
    return f"networks of {'the set itself' if reference['itself'] else ', '.join(reference['names'])} that say as much"


def _line(name: str, row: Mapping[str, Any]) -> None:
    scores: Sequence[str] = (
        percent(row["miou"]),
        number(row["loss"]),
        percent(row["ece"]),
        percent(row["disagreement"]) if row.get("disagreement") is not None else "",
    )
    correlation = "" if row.get("correlation") is None else number(row["correlation"])
    worth = f"{number(row['log_likelihood']):>10}{row['dee_text']:>7}" if "dee_text" in row else ""
    cells = "".join(f"{text:>10}" for text in scores)
    print(f"{clipped(name, LONGEST):{LONGEST}}{cells}{correlation:>12}{worth}".rstrip())
