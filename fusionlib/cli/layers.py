"""`layers A B [C ...] --data SPEC`: how alike the units of the networks are, and what each contributes to a merge."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionlib.cli.common import (
    add_data,
    add_dtype,
    add_rename,
    add_running,
    numbers,
    open_data,
    open_files,
    open_studio,
    percent,
    progress_bar,
    show_remarks,
)
from fusionlib.errors import UsageError
from fusionlib.merging.choices import GRANULARITIES, POLICIES, check_policy
from fusionlib.studies.choices import PRESETS

if TYPE_CHECKING:
    from fusionlib.checkpoints.arena import Arena
    from fusionlib.merging.profile import LayerProfile
    from fusionlib.studio import Studio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="two or more")
    parser.add_argument("--granularity", default="block", help=f"one of {', '.join(GRANULARITIES)} (default block)")
    parser.add_argument("--anchor", type=int, default=0, metavar="N", help="number of the anchor, from 0 (default 0)")
    parser.add_argument(
        "--preset", default="equal", help=f"weights of the merge: one of {', '.join(PRESETS)} (default equal)"
    )
    parser.add_argument(
        "--weights", type=numbers, metavar="W1,W2,...", help="the same weights for every unit, in place of --preset"
    )
    parser.add_argument("--buffers", default="average", help=f"one of {', '.join(POLICIES)} (default average)")
    add_dtype(parser)
    add_data(parser, required=False)
    add_rename(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Units in network order with cosine, discrepancy and weights; with data the change in mIoU that each makes alone
    and left out.
    """
    check_policy(given.buffers)
    if given.data is None and (given.split is not None or given.limit is not None):
        raise UsageError("--split or --limit without --data", "data to take them from", "Give --data too")
    studio = open_studio(given)
    opened = open_files(given, given.checkpoints)
    view = studio.views.view_files(
        opened, (lambda: open_data(studio, given)) if given.data else None, given.buffers, given.dtype
    )
    described = view.units
    profile = _profile(given, view.arena, described)
    if given.granularity not in described["offered"]:
        raise UsageError(
            f"--granularity {given.granularity} of networks that have none",
            f"one of {', '.join(described['offered'])}",
            "Choose one of them",
        )
    level = described["levels"][given.granularity]
    units = [
        {"name": name, "elements": size, "cosine": cosine, "discrepancy": moved, "weights": list(profile.weights[name])}
        for name, size, cosine, moved in zip(
            level["names"], level["size"], level["cosine"], level["discrepancy"], strict=True
        )
    ]
    measured = _contributions(studio, view, profile, given.fresh) if given.data else {}
    for number, unit in enumerate(units):
        unit |= {name: measured[name][number] if measured else None for name in ("alone", "left_out")}
    return {
        "checkpoints": list(view.selection.names),
        "anchor": given.anchor,
        "granularity": given.granularity,
        "tau": described["tau"],
        "anchor_miou": measured.get("base"),
        "merge_miou": measured.get("whole"),
        "units": units,
        "notes": list(view.pictures.notes) if view.pictures else [],
        "warnings": measured.get("warnings", []),
    }


def _profile(given: argparse.Namespace, arena: Arena, described: dict[str, Any]) -> LayerProfile:
    from fusionlib.studio import preset_profile, uniform_profile

    layout, count = arena.layout, len(arena)
    try:
        if given.weights is not None:
            return uniform_profile(layout, given.granularity, given.weights, given.anchor, count)
        return preset_profile(layout, given.granularity, described, given.preset, given.anchor, count)
    except UsageError as error:  # what to do about it is worded for a page there
        raise UsageError(error.got, error.needs, "Correct it") from error


def _contributions(studio: Studio, view: Any, profile: LayerProfile, fresh: bool) -> dict[str, Any]:
    job = studio.layers.contribution(view)
    job.measure(profile, fresh=fresh)
    with progress_bar("layers") as progress:
        job.follow(progress, "layers that can be measured")
    found = job.snapshot()
    return {
        "base": found["base"],
        "whole": found["whole"],
        "alone": [_change(value, found["base"]) for value in found["only"]],
        "left_out": [_change(value, found["whole"]) for value in found["without"]],
        "warnings": found["warnings"],
    }


def _change(value: float | None, start: float | None) -> float | None:
    return None if value is None or start is None else value - start


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    if result["merge_miou"] is not None:
        anchor = result["checkpoints"][result["anchor"]]
        print(
            f"mIoU of the anchor {anchor}: {percent(result['anchor_miou'])}, of the merge:"
            f" {percent(result['merge_miou'])}"
        )
    width = max(len(result["granularity"]), *(len(unit["name"]) for unit in result["units"]))
    measured = f"{'alone':>9}{'left out':>10}" if result["merge_miou"] is not None else ""
    print(f"{result['granularity']:{width}}{'cosine':>9}{'moved':>9}{measured}  weights")
    for unit in result["units"]:
        cosine = "n/a" if unit["cosine"] is None else f"{unit['cosine']:.4f}"
        changes = f"{_points(unit['alone']):>9}{_points(unit['left_out']):>10}" if measured else ""
        weights = " ".join(f"{weight:g}" for weight in unit["weights"])
        print(f"{unit['name']:{width}}{cosine:>9}{100 * unit['discrepancy']:>7.1f} %{changes}  {weights}")
    if measured:
        print(
            "alone: the unit as in the merge, all else the anchor's, in points of mIoU against the anchor; "
            "left out: the unit the anchor's, all else merged, against the merge"
        )
    show_remarks(result)


def _points(change: float | None) -> str:
    return "n/a" if change is None else f"{100 * change:+.2f}"
