"""Without a browser: `python -m fusionlib inspect | diagnose | layers | compare | methods | merge | evaluate | sweep |
report | train`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fusionlib import __version__
from fusionlib.errors import Cancelled, FusionError, printable
from fusionlib.options import OneLineParser

if TYPE_CHECKING:
    from fusionlib.question import Tally

VERBS: Mapping[str, str] = {
    "inspect": "Show what checkpoints contain and whether they can be merged",
    "diagnose": "Say whether checkpoints can be merged, and why: weights alone, or with --data their functions and"
    " losses too",
    "layers": "What each layer, block or part contributes to a merge",
    "compare": "Measure every merge method, the single networks and their ensemble in one table",
    "methods": "List every merge method with its parameters and its source",
    "datasets": "List every kind of data that can be opened, and how to name it",
    "architectures": "List every network that can run a checkpoint, with its size and its source",
    "measures": "List everything that can be measured, with its figures and its source",
    "studies": "List every study: what can be worked off as a run",
    "results": "List, show, prune, export or import what has been measured",
    "runs": "List runs, cancel one or go on with one, in whichever process it was started",
    "history": "List the views that were looked at in the app, newest first",
    "merge": "Merge checkpoints, by a recipe or directly, into one safetensors file",
    "evaluate": "Measure a checkpoint, a recipe or several networks that answer together on labelled pictures",
    "sweep": "Measure alpha A + (1 - alpha) B along alpha, or any method along one of its parameters",
    "domains": "Measure networks on several domains, ranked by the harmonic mean of their mIoU",
    "sets": "Say how good and how different networks are, alone and together, and what that is worth",
    "learners": "Look inside a network of learners: each alone, every subset and every fusion, out of one pass",
    "snapshots": "Measure snapshots of a run, each alone and on the line to the last one: curves and barriers",
    "rates": "Merge a start with every epoch of runs of several learning rates: how far a fine-tuning may go",
    "search": "Search for the best merge of a set by a strategy, chosen on some pictures and reported on others",
    "errors": "Say which pictures and pixels a merge gains and loses against one of its networks",
    "report": "Write a merge's tables, curve and pictures as one HTML file, or as Markdown with PNGs",
    "marks": "List regions that were marked in pictures in the viewer, with their notes",
    "train": "Train a network from scratch, from a checkpoint or by a regime that leaves checkpoints worth merging",
    "sample": "Draw networks from a posterior that training has left, as checkpoints or as a recipe of all together",
    "regimes": "List every training regime with its parameters, what it leaves and its source",
    "guide": "Print how to use all this, with tables of methods, measures and formats",
}
"""Verb to its line of help. The module of that name has `add_arguments(parser)`, `run(arguments) -> dict` and
`show(result)`.

It is loaded when the verb is asked for, and loads torch, the studio and what else it computes with in `run`: whoever
reads a help text, or mistypes an option, does not wait for them.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, run one verb, print its result as text or with `--json` as JSON."""
    given = parse(arguments)
    try:
        result = given.module.run(given)
    except FusionError as error:
        _say(given, error.one_line)
        if remark := _not_kept(given):
            _say(given, remark)
        raise SystemExit(2) from error
    except (Cancelled, KeyboardInterrupt):
        _say(given, f"stopped; {_not_kept(given) or 'what was finished is kept'}")
        raise SystemExit(130) from None
    remark = _not_kept(given)
    passes = _passes(given)
    result |= passes.listed() if passes else {}
    try:
        if given.json:
            print(json.dumps({**result, **({"not_kept": given.studio.notes} if remark else {})}, indent=1))
        else:
            given.module.show(_printable(result))
            if passes:
                print(passes.line)
        sys.stdout.flush()
    except OSError as problem:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(problem, BrokenPipeError):  # then whoever read it has had enough, as `head` has
            _say(given, f"the result cannot be printed: {problem.strerror}")
            raise SystemExit(2) from problem
    if remark and not given.json:
        _say(given, remark)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of a verb; `module` is the verb's."""
    return _parser().parse_args(arguments)


def _passes(given: argparse.Namespace) -> Tally | None:
    """The forward passes of a verb that measures; of one that measures only sometimes, where it did."""
    tally = given.studio.runner.tally if given.studio else None
    always = getattr(given, "data", None) and given.measures
    return tally if tally is not None and (always or tally.counted) else None


def _say(given: argparse.Namespace, text: str) -> None:
    print(f"fusionlib {given.verb}: {text}", file=sys.stderr)


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


class _VerbParser(OneLineParser):
    """The arguments of one verb, which its module adds when they are parsed."""

    verb = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        module = import_module(f"{__name__}.{self.verb}")
        module.add_arguments(self)
        self.add_argument("--json", action="store_true", help="print the result as JSON for machines")
        self.set_defaults(verb=self.verb, module=module, studio=None, command=[self.verb, *(args or ())])
        self.set_defaults(measures=self.get_default("measures") is not False)
        return super().parse_known_args(args, namespace)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m fusionlib", description="Merge segmentation checkpoints and measure the merge."
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="VERB", parser_class=_VerbParser)
    for verb, line in VERBS.items():
        verbs.add_parser(verb, help=line, description=line).verb = verb
    return parser
