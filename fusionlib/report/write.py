"""Reports on disk: whole or not there, and never in the place of what they are made from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fusionlib.atomic import check_target as check_file
from fusionlib.atomic import make_folder, write_atomically
from fusionlib.errors import UsageError
from fusionlib.report.content import LAYERS, Content
from fusionlib.report.markdown import markdown
from fusionlib.report.page import page

OWN = re.compile(rf"picture-[0-9]{{2,3}}-({'|'.join(LAYERS)})\.png")
"""Names of the files that a report puts beside its text."""


def check_target(out: Path, kind: str, inputs: Sequence[Path]) -> None:
    """Raises `UsageError` where `out` is one of the inputs, or its folder of PNGs has files of others; `WriteError`
    where nothing can be written.
    """
    text, folder = (out, None) if kind == "html" else places(out)
    for path in inputs:
        if _same(text, path):
            raise UsageError(f"--out {out.name} is what the report is made from", "another file", "Change --out")
    if folder is None:
        check_file(text)
        return
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{folder.name} is no folder", "a place for the PNGs of the report", "Change --out")
    others = [path.name for path in folder.iterdir() if not OWN.fullmatch(path.name)] if folder.is_dir() else []
    if others:
        raise UsageError(
            f"{folder.name} holds {others[0]}", "a folder for the PNGs of the report alone", "Change --out"
        )
    if text.parent.is_dir():
        check_file(text)


def places(out: Path) -> tuple[Path, Path]:
    """Text and folder of PNGs of a report in Markdown: FILE.md and `FILE-pictures`, or both in a folder."""
    if out.suffix.lower() == ".md":
        return out, out.with_name(f"{out.stem}-pictures")
    return out / "report.md", out / "pictures"


def write_html(content: Content, out: Path) -> dict[Path, int]:
    """Write the page; what was written, with its bytes."""
    data = page(content).encode()
    write_atomically(out, data)
    return {out: len(data)}


def write_markdown(content: Content, out: Path) -> dict[Path, int]:
    """Write the PNGs, then the text that names them; what was written, with its bytes."""
    path, folder = places(out)
    text, images = markdown(content, folder.name)
    make_folder(folder if images else path.parent)
    files = {**{folder / name: data for name, data in images.items()}, path: text.encode()}
    for place, data in files.items():
        write_atomically(place, data)
    return {place: len(data) for place, data in files.items()}


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        if one.samefile(other):
            return True
    return one.resolve() == other.resolve()
