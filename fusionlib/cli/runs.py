"""`runs [cancel | resume ID]`: pieces of work of a home folder, running or ended, in whichever process."""

from __future__ import annotations

import argparse
import shlex
from contextlib import chdir
from importlib import import_module
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

    if (given.action == "list") != (given.id is None):
        raise UsageError(f"runs {given.action} {given.id or ''}".strip(), "cancel ID, resume ID, or list", "See `runs`")
    desk = RunDesk(Answers((given.home or default_home()) / "results.sqlite").database)
    if given.action == "list":
        return {"runs": desk.listed()}
    found = desk.find(given.id)
    if found is None:
        raise UsageError(f"Run {shown(given.id)}", "the id of a run", "See `runs`")
    if given.action == "cancel":
        if not desk.cancel(found["id"]):
            raise UsageError(f"Run {found['id']} is {found['state']}", "one that is running", "See `runs`")
        return {"runs": [desk.find(found["id"])]}
    if found["state"] in ("running", "stopping", "done"):
        raise UsageError(f"Run {found['id']} is {found['state']}", "one that was cut off", "See `runs`")
    return {"runs": [found], "resumed": _resumed(found, given)}


def _resumed(found: dict[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    """Run the verb of a plan again, in the folder where it was started, and what it gives."""
    from fusionlib.cli import VERBS, parse

    arguments, home = found["arguments"], (given.home or default_home()).absolute()
    if not arguments or arguments[0] not in VERBS:
        raise UsageError(f"Run {found['id']} of a {found['kind']}", "one that a verb can go on with", "Start it again")
    folder = Path(found["folder"] or ".")
    if not folder.is_dir():
        raise UsageError(
            f"Run {found['id']} was started in {shown(found['folder'], 200)}, which is gone",
            "the folder that its paths count from",
            "Start it again",
        )
    with chdir(folder):
        here = ["--home", str(home)]
        again = parse(arguments if arguments[-2:] == here else [*arguments, *here])
        again.fresh = False  # what was measured by then need not be measured again
        try:
            return again.module.run(again)
        finally:
            given.studio, given.data = again.studio, getattr(again, "data", None)


def show(result: dict[str, Any]) -> None:
    """Print it for people: of a run that was gone on with what its verb prints."""
    if "resumed" in result:
        import_module(f"fusionlib.cli.{result['runs'][0]['arguments'][0]}").show(result["resumed"])
        return
    if not result["runs"]:
        print("no runs")
    for one in result["runs"]:
        left = f", {one['seconds_left']:.0f} s left" if one["seconds_left"] else ""
        message = f": {one['message']}" if one["message"] else ""
        print(f"{one['id']}  {one['kind']:12} {one['state']}{message}, {one['done']} of {one['total']} passes{left}")
        print(f"          {shlex.join(one['arguments'])}")
