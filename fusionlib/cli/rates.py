"""`rates START --run NAME E1 E2 ... --data SPEC`: a start merged with every epoch of runs of several learning rates."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
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
from fusionlib.errors import UsageError, clipped, shown
from fusionlib.merging.choices import POLICIES, check_policy

STEP = 0.05
"""Distance between alphas."""

LONGEST = 28
"""Characters of an epoch's name in the table for people."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("start", type=Path, metavar="START", help="the checkpoint that all runs begin with")
    parser.add_argument(
        "--run",
        action="append",
        nargs="+",
        required=True,
        dest="runs",
        metavar=("NAME", "EPOCH"),
        help="a run, once for each: its learning rate or another name, then its checkpoints in order",
    )
    parser.add_argument("--step", type=float, default=STEP, help=f"distance between alphas (default {STEP:g})")
    parser.add_argument(
        "--buffers", default="average", help=f"statistics of merges: one of {', '.join(POLICIES)} (default average)"
    )
    add_data(parser)
    add_rename(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """`start`, and of each of `runs` the `epochs` with `alpha` (weight of the start), `fused`, `single`, `loss`,
    `oracle`, `cosine` and the `curve` over alpha; the `best` epoch, its `gain` over the start, and the `mean` of all.
    """
    from fusionlib.studies.grid import alpha_grid
    from fusionlib.studio.rates import RunFiles

    check_policy(given.buffers)
    alpha_grid(given.step)
    if short := next((one for one in given.runs if len(one) < 2), None):
        raise UsageError(f"--run {shown(short[0])}", "a name and one checkpoint or more", "Name its epochs")
    studio = open_studio(given)
    epochs = [[Path(path) for path in paths] for _, *paths in given.runs]
    first, *opened = open_files(given, [given.start, *(path for paths in epochs for path in paths)])
    files = iter(opened)
    runs = [
        RunFiles(name, tuple(next(files) for _ in paths)) for (name, *_), paths in zip(given.runs, epochs, strict=True)
    ]
    pictures = open_data(studio, given)
    work = studio.rates.of(first, runs, pictures, given.buffers, given.step)
    with progress_bar("rates") as progress:
        found = work.measure(progress, fresh=given.fresh)
    kept = ("state", "message", "done", "total", "fraction", "seconds_left", "current", "cost")
    return {**{name: value for name, value in found.items() if name not in kept}, "notes": list(pictures.notes)}


def show(result: dict[str, Any]) -> None:
    """Print it for people: a table for each run."""
    start = result["start"]
    print(f"{result['data']}, {result['images']} pictures; start {start['name']} {percent(start['miou']).strip()}")
    for one in result["runs"]:
        print(f"\n{one['name']}")
        print(f"{'epoch':{LONGEST}}{'fused':>10}{'alpha':>7}{'single':>10}{'loss':>10}{'oracle':>10}{'cosine':>10}")
        for epoch in one["epochs"]:
            _line(epoch, best=one["best"])
        gain = "n/a" if one["gain"] is None else f"{100 * one['gain']:+.2f} points"
        print(f"best over the start {gain}; mean of all {percent(one['mean']['miou']).strip()}")
    print("\nalpha: weight of the start; the same pictures choose it and report: optimistic")
    show_remarks(result)


def _line(epoch: Mapping[str, Any], best: Mapping[str, Any] | None) -> None:
    mark = "  best" if best is not None and best["name"] == epoch["name"] else ""
    alpha = "n/a" if epoch["alpha"] is None else f"{epoch['alpha']:g}"
    cells = (percent(epoch["single"]), number(epoch["loss"]), percent(epoch["oracle"]), number(epoch["cosine"]))
    text = f"{clipped(epoch['name'], LONGEST):{LONGEST}}{percent(epoch['fused']):>10}{alpha:>7}"
    print(f"{text}{''.join(f'{cell:>10}' for cell in cells)}{mark}")
