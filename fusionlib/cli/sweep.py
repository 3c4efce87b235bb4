"""`sweep A B --data SPEC --step 0.05`: the interpolation curve."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fusionlib.cli.common import (
    add_data,
    add_dtype,
    add_rename,
    add_running,
    open_data,
    open_files,
    open_studio,
    percent,
    progress_bar,
    show_remarks,
    show_verdict,
    tiles_note,
)
from fusionlib.merging.choices import POLICIES, check_policy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("a", type=Path, help="checkpoint A (alpha 1)")
    parser.add_argument("b", type=Path, help="checkpoint B (alpha 0)")
    parser.add_argument("--step", type=float, default=0.05, help="distance between alphas (default 0.05)")
    parser.add_argument("--buffers", default="average", help=f"one of {', '.join(POLICIES)} (default average)")
    add_dtype(parser)
    add_data(parser)
    add_rename(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Points in order of alpha, the best one by mIoU, and A and B alone."""
    check_policy(given.buffers)
    studio = open_studio(given)
    a, b = open_files(given, [given.a, given.b])
    sweep = studio.sweep_files(a, b, lambda: open_data(studio, given), given.buffers, given.dtype)
    with progress_bar("sweep") as progress:
        result = sweep.measure(given.step, progress, fresh=given.fresh)
    return {
        **result,
        "classes": list(sweep.view.space.names),
        "verdict": studio.outlook(sweep.view, sweep),
        "notes": list(sweep.view.need_pictures().notes),
    }


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    print(tiles_note(result["a"]), end="")
    print(f"{'alpha':>6}{'mIoU':>11}{'accuracy':>11}{'loss':>9}")
    for point in result["points"]:
        mark = "  best" if result["best"] and point["alpha"] == result["best"]["alpha"] else ""
        loss = "n/a" if point["loss"] is None else f"{point['loss']:.4f}"
        print(f"{point['alpha']:6g}{percent(point['miou']):>11}{percent(point['pixel_accuracy']):>11}{loss:>9}{mark}")
    show_verdict(result["verdict"])
    show_remarks(result)
