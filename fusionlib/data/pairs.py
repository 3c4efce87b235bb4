"""Pictures with masks in files: what the datasets that consist of folders have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from fusionlib.contracts import Sample
from fusionlib.data.elsewhere import no_pictures
from fusionlib.data.files import (
    fingerprint_files,
    picture_digest,
    picture_orientation,
    picture_size,
    read_picture,
    reduced_mask,
    reduction,
)
from fusionlib.data.labels import LabelSpace
from fusionlib.data.masks import MaskHeader
from fusionlib.data.orientation import STORED, fitting, shown_size, turned
from fusionlib.data.packed import PictureFile
from fusionlib.data.sequences import frame_groups
from fusionlib.errors import DataError
from fusionlib.listing import MASK_ENDINGS, PICTURE_ENDINGS, Listing, list_folder, skipped_notes, skipped_text


class MaskReader(Protocol):
    """What turns the pixels of masks into labels: `fusionlib.data.masks.Legend`, or a dataset's own."""

    def examine(self, path: PictureFile) -> tuple[MaskHeader, bool]:
        """The header of a mask, and whether its pixels are colours. Raises `DataError` that names the file."""
        ...

    def read(self, path: PictureFile) -> np.ndarray:
        """(H, W) uint8 labels, `IGNORE` for void. Raises `DataError` that names the file."""
        ...

    def text(self, coloured: bool) -> str:
        """Everything that decides labels of such masks, for a fingerprint."""
        ...


@dataclass(frozen=True)
class Pair:
    """One picture and its mask, and the EXIF orientations by which their pixels are read; `coloured`: the mask holds
    colours.

    `instances` is the file that tells instances apart, `meaning` what decides the labels of this mask alone.
    """

    image: PictureFile
    mask: PictureFile
    name: str
    orientations: tuple[int, int] = (STORED, STORED)
    coloured: bool = False
    instances: Path | None = None
    meaning: str = ""

    @property
    def files(self) -> tuple[PictureFile, ...]:
        """Picture, mask and instances, each once."""
        more = self.instances is not None and self.instances != self.mask
        return (self.image, self.mask, *((self.instances,) if more and self.instances else ()))


@dataclass(eq=False)
class PairedDataset:
    """Labelled pictures in files; `legend` turns the pixels of the masks into labels, `notes` say how the files were
    taken.
    """

    spec: str
    title: str
    label_space: LabelSpace
    pairs: tuple[Pair, ...]
    legend: MaskReader
    notes: tuple[str, ...] = ()
    labelled: bool = True
    groups: tuple[str, ...] = ()
    """What each pair belongs to, in place of what the names tell."""
    instances: Callable[[Path], np.ndarray] | None = None
    """Reads the file of a pair that tells instances apart: (H, W) int32, 0 outside of all."""
    known: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What its folders say of pictures: column to name to value, as `attributes.csv` would."""

    def __post_init__(self) -> None:
        self.groups = self.groups or frame_groups([pair.name for pair in self.pairs])

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        """The pair's: in most datasets the file's without suffix."""
        return self.pairs[index].name

    def load(self, index: int, whole: bool = False) -> Sample:
        """Read picture and mask, very large ones reduced unless `whole`.

        Raises `DataError` that names the file, and the ids or colours that the mask must not have, wherever they are.
        """
        pair, (own, drawn) = self.pairs[index], self.pairs[index].orientations
        size = picture_size(pair.image)
        scale = 1 if whole else reduction(*size)
        image, labels = read_picture(pair.image, own, scale), turned(self.legend.read(pair.mask), drawn)
        if shown_size(size, own) != labels.shape:
            raise _unfitting(pair, shown_size(size, own), labels.shape, (STORED, STORED))
        truth = labels if scale == 1 else reduced_mask(labels, scale, own)
        return Sample(self.name(index), image, truth, scale, self._instances(pair, labels.shape, scale))

    def _instances(self, pair: Pair, size: tuple[int, ...], scale: int) -> Callable[[], np.ndarray] | None:
        """How to read the instances of a picture whose labels are of that size."""
        path, rule = pair.instances, self.instances
        if path is None or rule is None:
            return None

        def read() -> np.ndarray:
            own, drawn = pair.orientations
            found = turned(rule(path), drawn)
            if found.shape != size:
                raise _unfitting(pair, (size[0], size[1]), found.shape, (STORED, STORED), path)
            return found if scale == 1 else reduced_mask(found, scale, own)

        return read

    def fingerprint(self) -> str:
        """SHA-256 of label space, legend, file names and file contents."""
        files = [
            (f"{kind}/{path.name}", path)
            for pair in self.pairs
            for kind, path in zip(("image", "mask", "instances"), pair.files, strict=False)
        ]
        legend = self.legend.text(any(pair.coloured for pair in self.pairs))
        return fingerprint_files(
            f"{self.label_space.names} {legend}{''.join(pair.meaning for pair in self.pairs)}", files
        )

    def picture_key(self, index: int) -> str:
        """SHA-256 of label space, legend, orientations and the contents of picture, mask and instances."""
        pair = self.pairs[index]
        legend = self.legend.text(pair.coloured)
        return picture_digest(f"{self.label_space.names} {legend} {pair.orientations}{pair.meaning}", *pair.files)

    def group(self, index: int) -> str:
        """What it belongs to: see `frame_groups`, where the dataset has no rule of its own."""
        return self.groups[index]


def find_pairs(images: Path, masks: Path, argument: str) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """The files of two folders paired by name without suffix, not looked into yet, and remarks on what was passed over.

    `argument` is the folder that the user named. Raises `DataError` for a missing folder, no pictures (it says where
    there are some), and a partner missing on either side; the file is named.
    """
    for folder in (images, masks):
        if not folder.is_dir():
            raise no_pictures(f"No folder {folder}", f"pictures in {images.name}/ and masks in {masks.name}/", argument)
    pictures, drawn = list_folder(images, PICTURE_ENDINGS), list_folder(masks, MASK_ENDINGS)
    named, answers = _by_stem(pictures), _by_stem(drawn)
    if not named:
        raise no_pictures(f"No pictures in {images}", f"files {', '.join(PICTURE_ENDINGS)}", argument, pictures)
    _check_partners(named, drawn, answers, "mask")
    _check_partners(answers, pictures, named, "picture")
    return tuple(Pair(named[stem], answers[stem], stem) for stem in named), skipped_notes([pictures, drawn])


def checked(
    pairs: Iterable[Pair], legend: MaskReader, *, stored_first: bool = False, drop_unfitting: bool = False
) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """The pairs with the orientations to read them by, after a look at every header, and remarks on pictures with an
    EXIF orientation.

    Raises `DataError` that names the file for what is no picture, a mask that `legend` cannot read, and sizes that fit
    in no orientation; with `drop_unfitting` those are left out and said, unless none fits.
    """
    found, turns, either, unfitting = [], 0, 0, []
    for pair in pairs:
        size, (header, coloured) = picture_size(pair.image), legend.examine(pair.mask)
        own = (picture_orientation(pair.image), picture_orientation(pair.mask))
        fits = fitting(size, header[:2], own, stored_first=stored_first)
        if fits is None:
            unfitting.append(_unfitting(pair, size, header[:2], own))
            if not drop_unfitting:
                raise unfitting[0]
            continue
        found.append(replace(pair, orientations=fits[0], coloured=coloured))
        turns, either = turns + (own != (STORED, STORED)), either + fits[1]
    if unfitting and not found:
        raise unfitting[0]
    left_out = (f"Left out, {len(unfitting)} of another size than the mask: {unfitting[0].got}",) if unfitting else ()
    return tuple(found), (*left_out, *_turn_remarks(len(found), turns, either, stored_first))


def _turn_remarks(total: int, turns: int, either: int, stored_first: bool) -> tuple[str, ...]:
    """What to say where `turns` of `total` pairs have an EXIF orientation, of which `either` fit by more than one
    reading.
    """
    if not turns:
        return ()
    only = turns - either
    texts = [f"{only} read in the only way in which masks fit"] if only else []
    if either:
        texts.append(
            f"{either} read "
            + (
                "as stored, as classes.yaml asks, though masks fit as viewers show them too"
                if stored_first
                else (
                    "as viewers show them, though masks fit as stored too (orientation: stored in classes.yaml chooses"
                    " that)"
                )
            )
        )
    return (f"EXIF orientation in {turns} of {total} pictures: {', '.join(texts)}",)


def _by_stem(listing: Listing) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in listing.files:
        if path.stem in named:
            raise DataError(
                f"{named[path.stem]} and {path.name} have the same name",
                "one picture per name",
                "Remove or rename one of them",
            )
        named[path.stem] = path
    return named


def _check_partners(files: dict[str, Path], listing: Listing, partners: dict[str, Path], noun: str) -> None:
    alone = [path for stem, path in files.items() if stem not in partners]
    if alone:
        more = f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""
        passed_over = skipped_text([listing])
        raise DataError(
            f"{alone[0]} has no {noun} in {listing.folder}{more}"
            + (f"; skipped there: {passed_over}" if passed_over else ""),
            "pictures and masks with the same names, masks as PNG",
            f"Add the {noun} or remove the file",
        )


def _unfitting(
    pair: Pair,
    image: tuple[int, ...],
    mask: tuple[int, ...],
    orientations: tuple[int, int],
    file: Path | None = None,
) -> DataError:
    texts = []
    for size, orientation in zip((image, mask), orientations, strict=True):
        height, width = shown_size((size[0], size[1]), orientation)
        shown = (
            f" (as viewers show it, by its EXIF orientation {orientation}, {width} x {height})"
            if orientation != STORED
            else ""
        )
        texts.append(f"{size[1]} x {size[0]}{shown}")
    return DataError(
        f"{pair.image} is {texts[0]} and its mask {file or pair.mask} is {texts[1]}",
        "a mask of the picture's size",
        "Export the mask at the picture's size (nearest neighbour)",
    )
