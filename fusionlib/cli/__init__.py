"""Without a browser: `python -m fusionlib inspect | diagnose | layers | compare | methods | merge | evaluate | sweep |
train`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from fusionlib import __version__
from fusionlib.cli import compare, diagnose, evaluate, inspect, layers, merge, methods, sweep, train
from fusionlib.errors import Cancelled, FusionError, printable
from fusionlib.studio import OneLineParser

VERBS = (inspect, diagnose, layers, compare, methods, merge, evaluate, sweep, train)
"""One module a verb: each has `NAME`, `HELP`, `add_arguments(parser)` and `run(arguments) -> dict` and
`show(result)`.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, run one verb, print its result as text or with `--json` as JSON."""
    given = _parser().parse_args(arguments)
    try:
        result = given.verb.run(given)
    except FusionError as error:
        _say(given, error.one_line)
        if remark := _not_kept(given):
            _say(given, remark)
        raise SystemExit(2) from error
    except (Cancelled, KeyboardInterrupt):
        _say(given, f"stopped; {_not_kept(given) or 'what was finished is kept'}")
        raise SystemExit(130) from None
    remark = _not_kept(given)
    try:
        if given.json:
            print(json.dumps({**result, **({"not_kept": given.studio.notes} if remark else {})}, indent=1))
        else:
            given.verb.show(_printable(result))
        sys.stdout.flush()
    except OSError as problem:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(problem, BrokenPipeError):  # then whoever read it has had enough, as `head` has
            _say(given, f"the result cannot be printed: {problem.strerror}")
            raise SystemExit(2) from problem
    if remark and not given.json:
        _say(given, remark)


def _say(given: argparse.Namespace, text: str) -> None:
    print(f"fusionlib {given.verb.NAME}: {text}", file=sys.stderr)


def _not_kept(given: argparse.Namespace) -> str:
    """What the home folder could not keep, in one line; empty where nothing was to be kept, or all was."""
    notes = given.studio.notes if given.studio else ()
    return f"{'; '.join(notes)} (in {given.studio.options.home}; --home names another folder)" if notes else ""


def _printable(value: Any) -> Any:
    """The result with every text in it fit for a terminal: names of files and tensors are whatever somebody wrote."""
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return printable(value) if isinstance(value, str) else value


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m fusionlib", description="Merge segmentation checkpoints and measure the merge."
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="VERB", parser_class=OneLineParser)
    for verb in VERBS:
        part = verbs.add_parser(verb.NAME, help=verb.HELP, description=verb.HELP)
        verb.add_arguments(part)
        part.add_argument("--json", action="store_true", help="print the result as JSON for machines")
        part.set_defaults(verb=verb, studio=None)
    return parser
