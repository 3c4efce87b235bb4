"""What the operator's folders and data specs stand for on a page."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fusionlib.contracts import DATASETS
from fusionlib.data import corrupt
from fusionlib.data.spec import parse_spec
from fusionlib.errors import UsageError, clipped
from fusionlib.listing import CHECKPOINT_ENDINGS, Listing, list_folder


def listed_checkpoints(folder: Path) -> tuple[list[Path], Listing | None]:
    """The checkpoints that a folder stands for, and what else is in it; a file, a folder that is one checkpoint, or
    nothing at all stands for itself. A trainer keeps earlier checkpoints within the folder of the last.
    """
    try:
        listing = list_folder(folder, CHECKPOINT_ENDINGS)
    except OSError:
        return [folder], None  # a file; where it is not there, opening it says so
    within = [path for path in listing.folders if _is_checkpoint(path)]
    if listing.whole:
        return [folder, *listing.beside, *within], None
    return [*listing.files, *within], replace(
        listing, folders=tuple(path for path in listing.folders if path not in within)
    )


def folders_in(folder: Path) -> list[Path]:
    """Folders that lie directly in `folder`, by name; links lead elsewhere and are passed over."""
    try:
        return sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    except OSError:
        return []


def _is_checkpoint(folder: Path) -> bool:
    try:
        return list_folder(folder, CHECKPOINT_ENDINGS).whole
    except OSError:
        return False


def short_name(spec: str, origin: str) -> str:
    """What a data spec is called on pages: short, and without its path."""
    if origin == "upload":
        return "uploaded pictures"
    kept, changes = _cut(spec)
    if changes:
        return f"{short_name(kept, origin)}, {', '.join(change.replace(':', ' ', 1) for change in changes)}"
    kind, _, argument = spec.partition(":")
    if kind == corrupt.NAME:
        with suppress(UsageError):  # opening it says what is wrong
            damage, severity, inner = corrupt.parts_of(argument)
            return f"{short_name(inner, origin)}, {damage} {severity}"
        return kind
    if kind not in DATASETS or kind == "streets":
        return spec.replace(":", " ").split("@")[0].rstrip(" 0123456789") or spec
    folder = Path(argument.split("@")[0]).name
    return kind if folder.casefold() == kind else f"{kind} {folder}"


def _cut(spec: str) -> tuple[str, tuple[str, ...]]:
    """A spec without what is to be done with its data, and that; of a spec that is none nothing is cut."""
    try:
        parsed = parse_spec(spec)
    except UsageError:
        return spec, ()
    return str(replace(parsed, changes=())), tuple(clipped(change, 40) for change in parsed.changes)
