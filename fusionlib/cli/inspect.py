"""`inspect A [B ...]`: what is in these files, and do they fit together."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fusionlib.cli.common import open_files, show_verdict, weights_say
from fusionlib.cli.settings import add_sharing, sharing_of
from fusionlib.options import add_group


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--model", action="append", default=[], metavar="FILE.py:FACTORY", help="your own network")
    add_group(parser)
    parser.add_argument("--home", type=Path, metavar="DIR", help="folder that keeps what recipes are merged into")
    parser.set_defaults(shows_notes=True)
    add_sharing(parser)
    parser.add_argument(
        "--anchor", type=int, default=0, metavar="N", help="with --shared: number of the anchor, from 0"
    )
    parser.add_argument(
        "--finite",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="read every value and look for NaN and infinity (the default)",
    )


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The preflight report as JSON values."""
    from fusionlib.architectures.facts import classes_text
    from fusionlib.architectures.nearest import explanations
    from fusionlib.architectures.recognise import network_of, recognise
    from fusionlib.architectures.user import register_user_models
    from fusionlib.checkpoints.compare import preflight
    from fusionlib.checkpoints.reader import check_finite
    from fusionlib.checkpoints.sharing import shared_table

    register_user_models(given.model)
    opened = open_files(given, given.checkpoints)
    report = preflight(opened, recognise, explanations).to_dict()
    for entry, item in zip(report["checkpoints"], opened, strict=True):
        known = network_of(item.shapes)
        entry["classes_are"] = classes_text(*known) if known else None
    if given.finite:
        report["not_finite"] = {item.name: [str(problem) for problem in check_finite(item)] for item in opened}
    sharing = sharing_of(given)
    if given.finite and len(opened) > 1:
        report["verdict"] = (
            None if sharing is not None and sharing.rename else weights_say(opened, shared=sharing is not None)
        )
    if sharing is not None:
        report["sharing"] = shared_table(opened, given.anchor, sharing).to_dict()
    return report


def show(report: dict[str, Any]) -> None:
    """Print it for people."""
    for item in report["checkpoints"]:
        known = item["architecture"]
        network = f"{known}, {item['classes_are']}" if known else "unknown network"
        print(
            f"{item['name']}: {network}, {item['parameters']:,} parameters in {item['tensors']} tensors,"
            f" {item['fingerprint'][:12]}"
        )
        for note in item["notes"]:
            print(f"    {note}")
    for finding in report["findings"]:
        print(f"{finding['level']}: {finding['title']}" + (f" -> {finding['do']}" if finding["do"] else ""))
    if "sharing" in report:
        _show_sharing(report["sharing"], [item["name"] for item in report["checkpoints"]])
    for name, problems in report.get("not_finite", {}).items():
        for problem in problems:
            print(f"error: {name}: {problem}")
    if len(report["checkpoints"]) > 1:
        print(_outlook(report))
        show_verdict(report.get("verdict"))


def _outlook(report: dict[str, Any]) -> str:
    if report["compatible"]:
        more = "" if report.get("verdict") else "; `diagnose` says whether it will work"
        return f"They have the same tensors: a merge can be computed{more}."
    if "sharing" in report:
        shared, total = report["sharing"]["shared"], len(report["sharing"]["tensors"])
    else:
        shared = report["shared"] - sum(None not in row["shapes"] for row in report["mismatched"])
        total = report["checkpoints"][0]["tensors"]
    return f"merge with --shared: {shared} of {total} tensors" if shared else "They cannot be merged tensor by tensor."


def _show_sharing(table: dict[str, Any], names: list[str]) -> None:
    from fusionlib.checkpoints.sharing import REASONS

    own = f"of {names[table['anchor']]}"
    for row in table["tensors"]:
        print(
            f"    {'shared' if row['reason'] == 'shared' else own:24} {row['name']}"
            + ("" if row["reason"] == "shared" else f"  ({REASONS[row['reason']]})")
        )
    print(
        f"{table['shared']} tensors are shared, {table['from_anchor']} are the anchor's, {len(table['elsewhere'])} are"
        " only elsewhere"
    )
