"""`search A B [C ...] --strategy NAME --select SPEC --report SPEC`: the best merge of a set, chosen on some pictures
and reported on others.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusionlib.candidate import HARMONIC, SCORES
from fusionlib.cli.common import (
    add_dtype,
    add_rename,
    add_running,
    open_files,
    open_studio,
    percent,
    progress_bar,
    show_remarks,
)
from fusionlib.cli.settings import read_settings
from fusionlib.contracts import DATASETS, STRATEGIES, parameters_of
from fusionlib.errors import UsageError
from fusionlib.merging.choices import POLICIES

STRATEGY = "grid"
SHOWN = 40
"""Evaluations that are printed for people; JSON has all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    names, usages = ", ".join(STRATEGIES.names_in_files()), ", ".join(DATASETS.texts_in_files("usage"))
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="two or more")
    parser.add_argument(
        "--strategy", default=STRATEGY, help=f"one of {names} (default {STRATEGY}); see `guide measuring`"
    )
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], dest="settings", metavar="NAME=VALUE", help="its parameters"
    )
    parser.add_argument(
        "--select",
        required=True,
        action="append",
        metavar="SPEC",
        help=f"pictures to choose by: one of {usages}; with --score {HARMONIC} once for each domain",
    )
    parser.add_argument(
        "--report",
        action="append",
        default=[],
        metavar="SPEC",
        help="pictures that the choice is reported on (default: those to choose by, which flatters it); as --select",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures of each")
    parser.add_argument("--score", default="miou", help=f"one of {', '.join(SCORES)} (default miou)")
    parser.add_argument(
        "--buffers", help=f"running statistics of the merges: {', '.join(POLICIES)} (default: the strategy's own)"
    )
    parser.add_argument(
        "--count",
        type=int,
        help="pictures for --buffers recalibrate (default 16; of swa all of them)",
    )
    parser.add_argument(
        "--calibrate",
        metavar="SPEC",
        help="pictures that recalibrate looks at; they need no masks (default: the first --select)",
    )
    parser.add_argument("--out", type=Path, metavar="F.yaml", help="write the recipe of what was found, for `merge`")
    add_dtype(parser)
    add_rename(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """`best` with its weights and figures, `evaluations` in the order of the visit, forward passes with those of the
    whole grid; figures as fractions and nats.
    """
    if given.out is not None and given.out.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"--out {given.out.name}", "a name ending in .yaml", "Change --out")
    from fusionlib.atomic import check_target, write_atomically
    from fusionlib.studio.wanted import Wanted

    settings = read_settings(given.strategy, parameters_of(STRATEGIES.get(given.strategy)), given.settings)
    wanted = Wanted(given.strategy, settings, given.score, given.buffers, given.count, given.dtype)
    wanted.checked(len(given.checkpoints))  # a wrong choice is said before anything is read
    specs = given.select, given.report or given.select
    wanted.checked_data(*specs)
    if given.calibrate is not None:
        wanted.checked_calibration()
    if given.out is not None:
        check_target(given.out)
    studio = open_studio(given)
    files = open_files(given, [path.absolute() for path in given.checkpoints])
    select, report = ([studio.workspace.open_pictures(one, None, given.limit) for one in data] for data in specs)
    looked_at = given.calibrate and studio.workspace.open_pictures(given.calibrate, None, given.limit)
    search = studio.searches.of(files, select, report, wanted, looked_at)
    with progress_bar("search") as progress:
        found = search.measure(progress, fresh=given.fresh)
    if given.out is not None and search.best is not None:
        write_atomically(given.out, search.best.to_yaml())
    kept = ("state", "message", "done", "total", "fraction", "seconds_left")
    return {
        **{name: value for name, value in found.items() if name not in kept},
        **({"recipe": str(given.out)} if given.out else {}),
        "notes": list(dict.fromkeys(note for one in (*select, *report) for note in one.notes)),
    }


def show(result: dict[str, Any]) -> None:
    """Print it for people: what was visited, then what was found."""
    print(f"{result['strategy']} on {result['select']['data']}, {result['select']['images']} pictures")
    best, score = result["best"], result["score"]
    for one in result["evaluations"][:SHOWN]:
        mark = "  best" if best and one["weights"] == best["weights"] and one["ensemble"] == best["ensemble"] else ""
        print(f"{_weights(one):32}{_figure(one['select'], score):>10}{_figure(one['report'], score):>10}{mark}")
    if (more := len(result["evaluations"]) - SHOWN) > 0:
        print(f"and {more} more, with --json")
    if best:
        _show_best(result, best)
    print(
        f"{result['forward_passes_search']} forward passes to choose, {result['forward_passes_full_grid']} of the whole"
        " grid"
    )
    show_remarks(result)


def _show_best(result: Mapping[str, Any], best: Mapping[str, Any]) -> None:
    names = ", ".join(f"{name} {share:.3g}" for name, share in zip(result["checkpoints"], best["weights"], strict=True))
    print(f"best: {names}{', answering together' if best['ensemble'] else ''}")
    for where in ("select", "report"):
        figures = best[where]
        print(
            f"  {where:7}{_figure(figures, result['score'])} on {result[where]['data']}, {_gain(figures)} over the best"
            " checkpoint alone"
        )
    if rival := result.get("rival"):
        figures = {**(rival["report"] or {}), "interval": rival.get("interval")}
        weights = " ".join(f"{share:.3g}" for share in rival["weights"])
        print(f"  {_gain(figures)} over the best merge of one alpha ({weights}) on {result['report']['data']}")
    if used := result["statistics"]:
        print(f"  statistics measured on {used['images']} pictures of {used['data']}")
    if result["optimistic"]:
        print("  the same pictures chose and report: optimistic")
    if result["inside_noise"]:
        print("  inside the noise")


def _gain(figures: Mapping[str, Any]) -> str:
    gain = "n/a" if figures.get("gain") is None else f"{100 * figures['gain']:+.2f} points"
    if figures["interval"] is None:
        return gain
    low, high = figures["interval"]
    return f"{gain} ({100 * low:+.2f} to {100 * high:+.2f})"


def _weights(one: Mapping[str, Any]) -> str:
    row = " ".join(f"{share:.3g}" for share in one["weights"])
    kind = " together" if one["ensemble"] else " by unit" if "units" in one else ""
    return f"{row}{kind}{'' if one['part'] is None else ', a part'}"


def _figure(figures: Mapping[str, Any] | None, score: str) -> str:
    """The figure whose gain is told: mIoU, or its harmonic mean; with the score beside it where that is another."""
    if figures is None:
        return ""
    value = percent(figures[HARMONIC] if score == HARMONIC else figures["miou"])
    if score in (HARMONIC, "miou") or figures[score] is None:
        return value
    beside = percent(figures[score]) if score != "loss" else f"{figures[score]:.4f}"
    return f"{value} ({SCORES[score][0]} {beside})"
