"""What the verbs share: options, progress bars, percentages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.data.spec import usages
from fusionlib.errors import UsageError, shown
from fusionlib.studio import Options, Studio, add_options, default_home


def add_data(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """`--data`, `--split`, `--limit`."""
    parser.add_argument("--data", required=required, metavar="SPEC",
                        help=f"one of {', '.join(usages())}")
    parser.add_argument("--split", help="split of the data, in place of @split")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")


def add_running(parser: argparse.ArgumentParser) -> None:
    """Options of verbs that run a network."""
    add_options(parser)
    parser.add_argument("--fresh", action="store_true", help="measure again even where the result is stored")


def open_studio(given: argparse.Namespace) -> Studio:
    """A studio without the demo and without folders: the verbs name their files themselves."""
    return Studio(Options(models=tuple(given.model), demo=False, home=given.home or default_home(), device=given.device,
                          precision=given.precision))


def open_data(studio: Studio, given: argparse.Namespace) -> DecodedCache:
    """The pictures that `--data`, `--split` and `--limit` name."""
    return studio.workspace.open_pictures(given.data, given.split, given.limit)


def show_remarks(result: Mapping[str, Any]) -> None:
    """Print what a result says of its data: `notes` on how files were taken, `warnings` on what makes its figures doubtful."""
    for kind in ("note", "warning"):
        for text in result.get(f"{kind}s", ()):
            print(f"{kind}: {text}")


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A bar with time left on standard error; silent where that is no terminal."""
    with tqdm(desc=title, file=sys.stderr, disable=None, leave=False, dynamic_ncols=True) as bar:
        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def percent(value: float | None) -> str:
    """A fraction as text."""
    return "  n/a" if value is None else f"{100 * value:5.2f} %"


def numbers(text: str) -> tuple[float, ...]:
    """Numbers separated by commas. Raises `UsageError`."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(shown(text), "numbers separated by commas, as 0.5,0.3,0.2", "Correct them") from None
