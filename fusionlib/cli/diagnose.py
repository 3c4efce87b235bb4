"""`diagnose A B [C ...] [--data SPEC]`: whether and why a merge will work."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fusionlib.cli.common import (
    add_data,
    add_rename,
    add_running,
    open_data,
    open_files,
    open_studio,
    percent,
    progress_bar,
    show_remarks,
)
from fusionlib.errors import UsageError
from fusionlib.merging.choices import POLICIES, check_policy
from fusionlib.studies.grid import FINE, alpha_grid

STEP = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument(
        "checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="two or more; every pair is judged"
    )
    parser.add_argument(
        "--tau", type=float, default=10.0, help="an element has moved when |difference| >= |weight| / tau (default 10)"
    )
    parser.add_argument(
        "--step",
        type=float,
        help=(
            f"distance between the alphas of every pair's path, with --data (default {STEP:g}); "
            f"the best merge gets neighbours within {FINE:g}: two more points with 0.25, four with 0.5"
        ),
    )
    parser.add_argument("--no-path", action="store_true", help="leave losses along the path out: the slow part")
    parser.add_argument(
        "--buffers", help=f"statistics along the path, with --data: one of {', '.join(POLICIES)} (default average)"
    )
    add_data(parser, required=False)
    add_rename(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The report: `pairs`, `singles` in the order of the arguments, and the set.

    None stands for what cannot be measured; `reason` (and `path_reason` of a pair) say why, and `notes` for the whole
    set.
    """
    buffers, step = given.buffers or "average", STEP if given.step is None else given.step
    check_policy(buffers)
    alpha_grid(step)
    _refuse_unread(given)
    if not given.tau > 0:
        raise UsageError(f"--tau {given.tau:g}", "a number above 0", "Try --tau 10")
    opened = open_files(given, given.checkpoints)
    if len(opened) < 2:
        raise UsageError(f"One checkpoint, {opened[0].name}", "two or more to diagnose", "Name another checkpoint")
    studio = open_studio(given)
    diagnosis = studio.diagnose(opened, open_data(studio, given) if given.data else None, buffers)
    with progress_bar("weights") as progress:
        diagnosis.weights(given.tau, progress)
    if given.data and not diagnosis.obstacle:
        with progress_bar("pictures") as progress:
            diagnosis.measure(None if given.no_path else step, progress, fresh=given.fresh)
    report = diagnosis.report(given.tau)
    for single, path in zip(report["singles"], given.checkpoints, strict=True):
        single["path"] = str(path)
    notes = [*diagnosis.notes(), *diagnosis.pictures.notes] if diagnosis.pictures else []
    return {"data": diagnosis.pictures.spec if diagnosis.pictures else None, "notes": notes, **report}


def _refuse_unread(given: argparse.Namespace) -> None:
    """An option that nothing would read is a mistake, not a wish."""
    if not given.data:
        options = {"--split": given.split, "--limit": given.limit, "--step": given.step, "--buffers": given.buffers}
        unread = [name for name, value in options.items() if value is not None]
        if unread:
            raise UsageError(
                f"{' and '.join(unread)} without --data",
                "data that the networks run on",
                f"Give --data, or leave {'it' if len(unread) == 1 else 'them'} out",
            )
    elif given.no_path and given.step is not None:
        raise UsageError("--step with --no-path", "one of the two", "Leave --no-path out to measure the path")


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    show_remarks(result)
    for single in result["singles"]:
        loss = "n/a" if single["loss"] is None else f"{single['loss']:.4f} nats"
        print(
            f"{single['name']}: norm {_number(single['norm'], '.3f')}, mIoU {percent(single['miou']).strip()}, loss"
            f" {loss}" + (", guesses" if single["guesses"] else "")
        )
    for pair in result["pairs"]:
        _show_pair(pair, result["tau"])
        if result["data"] is not None and pair["both_run"] and (why := pair["reason"] or pair["path_reason"]):
            print(f"    {why}")


def _show_pair(pair: dict[str, Any], tau: float) -> None:
    from fusionlib.diagnostics.survey import CONVOLUTION

    print(f"\n{pair['a']} + {pair['b']}: {pair['verdict']['level'].upper()}")
    print(f"    {pair['verdict']['sentence']}")
    worst = pair["verdict"]["evidence"]["worst_block"]
    print(
        f"    cosine {_number(pair['cosine'])} (parameters), {_number(pair['cosine_with_buffers'])} (with running"
        f" statistics), {_number(pair['cosine_groups'][CONVOLUTION])} (convolutions), L2 {_number(pair['l2'], '.3f')}"
    )
    if worst is not None:
        print(f"    worst block {worst['block']}: {_number(worst['cosine'])} (its convolutions)")
    moved = ", ".join(
        f"{group} {percent(value).strip()}" for group, value in pair["discrepancy"].items() if value is not None
    )
    if moved:
        print(f"    moved by 1/{tau:g} of themselves or more: {moved}")
    _show_functions(pair)
    _show_barriers(pair)


def _show_functions(pair: dict[str, Any]) -> None:
    """Oracle and diversity need masks; disagreement does not."""
    if pair["disagreement"] is None:
        return
    found = [f"disagreement {percent(pair['disagreement']).strip()}"]
    if pair["oracle_miou"] is not None:
        found.insert(0, f"oracle mIoU {percent(pair['oracle_miou']).strip()}")
    if pair["diversity"] is not None:
        found.append(
            f"diversity {_number(pair['diversity'], '.1f')} (100: they disagree as often as the worse one errs)"
        )
    print(f"    {', '.join(found)}")


def _show_barriers(pair: dict[str, Any]) -> None:
    for name, unit, scale, side in (("loss", "nats", 1, "above"), ("miou", "points", 100, "below")):
        found = (pair["barrier"] or {}).get(name)
        if found is not None:
            print(
                f"    {'mIoU' if name == 'miou' else name} barrier {scale * found['entezari']:.3f} {unit} {side} the"
                f" line between the ends, {scale * found['frankle']:.3f} {side} their mean"
            )
    if pair["barrier"] is not None:
        print("    over their mean the difference of the ends counts too")


def _number(value: float | None, form: str = ".4f") -> str:
    return "n/a" if value is None else format(value, form)
