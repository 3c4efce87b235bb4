"""`report RECIPE|FILE --data SPEC --split S --out report.html`: a merge's tables and pictures as one file."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionlib.cli.common import (
    add_data,
    add_rename,
    add_running,
    is_recipe,
    open_data,
    open_files,
    open_studio,
    progress_bar,
    read_recipe_file,
    show_remarks,
)
from fusionlib.errors import UsageError

if TYPE_CHECKING:
    from fusionlib.studio import Studio
    from fusionlib.studio.report_subject import Subject

FORMATS = {
    "html": "one file that needs nothing else",
    "md": "Markdown with PNGs: a folder, or FILE.md and one beside it",
}
MOST = 100
"""Pictures that may be asked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("source", type=Path, metavar="RECIPE | FILE", help="a recipe (YAML or JSON), or a checkpoint")
    parser.add_argument(
        "--against",
        nargs="+",
        action="extend",
        default=[],
        type=Path,
        metavar="CHECKPOINT",
        help="what a FILE is held against, its members say; beside a RECIPE's own members further ones",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="report.html", help="file (or folder) to write")
    parser.add_argument(
        "--format", choices=tuple(FORMATS), help="; ".join(f"{name}: {what}" for name, what in FORMATS.items())
    )
    parser.add_argument("--pictures", type=int, default=12, metavar="N", help="at most so many are shown (default 12)")
    parser.add_argument("--step", type=float, default=0.1, help="distance of the curve's points (default 0.1)")
    add_data(parser)
    add_rename(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Measure what is not known, write the report; `sentence`, `level`, `left_out`, and `path` with its `bytes`."""
    kind = _checked(given)
    from fusionlib.recipe import data_without_folders
    from fusionlib.report.gather import gather
    from fusionlib.report.marks import marks_of
    from fusionlib.report.write import check_target, write_html, write_markdown

    check_target(given.out, kind, [given.source, *given.against])
    studio = open_studio(given)
    subject = _subject(given, studio)
    for network in (subject.network, *subject.others):
        studio.runner.builder.space(network)  # an unknown network is said before data is read
    pictures = open_data(studio, given)
    studio.sources.know(pictures=pictures)
    work = studio.reports.open(subject, pictures, given.step)
    with progress_bar("report") as progress:
        work.measure(progress, fresh=given.fresh)
    with progress_bar("pictures") as progress:
        content = gather(
            work,
            data_without_folders(pictures.spec),
            _command(given),
            pictures=given.pictures,
            marks=marks_of(studio.looked.marks, pictures),
            progress=progress,
        )
    write = write_html if kind == "html" else write_markdown
    written = write(content, given.out)
    return {
        "path": str(given.out),
        "format": kind,
        "bytes": sum(written.values()),
        "files": len(written),
        "sentence": content.sentence,
        "level": content.level,
        "reference": content.reference or None,
        "pictures": [{"name": one.name, "gain": one.gain} for one in content.pictures],
        "curve": [{"alpha": one["alpha"], "miou": one["miou"]} for one in content.curve],
        "marks": [{"picture": one.picture, "note": one.note, "pixels": one.pixels} for one in content.marks],
        "left_out": {one.what: one.why for one in content.left_out},
        "data": pictures.spec,
        "notes": list(pictures.notes),
    }


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    print(result["sentence"])
    for what, why in result["left_out"].items():
        print(f"left out: {what}: {why}")
    files = f" in {result['files']} files" if result["files"] > 1 else ""
    print(f"{result['path']}: {result['bytes'] / 1e6:.1f} MB{files}")
    show_remarks(result)


def _checked(given: argparse.Namespace) -> str:
    """The format. A wrong choice is said before anything is read."""
    from fusionlib.studies.grid import alpha_grid

    alpha_grid(given.step)
    if not 0 <= given.pictures <= MOST:
        raise UsageError(f"--pictures {given.pictures}", f"0 to {MOST}", "Correct it")
    kind = given.format or ("md" if given.out.suffix.lower() == ".md" else "html")
    if kind == "html" and given.out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {given.out.name}", "a name ending in .html", "Change --out, or add --format md")
    if kind == "md" and given.out.suffix.lower() in (".html", ".htm"):
        raise UsageError(f"--out {given.out.name} with --format md", "FILE.md, or a folder", "Change one of them")
    return kind


def _subject(given: argparse.Namespace, studio: Studio) -> Subject:
    from fusionlib.studio.mixtures import recipe_words
    from fusionlib.studio.report_subject import of_checkpoint, of_recipe

    further = open_files(given, given.against) if given.against else []
    if is_recipe(given.source):
        recipe = read_recipe_file(given, given.source)
        studio.sources.know(further)
        return of_recipe(recipe_words(recipe), recipe, further)
    (checkpoint,) = open_files(given, [given.source])
    studio.sources.know([checkpoint, *further])
    return of_checkpoint(checkpoint, further)


def _command(given: argparse.Namespace) -> str:
    return shlex.join(["python", "-m", "fusionlib", *map(str, given.command)])
