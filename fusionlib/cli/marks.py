"""`marks [--picture NAME]`: regions that were marked in pictures in the viewer, with their notes."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from fusionlib.errors import clipped
from fusionlib.options import default_home


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--picture", metavar="TEXT", help="only of pictures with this in their name")
    parser.add_argument("--home", type=Path, metavar="DIR", help="folder that keeps results and uploads")


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The marks as JSON values, the oldest first; boxes in fractions of the picture, times in seconds since 1970."""
    from fusionlib.runs.looked import Looked

    marks = Looked(given.home or default_home()).marks
    wanted = given.picture or ""
    return {"marks": [one.listed() for one in marks.listed() if wanted in one.name]}


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    if not result["marks"]:
        print("nothing is marked")
        return
    print(f"{'when':16}  {'picture':24}  {'shape':9}  {'x, y, width, height':27}  note")
    for one in result["marks"]:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one["created"]))
        box = ", ".join(f"{one[side]:.3f}" for side in ("x", "y", "width", "height"))
        print(f"{when:16}  {clipped(one['name'], 24):24}  {one['shape']:9}  {box:27}  {one['note']}")
