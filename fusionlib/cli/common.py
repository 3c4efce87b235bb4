"""What the verbs share: options, progress bars, percentages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionlib.checkpoints.choices import WRITTEN
from fusionlib.contracts import DATASETS, Progress
from fusionlib.errors import UsageError, shown
from fusionlib.options import Options, add_engine, add_options, default_home

if TYPE_CHECKING:
    from fusionlib.checkpoints.reader import Checkpoint
    from fusionlib.data.cache import DecodedCache
    from fusionlib.recipe import Recipe
    from fusionlib.studio import OutlookDesk, Studio

_PROCESS = ("device", "precision", "tiles", "home_mb", "engine", "address", "workers", "class_tables")
"""Options of a process that verbs have where they matter."""


def add_data(parser: argparse.ArgumentParser, required: bool = True, several: bool = False) -> None:
    """`--data`, `--split`, `--limit`; with `several` a list of data."""
    usages = ", ".join(DATASETS.texts_in_files("usage"))
    text = f"one of {usages}" + (
        "; may be given several times: merges look at pictures of the first" if several else ""
    )
    parser.add_argument("--data", required=required, metavar="SPEC", help=text, action="append" if several else "store")
    parser.add_argument("--split", help="split of the data, in place of @split")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """`--dtype`."""
    parser.add_argument(
        "--dtype",
        metavar="TYPE",
        help=(
            "floating tensors of merges are rounded to this and written in it: one of "
            f"{', '.join(WRITTEN)} (default same: each in its own)"
        ),
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """Options of verbs that run a network."""
    add_options(parser)
    add_engine(parser)
    parser.add_argument("--fresh", action="store_true", help="measure again even where the result is stored")


def open_studio(given: argparse.Namespace) -> Studio:
    """A studio without the demo and without folders: the verbs name their files themselves.

    It is `given.studio` too, made at the first call.
    """
    from fusionlib.checkpoints.groups import renames_of
    from fusionlib.studio import Studio

    if given.studio is None:
        named = {name: getattr(given, name) for name in _PROCESS if hasattr(given, name)}
        given.studio = Studio(
            Options(
                models=tuple(getattr(given, "model", ())),
                trusted=tuple(getattr(given, "trust", ())),
                demo=False,
                home=getattr(given, "home", None) or default_home(),
                groups=tuple(given.group),
                renames=renames_of(getattr(given, "renames", ())),
                **named,
            )
        )
        given.studio.runs.command = tuple(given.command)
    return given.studio


def add_rename(parser: argparse.ArgumentParser) -> None:
    """`--rename`, for all checkpoints of a verb: those that merge tensor by tensor have one for the others than the
    anchor.
    """
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        dest="renames",
        metavar="PATTERN=NAME",
        help="regular expression on the names of the tensors, and what to put there, so that they become the network's",
    )


def open_files(given: argparse.Namespace, paths: Sequence[Path]) -> list[Checkpoint]:
    """The checkpoints of a verb, opened as `--group`, `--rename` and the known networks say; a recipe file is the
    network that it names, merged into the home folder.

    Which network was taken from a file with several goes to standard error.
    """
    from fusionlib.architectures.recognise import recognise
    from fusionlib.checkpoints.groups import Choice, renames_of
    from fusionlib.checkpoints.reader import open_checkpoints

    refuse_unread(given, paths)
    choice = Choice(tuple(given.group), recognise, renames_of(getattr(given, "renames", ())))
    choice.check(paths)
    files = iter(open_checkpoints([path for path in paths if not is_recipe(path)], choice=choice))
    opened = [_merged(given, path) if is_recipe(path) else next(files) for path in paths]
    for item in opened:
        for note in item.naming.notes if item.naming.several and not getattr(given, "shows_notes", False) else ():
            print(f"{item.name}: {note}", file=sys.stderr)
    return opened


def is_recipe(path: Path) -> bool:
    """Whether a file named in place of a checkpoint is a recipe; an index of a sharded checkpoint is none."""
    suffix = path.suffix.lower()
    return suffix in (".yaml", ".yml") or (suffix == ".json" and not path.name.lower().endswith(".index.json"))


def refuse_unread(given: argparse.Namespace, paths: Sequence[Path]) -> None:
    """Raises `UsageError` for options on tensors of files where there are recipes alone, which say it themselves."""
    unread = [name for name, value in (("--group", given.group), ("--rename", getattr(given, "renames", ()))) if value]
    if unread and all(map(is_recipe, paths)):
        raise UsageError(
            f"{' and '.join(unread)} with recipes alone", "checkpoints to take tensors from", "Leave the option out"
        )


def read_recipe_file(given: argparse.Namespace, path: Path) -> Recipe:
    """A recipe with its checkpoints, and with the pictures that it looks at where those are the verb's own."""
    studio = open_studio(given)
    recipe = studio.recipes.read(path)
    data = getattr(given, "data", None)
    if recipe.calibration is not None and data:
        for spec in [data] if isinstance(data, str) else data:
            studio.sources.know(
                pictures=studio.workspace.open_pictures(spec, given.split, getattr(given, "limit", None))
            )
    return recipe


def one_network(given: argparse.Namespace, path: Path, studio: Studio) -> Recipe:
    """The network of a checkpoint, or of a recipe; one that nobody knows is said before data is read."""
    if is_recipe(path):
        refuse_unread(given, [path])
        recipe = read_recipe_file(given, path)
        studio.runner.builder.space(recipe)
        return recipe
    from fusionlib.engine.recipes import recipe_alone

    (opened,) = open_files(given, [path])
    studio.network_of(opened)
    studio.sources.know([opened])
    return recipe_alone(opened)


def number(value: float | None, form: str = ".4f") -> str:
    """As text; of what is not known `n/a`."""
    return "n/a" if value is None else format(value, form)


def _merged(given: argparse.Namespace, path: Path) -> Checkpoint:
    recipe = read_recipe_file(given, path)
    with progress_bar("merge") as progress:
        return given.studio.recipes.checkpoint(recipe, path, progress)


def open_data(studio: Studio, given: argparse.Namespace) -> DecodedCache:
    """The pictures that `--data`, `--split` and `--limit` name."""
    return studio.workspace.open_pictures(given.data, given.split, given.limit)


def show_remarks(result: Mapping[str, Any]) -> None:
    """Print what a result says of its data: `notes` on how files were taken, `warnings` on what makes its figures
    doubtful.
    """
    for kind in ("note", "warning"):
        for text in result.get(f"{kind}s", ()):
            print(f"{kind}: {text}")


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A bar with time left on standard error; silent where that is no terminal."""
    from tqdm import tqdm

    with tqdm(desc=title, file=sys.stderr, disable=None, leave=False, dynamic_ncols=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def weights_say(
    checkpoints: Sequence[Checkpoint], outlooks: OutlookDesk | None = None, *, shared: bool = False
) -> dict[str, Any] | None:
    """The gravest verdict among pairs from weights alone, with `shared` on what two have in common; None for a single
    one, or NaN.
    """
    from fusionlib.studio import OutlookDesk, gravest

    judged = (outlooks or OutlookDesk()).of_files(checkpoints) if len(checkpoints) > 1 else []
    return (
        gravest([(names, replace(known, compatible=known.compatible or shared)) for names, known in judged])
        if judged
        else None
    )


def show_verdict(verdict: dict[str, Any] | None) -> None:
    """One line, where there is a verdict."""
    if verdict is not None:
        print(
            f"{'Measured' if verdict['measured'] else 'From the weights alone'}: {verdict['line']}; `diagnose` says"
            " more"
        )


def percent(value: float | None) -> str:
    """A fraction as text."""
    return "  n/a" if value is None else f"{100 * value:5.2f} %"


def tiles_note(figures: Mapping[str, Any] | None) -> str:
    """A line on pictures that were measured in tiles; nothing where none was."""
    if not figures or not (tiled := figures.get("tiled", 0)):
        return ""
    from fusionlib.engine.observe import MARGIN, TILE

    return (
        f"{tiled} of {figures['images']} pictures in tiles of {TILE} with {MARGIN} pixels around each: a network that"
        " sees farther may differ near their seams from what it says of the whole\n"
    )


def numbers(text: str) -> tuple[float, ...]:
    """Numbers separated by commas. Raises `UsageError`."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(shown(text), "numbers separated by commas, as 0.5,0.3,0.2", "Correct them") from None
