"""`runs [cancel | resume ID]`: pieces of work of a home folder, running or ended, in whichever process."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from fusionlib.errors import UsageError, shown
from fusionlib.options import default_home


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("action", nargs="?", choices=("list", "cancel", "resume"), default="list")
    parser.add_argument("id", nargs="?", help="with cancel and resume: which run")
    parser.add_argument("--home", type=Path, metavar="DIR", help="folder that keeps results and uploads")


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The runs as JSON values. `cancel` asks one to stop, `resume` goes on with one here: what is known stays known."""
    from fusionlib.runs.answers import Answers
    from fusionlib.runs.desk import RunDesk

    desk = RunDesk(Answers((given.home or default_home()) / "results.sqlite").database)
    if given.action == "list":
        return {"runs": desk.listed()}
    found = desk.find(given.id or "")
    if found is None:
        raise UsageError(f"Run {shown(given.id or '')}", "the id of a run", "See `runs`")
    if given.action == "cancel":
        if not desk.cancel(found["id"]):
            raise UsageError(f"Run {found['id']} is {found['state']}", "one that is running", "See `runs`")
        return {"runs": [{**found, "state": "stopping"}]}
    if found["state"] in ("running", "done"):
        raise UsageError(f"Run {found['id']} is {found['state']}", "one that was cut off", "See `runs`")
    return {"runs": [found], "resumed": _resumed(found["arguments"], given)}


def _resumed(arguments: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """Run the verb of a plan again, and what it gives."""
    from fusionlib.cli import VERBS, parse

    home = ["--home", str(given.home)] if given.home else []
    if not arguments or arguments[0] not in VERBS:
        raise UsageError(f"A run of {shown(arguments)}", "one that a verb can go on with", "Start it again on its page")
    again = parse([*arguments, *home])
    result = again.module.run(again)
    if not given.json:
        again.module.show(result)
    return result


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    if not result["runs"]:
        print("no runs")
    for one in [] if "resumed" in result else result["runs"]:
        left = f", {one['seconds_left']:.0f} s left" if one["seconds_left"] else ""
        message = f": {one['message']}" if one["message"] else ""
        print(f"{one['id']}  {one['kind']:12} {one['state']}{message}, {one['done']} of {one['total']} passes{left}")
        print(f"          {shlex.join(one['arguments'])}")
