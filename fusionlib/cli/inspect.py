"""`inspect A [B ...]`: what is in these files, and do they fit together."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fusionlib.architectures.user import register_user_model
from fusionlib.checkpoints.compare import preflight
from fusionlib.checkpoints.reader import check_finite, open_checkpoints

NAME, HELP = "inspect", "Show what checkpoints contain and whether they can be merged"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--model", action="append", default=[], metavar="FILE.py:FACTORY", help="your own network")
    parser.add_argument("--finite", action="store_true", help="also read every value and look for NaN and infinity")


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The preflight report as JSON values."""
    for spec in given.model:
        register_user_model(spec)
    opened = open_checkpoints(given.checkpoints)
    report = preflight(opened).to_dict()
    if given.finite:
        report["not_finite"] = {item.name: [str(problem) for problem in check_finite(item)] for item in opened}
    return report


def show(report: dict[str, Any]) -> None:
    """Print it for people."""
    for item in report["checkpoints"]:
        network = f"{item['architecture']}, {item['classes']} classes" if item["architecture"] else "unknown network"
        print(f"{item['name']}: {network}, {item['parameters']:,} parameters in {item['tensors']} tensors, {item['fingerprint'][:12]}")
        for note in item["notes"]:
            print(f"    {note}")
    for finding in report["findings"]:
        print(f"{finding['level']}: {finding['title']}" + (f" -> {finding['do']}" if finding["do"] else ""))
    for name, problems in report.get("not_finite", {}).items():
        print(f"{name}: " + ("; ".join(problems) or "all values are finite"))
    if len(report["checkpoints"]) > 1:
        print("They can be merged." if report["compatible"] else "They cannot be merged tensor by tensor.")
