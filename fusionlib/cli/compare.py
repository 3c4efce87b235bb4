"""`compare A B C --data SPEC --split S`: every method on one set of checkpoints in one table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionlib.cli.common import (
    add_data,
    add_dtype,
    add_running,
    open_data,
    open_files,
    open_studio,
    percent,
    progress_bar,
    show_remarks,
)
from fusionlib.cli.settings import add_sharing, parse_settings, sharing_of
from fusionlib.contracts import STRATEGIES
from fusionlib.errors import UsageError
from fusionlib.merging.choices import POLICIES
from fusionlib.studies.choices import GROUPS

if TYPE_CHECKING:
    from fusionlib.studio import Choices, Comparison, Own, Wanted

ROWS, EVERY = ("methods", "searches"), "all"
_SHOWN = "Add searches to --rows and leave --shared, --rename and --exclude out, or leave --search out"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="two or more")
    parser.add_argument(
        "--anchor",
        type=int,
        default=0,
        metavar="N",
        help="number of the anchor among the checkpoints, from 0 (default 0)",
    )
    parser.add_argument(
        "--base",
        type=int,
        metavar="N",
        help="number of the checkpoint that the others were trained from, for task arithmetic, TIES and DARE",
    )
    parser.add_argument("--methods", metavar="M1,M2,...", help="only these methods (default all); see `methods`")
    parser.add_argument(
        "--try",
        action="append",
        default=[],
        dest="own",
        metavar="'METHOD NAME=VALUE ...'",
        help=(
            "a row of your own: a method with parameters; may be given several times. Numbers of checkpoints and "
            "lists of weights follow the order of the checkpoints on this command line, from 0"
        ),
    )
    add_sharing(parser)
    parser.add_argument(
        "--buffers",
        default="average",
        help=f"running statistics of the merges: {', '.join(POLICIES)} (default average)",
    )
    add_dtype(parser)
    parser.add_argument(
        "--rows",
        default=",".join(ROWS),
        metavar="R1,R2,...",
        help="; ".join(f"{name}: {what}" for name, what in GROUPS.items()) + f" (default {','.join(ROWS)})",
    )
    parser.add_argument(
        "--search",
        metavar="S1,S2,...",
        help=(
            f"search by these strategies first, with their defaults: {', '.join(STRATEGIES.names_in_files())}, or"
            f" {EVERY}; what they find is a row. `search` has their parameters"
        ),
    )
    parser.add_argument(
        "--select", metavar="SPEC", help="pictures that --search chooses by (default: the data, which flatters it)"
    )
    parser.add_argument(
        "--classes",
        action="store_true",
        help="also IoU class by class, of the best merge beside the best single network",
    )
    parser.add_argument(
        "--latency",
        action="store_true",
        help="also the time and memory of a forward pass, measured on the first picture: median of 5 after one more",
    )
    add_data(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """`rows` in order, `best` the name of the one with the highest mIoU; figures as fractions and nats, `gain` in
    points.
    """
    if len(given.checkpoints) < 2:
        raise UsageError(
            f"One checkpoint, {given.checkpoints[0].name}", "two or more to compare", "Name another checkpoint"
        )
    from fusionlib.studio import Choices

    methods = tuple(dict.fromkeys(given.methods.split(","))) if given.methods else None
    choices = Choices(
        given.anchor,
        given.buffers,
        tuple(dict.fromkeys(given.rows.split(","))),
        methods,
        given.base,
        tuple(_own(text) for text in given.own),
        sharing_of(given),
        given.dtype,
    )
    choices.checked(len(given.checkpoints))  # a wrong choice is said before data is read
    searches = _searches(given, choices)
    studio = open_studio(given)
    opened = open_files(given, given.checkpoints)
    pictures = open_data(studio, given)
    select = pictures if given.select is None else studio.workspace.open_pictures(given.select, None, given.limit)
    for wanted in searches:
        with progress_bar(f"search {wanted.strategy}") as progress:
            studio.searches.of(opened, [select], [pictures], wanted).measure(progress, fresh=given.fresh)
    comparison = studio.comparisons.of(opened, pictures, choices)
    comparison.files, comparison.data = [str(path) for path in given.checkpoints], _data_options(given)
    with progress_bar("compare") as progress:
        comparison.measure(progress, fresh=given.fresh)
    if given.latency:
        with progress_bar("latency") as progress:
            comparison.costs.measure(comparison.measured(), progress)
    found = comparison.snapshot()
    return {
        "data": pictures.spec,
        "images": found["images"],
        "anchor": comparison.names[choices.anchor],
        "buffers": choices.buffers,
        "best": found["best"],
        "best_single_miou": found["best_single_miou"],
        "rows": found["rows"],
        **({"cost": comparison.costs.about} if given.latency else {}),
        **({"classes": _classes(comparison, found["rows"])} if given.classes else {}),
        "notes": list(pictures.notes),
        "warnings": found["warnings"],
    }


def _searches(given: argparse.Namespace, choices: Choices) -> list[Wanted]:
    """What to search for before the table; of `all` those strategies that take so many checkpoints."""
    from fusionlib.studio import Wanted

    count, names = len(given.checkpoints), given.search
    if names is None:
        if given.select is not None:
            raise UsageError(f"--select {given.select[:80]}", "a search that chooses by it", "Add --search")
        return []
    if "searches" not in choices.groups or choices.sharing is not None:
        got = f"--rows {given.rows[:80]}" if choices.sharing is None else "what is shared alone (--shared)"
        raise UsageError(f"--search {names[:80]} with {got}", "a table with rows for what is found", _SHOWN)
    if EVERY not in names.split(","):
        return [Wanted(name, dtype=given.dtype).checked(count) for name in dict.fromkeys(names.split(","))]
    kinds = STRATEGIES.items()
    return [Wanted(name, dtype=given.dtype) for name, kind in kinds if kind.fewest <= count <= kind.most]


def _classes(comparison: Comparison, listed: list[dict[str, Any]]) -> dict[str, Any] | None:
    from fusionlib.studio.comparison_classes import best_merge, best_single, class_rows

    alone, best = best_single(comparison), best_merge(listed)
    rows = class_rows(comparison, best) if best else []
    return {"row": best, "single": alone.name, "classes": rows} if alone and rows else None


def show(result: dict[str, Any]) -> None:
    """Print it for people: measured rows as a table, the others with their reasons."""
    print(f"{result['data']}, {result['images']} pictures, anchor {result['anchor']}, buffers {result['buffers']}")
    _show_table(result)
    if told := result.get("classes"):
        _show_classes(told)
    if cost := result.get("cost"):
        print(
            f"time and memory of one forward pass of {cost['width']}x{cost['height']} on {cost['device']},"
            f" {cost['precision']}: the median of {cost['forwards']}"
        )
    for row in result["rows"]:
        if row["note"]:
            print(f"{row['name']}: {row['state'] + ': ' if row['state'] != 'measured' else ''}{row['note']}")
    show_remarks(result)


def _show_table(result: dict[str, Any]) -> None:
    rows = [row for row in result["rows"] if row["state"] == "measured"]
    width, chances = max(len(row["name"]) for row in result["rows"]), any(row["interval"] for row in rows)
    sure = f"{'95 %':>17} " if chances else ""
    print(
        f"{'':{width}}  {'mIoU':>8} {'gain':>7} {sure}{'pixel':>8} {'loss':>7} {'ECE':>8} {'forwards':>8} {'merge':>8}"
        f" {'measure':>8}{_cost_titles(result)}"
    )
    for row in rows:
        mark = "  best" if row["name"] == result["best"] else ""
        print(
            f"{row['name']:{width}}  {percent(row['miou']):>8} {_number(row['gain'], '+.2f'):>7}"
            f" {_chance(row) if chances else ''}{percent(row['pixel_accuracy']):>8} {_number(row['loss'], '.4f'):>7}"
            f" {percent(row['ece']):>8} {row['forwards']:>8} {_seconds(row['merge_seconds']):>8}"
            f" {_seconds(row['evaluation_seconds']):>8}{_cost(row, result)}{mark}"
        )
    if chances:
        print("95 %: of the gain over the best single network, a paired bootstrap; *: beyond chance")


def _chance(row: dict[str, Any]) -> str:
    """The interval of the gain in points; a star: beyond chance."""
    if row["interval"] is None:
        return f"{'':17} "
    low, high = row["interval"]
    shown = f"{low:+.2f} to {high:+.2f}"
    return f"{shown:>16}{' ' if row['inside_noise'] else '*'} "


def _show_classes(told: dict[str, Any]) -> None:
    from fusionlib.diagnostics.bootstrap import in_points

    print(f"class by class, IoU of {told['single']} and of {told['row']}")
    for one in sorted(told["classes"], key=lambda one: -(one["change"] or 0.0)):
        change = "n/a" if one["change"] is None else f"{100 * one['change']:+.2f}"
        sure = "" if one["interval"] is None else f" ({in_points(one['interval'])})"
        print(f"  {one['class']:24}{percent(one['single']):>8}{percent(one['row']):>8} {change:>7} points{sure}")


def _data_options(given: argparse.Namespace) -> list[str]:
    """The options of this run that name its pictures, and the networks that see them."""
    named = {"--data": [given.data], "--split": [given.split], "--limit": [given.limit], "--model": given.model}
    return [
        part
        for option, values in named.items()
        for value in values
        if value is not None
        for part in (option, str(value))
    ]


def _own(text: str) -> Own:
    from fusionlib.studio import Own

    method, *settings = text.split()[:50] or [""]
    values = parse_settings(method, settings)
    return Own(
        method, tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in values.items())
    )


def _number(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)


def _cost_titles(result: dict[str, Any]) -> str:
    return f" {'time':>9} {'memory':>9}" if "cost" in result else ""


def _cost(row: dict[str, Any], result: dict[str, Any]) -> str:
    if "cost" not in result:
        return ""
    found = ((row["latency_ms"], "ms"), (row["memory_mb"], "MB"))
    return "".join(f" {'' if value is None else f'{value:.1f} {unit}':>9}" for value, unit in found)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"
