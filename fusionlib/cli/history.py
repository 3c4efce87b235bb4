"""`history`: the views that were looked at in the app, newest first."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from fusionlib.options import default_home


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("search", nargs="*", help="words that name, figure, note or link have all of")
    parser.add_argument("--starred", action="store_true", help="only those with a star")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (default: 50)")
    parser.add_argument("--home", type=Path, metavar="DIR", help="folder that keeps results and uploads")


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The views as JSON values; `link` follows the address of the app."""
    from fusionlib.runs.looked import Looked

    history = Looked(given.home or default_home()).history
    found = history.listed(" ".join(given.search), starred=given.starred)
    return {"history": [one._asdict() for one in found[: max(0, given.limit)]]}


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    if not result["history"]:
        print("no views")
    for one in result["history"]:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one["seen"]))
        star = "*" if one["star"] else " "
        print(f"{when} {star} {one['name']}{'  ' + one['figure'] if one['figure'] else ''}")
        print(f"                   {one['link'] or '?'}")
        for line in one["note"].splitlines():
            print(f"                   | {line}")
