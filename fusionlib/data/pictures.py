"""A few pictures without masks: merged networks can be looked at and compared on them, but not scored."""

from __future__ import annotations

from dataclasses import dataclass

from fusionlib.contracts import DATASETS, Sample
from fusionlib.data.elsewhere import no_pictures
from fusionlib.data.files import (
    existing_folder,
    fingerprint_files,
    picture_digest,
    picture_orientation,
    picture_size,
    read_picture,
    reduction,
)
from fusionlib.data.labels import UNLABELLED, LabelSpace
from fusionlib.data.packed import PictureFile
from fusionlib.data.sequences import frame_groups
from fusionlib.errors import DataError, shown
from fusionlib.listing import PICTURE_ENDINGS, list_folder, skipped_notes


@dataclass(eq=False)
class Pictures:
    """Unlabelled pictures: `truth` is None and the label space is `UNLABELLED` (show them in the network's own)."""

    spec: str
    title: str
    files: tuple[PictureFile, ...]
    label_space: LabelSpace = UNLABELLED
    labelled: bool = False
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """In place of the files' own."""
    groups: tuple[str, ...] = ()
    """In place of those that the names tell."""

    def __post_init__(self) -> None:
        self.groups = self.groups or frame_groups([self.name(index) for index in range(len(self))])

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        """Its name; the file's without suffix where it has no other."""
        return self.names[index] if self.names else self.files[index].stem

    def load(self, index: int, whole: bool = False) -> Sample:
        """Read one picture, turned upright, a very large one reduced unless `whole`.

        Raises `DataError` that names the file.
        """
        path = self.files[index]
        scale = 1 if whole else reduction(*picture_size(path))
        return Sample(self.name(index), read_picture(path, picture_orientation(path), scale), None, scale)

    def fingerprint(self) -> str:
        """SHA-256 of file names and contents."""
        return fingerprint_files("pictures", ((path.name, path) for path in self.files))

    def picture_key(self, index: int) -> str:
        """SHA-256 of the file's content, which holds its orientation."""
        return picture_digest("picture", self.files[index])

    def group(self, index: int) -> str:
        """What it belongs to, by its name: see `frame_groups`."""
        return self.groups[index]


class PicturesFolder:
    """PNG and JPEG files that lie directly in a folder."""

    title = "Pictures without masks"
    usage = "pictures:DIR"

    def splits(self, argument: str) -> tuple[str, ...]:
        """None: all pictures belong together."""
        existing_folder(argument)
        return ()

    def open(self, argument: str, split: str | None) -> Pictures:
        """All pictures of the folder. Raises `DataError` for a split, no pictures, or a file that is no picture."""
        folder = existing_folder(argument)
        if split is not None:
            raise DataError(
                f"Split {shown(split)} of plain pictures", "no split: they have none", f"Use pictures:{argument}"
            )
        listing = list_folder(folder, PICTURE_ENDINGS)
        if not listing.files:
            raise no_pictures(f"No pictures in {folder}", f"files {', '.join(PICTURE_ENDINGS)}", argument, listing)
        for path in listing.files:
            picture_size(path)
        return Pictures(f"pictures:{argument}", folder.resolve().name, listing.files, notes=skipped_notes([listing]))


DATASETS.register("pictures")(PicturesFolder())
