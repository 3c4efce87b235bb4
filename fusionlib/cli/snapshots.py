"""`snapshots A B ... LAST --data SPEC [--data SPEC]`: each snapshot of a run alone, and on the line to the last one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusionlib.cli.common import (
    add_data,
    add_rename,
    add_running,
    open_files,
    open_studio,
    percent,
    progress_bar,
    show_remarks,
)
from fusionlib.errors import clipped
from fusionlib.merging.choices import POLICIES, check_policy

STEP = 0.1
"""Distance between alphas."""

LONGEST = 28
"""Characters of a snapshot's name in the table for people."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument(
        "checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="two or more in the order of the run"
    )
    parser.add_argument("--step", type=float, default=STEP, help=f"distance between alphas (default {STEP:g})")
    parser.add_argument(
        "--buffers", default="average", help=f"statistics of merges: one of {', '.join(POLICIES)} (default average)"
    )
    add_data(parser, several=True)
    add_rename(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """`snapshots` with their figures and `lines` with points, best merge, gain and barriers, for each of the `data`;
    alpha is the weight of the last snapshot.
    """
    from fusionlib.studies.grid import alpha_grid

    check_policy(given.buffers)
    alpha_grid(given.step)
    studio = open_studio(given)
    opened = open_files(given, given.checkpoints)
    pictures = [studio.workspace.open_pictures(one, given.split, given.limit) for one in given.data]
    work = studio.snapshots.of(opened, pictures, given.buffers, given.step)
    with progress_bar("snapshots") as progress:
        found = work.measure(progress, fresh=given.fresh)
    kept = ("state", "message", "done", "total", "fraction", "seconds_left", "current", "cost")
    notes = list(dict.fromkeys(note for one in pictures for note in one.notes))
    return {**{name: value for name, value in found.items() if name not in kept}, "notes": notes}


def show(result: dict[str, Any]) -> None:
    """Print it for people: a table for each of the data."""
    for place, data in enumerate(result["data"]):
        print(f"{data['data']}, {data['images']} pictures; merges with {result['last']}, alpha its weight")
        print(
            f"{'snapshot':{LONGEST}}{'mIoU':>10}{'loss':>10}{'best':>10}{'alpha':>7}{'gain':>9}{'loss barrier':>14}"
            f"{'mIoU barrier':>14}"
        )
        lines = {line["name"]: line["data"][place] for line in result["lines"]}
        for one in result["snapshots"]:
            _line(one["name"], one["data"][place], lines.get(one["name"]))
    print("barriers over the straight line between the ends (Entezari), in nats and points")
    show_remarks(result)


def _line(name: str, alone: Mapping[str, Any], line: Mapping[str, Any] | None) -> None:
    text = f"{clipped(name, LONGEST):{LONGEST}}{percent(alone['miou']):>10}{_number(alone['loss'], 1, '.4f'):>10}"
    if line is not None and line["barriers"] is not None:
        best, heights = line["best"] or {"miou": None, "alpha": None}, line["barriers"]
        text += f"{percent(best['miou']):>10}{_number(best['alpha'], 1, 'g'):>7}{_number(line['gain'], 100, '+.2f'):>9}"
        text += f"{_number((heights['loss'] or {}).get('entezari'), 1, '.4f'):>14}"
        text += f"{_number((heights['miou'] or {}).get('entezari'), 100, '.2f'):>14}"
    print(text)


def _number(value: float | None, scale: float, form: str) -> str:
    return "n/a" if value is None else format(scale * value, form)
