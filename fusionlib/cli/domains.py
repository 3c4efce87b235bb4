"""`domains A B --data NAME=SPEC --data NAME=SPEC`: which network serves all domains, by the harmonic mean of mIoU."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionlib.cli.common import (
    add_rename,
    add_running,
    open_files,
    open_studio,
    percent,
    progress_bar,
    show_remarks,
)
from fusionlib.contracts import DATASETS
from fusionlib.errors import UsageError, clipped, shown
from fusionlib.merging.choices import POLICIES
from fusionlib.studies.choices import CLASS_SETS, DOMAIN_ROWS

if TYPE_CHECKING:
    from fusionlib.studio.domains_plan import DomainChoices

ROWS = "mean,buffers,heads"
FIGURES = ("domains", "harmonic", "arithmetic", "worst", "gain", "classes", "class_sets")
CHANCE = ("interval", "inside_noise")
LONGEST = 34
"""Characters of a network's name in the table for people."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="experts; the first is anchor")
    parser.add_argument(
        "--data",
        action="append",
        required=True,
        metavar="[NAME=]SPEC",
        help=f"a domain, once for each; SPEC is one of {', '.join(DATASETS.texts_in_files('usage'))}",
    )
    parser.add_argument("--split", help="split of every domain, in place of @split")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures of each domain")
    parser.add_argument(
        "--rows",
        default=ROWS,
        metavar="R1,R2,...",
        help="; ".join(f"{name}: {what}" for name, what in DOMAIN_ROWS.items()) + f"; all; none (default {ROWS})",
    )
    parser.add_argument("--buffers", default="average", help=f"one of {', '.join(POLICIES)} (default average)")
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        type=Path,
        metavar="CHECKPOINT",
        help="measured alone and merged with nothing, as the common start",
    )
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        type=Path,
        metavar="CHECKPOINT",
        help="data combination: a network trained on the data of all domains together, which merging is held against",
    )
    parser.add_argument(
        "--classes",
        action="append",
        default=[],
        metavar="C1,C2,...",
        help=f"mIoU over these classes too; {' or '.join(CLASS_SETS)}: those of Cityscapes that SYNTHIA has",
    )
    parser.add_argument(
        "--own",
        action="append",
        default=[],
        metavar="NAME=N",
        help="number (from 0) of the expert whose head a domain keeps; else the one called like it, else its best one",
    )
    parser.add_argument("--pair", default="0,1", metavar="N,M", help="ends of the path (default 0,1)")
    add_rename(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """`domains` (name to mIoU), `harmonic`, `arithmetic`, `worst`, `gain` and its `interval`, `classes` of `network`:
    the mean of all experts where that is measured, else the best one, chosen again in each resample. `rows` has the
    same of every one; `best`, `best_single`, `baseline`, `path`, `own`.
    """
    from fusionlib.studio.domains_plan import Named, checked_names, named_spec

    named = [named_spec(text) for text in given.data]
    names = checked_names([name for name, _ in named])
    paths = [*given.checkpoints, *given.beside, *given.baseline]
    choices = _choices(given).checked(len(paths), names)  # a wrong choice is said before data is read
    given.data = [spec for _, spec in named]
    studio = open_studio(given)
    opened = open_files(given, paths)
    domains = [Named(name, studio.workspace.open_pictures(spec, given.split, given.limit)) for name, spec in named]
    work = studio.domains.of(opened, domains, choices)
    with progress_bar("domains") as progress:
        work.run(progress=progress, fresh=given.fresh)
    found = work.with_intervals(work.table())
    told = _told(found)
    return {
        **{name: told[name] for name in FIGURES},
        "network": told["name"],
        **found,
        **({name: told[name] for name in CHANCE} if told["group"] == "mean" else {}),
        "data": {one.name: {"spec": one.pictures.spec, "images": len(one.pictures)} for one in domains},
        "buffers": choices.buffers,
        "notes": list(dict.fromkeys(note for one in domains for note in one.pictures.notes)),
        "warnings": work.warnings(),
    }


def _choices(given: argparse.Namespace) -> DomainChoices:
    from fusionlib.studio.domains_plan import DomainChoices

    rows = tuple(DOMAIN_ROWS) if given.rows == "all" else tuple(dict.fromkeys(given.rows.split(",")))
    return DomainChoices(
        given.buffers,
        () if given.rows == "none" else rows,
        tuple(dict.fromkeys(given.classes)),
        tuple(map(_own, given.own)),
        _pair(given.pair),
        len(given.beside),
        len(given.baseline),
    )


def _own(text: str) -> tuple[str, int]:
    name, equals, number = text.rpartition("=")
    if not equals or not (number.isascii() and number.isdigit() and len(number) < 4):
        raise UsageError(f"--own {shown(text)}", "NAME=N, a domain and a number from 0", "Correct --own")
    return name, int(number)


def _pair(text: str) -> tuple[int, int]:
    parts = text.split(",")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts):
        raise UsageError(f"--pair {shown(text)}", "two numbers from 0, as 0,1", "Correct --pair")
    return int(parts[0]), int(parts[1])


def _told(found: Mapping[str, Any]) -> dict[str, Any]:
    """The row that the result is about."""
    rows = found["rows"]
    mean = next((row for row in rows if row["group"] == "mean"), None)
    return mean or next((row for row in rows if row["name"] == found["best"]), rows[0])


def show(result: dict[str, Any]) -> None:
    """Print it for people: networks by domains, the path, and the classes of the one that the result is about."""
    from fusionlib.studio.domains import ranked

    print(", ".join(f"{name}: {one['images']} pictures" for name, one in result["data"].items()))
    rows, left_out = ranked(result["rows"])
    _head("network", result["domains"])
    for row in rows:
        _line(row["name"], row)
        for title, figures in row["class_sets"].items():
            _line(f"  over {title}", figures)
    for row in left_out:
        print(f"{row['name']}: {row['state']}: {row['reason']}")
    print(
        f"best expert alone: {result['best_single'] or 'n/a'}; H: harmonic mean; gain: of H over that one's, in points,"
        " and its middle 95 % in resamples"
    )
    if result["baseline"]:
        print(f"data combination: {result['baseline']}")
    if any(row["group"] == "heads" for row in rows):
        print("own heads: " + ", ".join(f"{name} {expert or 'n/a'}" for name, expert in result["own"].items()))
    if result["path"]:
        _show_path(result["path"], result["domains"])
    _show_classes(result)
    show_remarks(result)


def _head(first: str, domains: Sequence[str] | Mapping[str, Any]) -> None:
    names = "".join(f"{clipped(name, 10):>11}" for name in domains)
    print(f"\n{clipped(first, LONGEST):{LONGEST}}{names}{'H':>10}{'mean':>10}{'worst':>10}{'gain':>8}")


def _line(name: str, row: Mapping[str, Any]) -> None:
    means = "".join(f"{percent(row[mean]):>10}" for mean in ("arithmetic", "worst"))
    gain = "" if row.get("gain") is None else f"{100 * row['gain']:>+8.2f}"
    print(f"{_scores(name, row)}{means}{gain}{_chance(row)}")


def _scores(name: str, row: Mapping[str, Any]) -> str:
    """A name, its figure on each domain, and their harmonic mean."""
    scores = "".join(f"{percent(score):>11}" for score in row["domains"].values())
    return f"{clipped(name, LONGEST):{LONGEST}}{scores}{percent(row['harmonic']):>10}"


def _chance(row: Mapping[str, Any]) -> str:
    from fusionlib.diagnostics.bootstrap import in_points

    if row.get("interval") is None:
        return ""
    return f"  {in_points(row['interval'])}{', inside the noise' if row['inside_noise'] else ''}"


def _show_path(path: Mapping[str, Any], domains: Mapping[str, Any]) -> None:
    first, second = path["of"]
    _head(f"alpha {first} + (1 - alpha) {second}", domains)
    for point in path["points"]:
        _line(f"{point['alpha']:g}", point)


def _show_classes(result: Mapping[str, Any]) -> None:
    print(f"\n{clipped('IoU of ' + result['network'], LONGEST):{LONGEST}}", end="")
    print("".join(f"{clipped(name, 10):>11}" for name in result["domains"]) + f"{'H':>10}")
    for name, row in result["classes"].items():
        print(_scores(name, row))
