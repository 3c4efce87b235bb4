"""Where pictures lie when they are not where a data spec says, and the specs that would open them."""

from __future__ import annotations

import os
from pathlib import Path

from fusionlib.errors import DataError
from fusionlib.listing import PICTURE_ENDINGS, Listing, list_folder, skipped_text

_DEEPEST, _MOST_FOLDERS, _NAMED = 4, 500, 3
_MASKS = {"masks", "gtFine", "gt", "GT", "labels", "annotations", "SegmentationClass", "SegmentationObject"}
"""What folders of masks are called in datasets."""


def no_pictures(got: str, needs: str, argument: str, listing: Listing | None = None) -> DataError:
    """The error of a spec `kind:argument` that finds no pictures: what was passed over in `listing`, and specs that
    open some.
    """
    passed_over = skipped_text([listing]) if listing else ""
    found = specs_below(Path(argument).expanduser(), Path(argument))
    named = ", ".join(f"{spec} has {count}" for spec, count in list(found.items())[:_NAMED])
    more = f" (and {len(found) - _NAMED} more)" if len(found) > _NAMED else ""
    return DataError(
        got + (f"; skipped there: {passed_over}" if passed_over else ""),
        needs,
        f"Correct the path: {named}{more}" if found else "Correct the path",
    )


def specs_below(root: Path, named: Path) -> dict[str, int]:
    """Specs that would open the pictures in `root` and below it, which the user calls `named`, with how many pictures
    each has.

    A few hundred folders are looked at, four levels deep; hidden ones and those of masks are not.
    """
    found: dict[str, int] = {}
    waiting, seen = [(root, named, 0)], set()
    while waiting and len(seen) < _MOST_FOLDERS:
        folder, name, depth = waiting.pop(0)
        if (real := os.path.realpath(folder)) in seen:  # links may lead round in circles
            continue
        seen.add(real)
        try:
            listing = list_folder(folder, PICTURE_ENDINGS)
        except OSError:  # a folder that may not be read holds nothing to offer
            continue
        if listing.files and (spec := _spec_of(folder, name)):
            found[spec] = found.get(spec, 0) + len(listing.files)
        if depth < _DEEPEST:
            waiting += [(path, name / path.name, depth + 1) for path in listing.folders]
    return found


def _spec_of(folder: Path, named: Path) -> str | None:
    """How to open the pictures of one folder; None for a folder of masks."""
    above, over = folder.parent, folder.parent.parent
    drawn_on = folder.name.removesuffix("annot")
    if _MASKS & {folder.name, above.name, over.name} or (drawn_on != folder.name and (above / drawn_on).is_dir()):
        return None
    if over.name == "leftImg8bit":
        return f"cityscapes:{named.parent.parent.parent}@{above.name}"
    if folder.name == "images" and (above / "masks").is_dir():
        return f"folder:{named.parent}"
    if above.name == "images" and (over / "masks" / folder.name).is_dir():
        return f"folder:{named.parent.parent}@{folder.name}"
    return f"camvid:{named.parent}@{folder.name}" if (above / f"{folder.name}annot").is_dir() else f"pictures:{named}"
