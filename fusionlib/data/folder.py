"""Any labelled folder: `images/` + `masks/` with the same names, and `classes.yaml` that says what the pixels of the
masks mean.

Pictures of several splits lie in `images/<split>/` and `masks/<split>/`. For the fields of the file see
`fusionlib.data.classes_file`.
"""

from __future__ import annotations

from pathlib import Path

from fusionlib.contracts import DATASETS
from fusionlib.data.classes_file import read_classes
from fusionlib.data.elsewhere import no_pictures
from fusionlib.data.files import existing_folder
from fusionlib.data.pairs import PairedDataset, checked, find_pairs
from fusionlib.errors import DataError, shown
from fusionlib.listing import PICTURE_ENDINGS, list_folder

CLASSES_FILE = "classes.yaml"


class LabelledFolder:
    """`images/` + `masks/` + `classes.yaml`, with or without split folders."""

    title = "Folder with images, masks and classes.yaml"
    usage = "folder:DIR[@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """Names of the folders in `images/`; none when the pictures lie in it directly."""
        images = existing_folder(argument) / "images"
        if not images.is_dir():
            raise no_pictures(f"No folder {images}", "images/, masks/ and classes.yaml", argument)
        return tuple(path.name for path in list_folder(images, PICTURE_ENDINGS).folders)

    def open(self, argument: str, split: str | None) -> PairedDataset:
        """One split: val, or the only one, by default. Raises `DataError` before any picture is decoded."""
        folder = existing_folder(argument)
        split = self._choose(argument, folder, split)
        said = read_classes(folder / CLASSES_FILE)
        pairs, skipped = find_pairs(folder / "images" / (split or ""), folder / "masks" / (split or ""), argument)
        pairs, turns = checked(pairs, said.legend, stored_first=said.stored_first)
        title = folder.resolve().name
        return PairedDataset(
            f"folder:{argument}" + (f"@{split}" if split else ""),
            f"{title} {split}" if split else title,
            said.space,
            pairs,
            said.legend,
            (*skipped, *turns),
        )

    def _choose(self, argument: str, folder: Path, split: str | None) -> str | None:
        found = self.splits(argument)
        if found and list_folder(folder / "images", PICTURE_ENDINGS).files:
            raise DataError(
                f"{folder / 'images'} has pictures and folders",
                "pictures, or one folder per split",
                "Move the pictures into a split's folder",
            )
        if split is None and found:
            split = "val" if "val" in found else found[0] if len(found) == 1 else None
            if split is None:
                raise DataError(
                    f"{argument} has several splits and none is chosen",
                    f"one of {', '.join(found)}",
                    f"Add @{found[0]} to the data spec",
                )
        if split is not None and split not in found:
            raise DataError(
                f"No split {shown(split)} in {argument}",
                f"one of {', '.join(found)}" if found else "no split: its pictures lie directly in images/",
                "Correct the data spec",
            )
        return split


DATASETS.register("folder")(LabelledFolder())
