"""Pictures with masks in files: what the datasets that consist of folders have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusionlib.contracts import IGNORE, Sample
from fusionlib.data.files import (
    PICTURE_SUFFIXES,
    WHOLE_PIXELS,
    fingerprint_files,
    list_files,
    mask_size,
    picture_size,
    read_mask,
    read_picture,
    reduced_mask,
    reduction,
)
from fusionlib.data.labels import LabelSpace
from fusionlib.errors import DataError

UNKNOWN = -1
"""Entry of an id table: no class, not void, hence an error in the mask."""


def id_table(ids: list[int] | range, ignore: list[int]) -> np.ndarray:
    """(256,) int16: label of each id in a mask. `ids[k]` becomes k, ignored ids `IGNORE`, all others `UNKNOWN`."""
    table = np.full(256, UNKNOWN, np.int16)
    table[ignore] = IGNORE
    table[list(ids)] = np.arange(len(ids))
    return table


@dataclass(frozen=True)
class Pair:
    """One picture and its mask."""

    image: Path
    mask: Path


@dataclass(eq=False)
class PairedDataset:
    """Labelled pictures in files: `table` (256,) turns the ids in the masks into labels."""

    spec: str
    title: str
    label_space: LabelSpace
    pairs: tuple[Pair, ...]
    table: np.ndarray
    labelled: bool = True

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        """File name without suffix."""
        return self.pairs[index].image.stem

    def load(self, index: int, whole: bool = False) -> Sample:
        """Read picture and mask, very large ones reduced unless `whole`.

        Raises `DataError` that names the file, and the ids that the mask must not have, wherever they are.
        """
        pair = self.pairs[index]
        scale = 1 if whole else reduction(*picture_size(pair.image))
        image, ids = read_picture(pair.image, scale=scale), read_mask(pair.mask)
        self._check_ids(pair, ids)
        ids = ids if scale == 1 else reduced_mask(ids, scale)
        _check_sizes(pair, image.shape[:2], ids.shape)
        return Sample(self.name(index), image, self.table.astype(np.uint8)[ids], scale)

    def _check_ids(self, pair: Pair, ids: np.ndarray) -> None:
        counts = np.zeros(256, np.int64)
        for rows in np.array_split(ids, -(-ids.size // WHOLE_PIXELS)):  # counting takes eight bytes a pixel
            counts += np.bincount(rows.reshape(-1), minlength=256)
        present = np.flatnonzero(counts)
        unknown = present[self.table[present] == UNKNOWN]
        if len(unknown):
            raise DataError(f"{pair.mask} has unknown ids {', '.join(map(str, unknown))}", self._known_ids(),
                            "Correct the mask or declare its ids")

    def fingerprint(self) -> str:
        """SHA-256 of label space, id table, file names and file contents."""
        files = [(f"{kind}/{path.name}", path) for pair in self.pairs
                 for kind, path in (("image", pair.image), ("mask", pair.mask))]
        return fingerprint_files(f"{self.label_space.names} {self.table.tolist()}", files)

    def _known_ids(self) -> str:
        void = np.flatnonzero(self.table == IGNORE).tolist()
        ids = [int(np.flatnonzero(self.table == label)[0]) for label in range(self.label_space.count)]
        listed = f"0 to {len(ids) - 1}" if ids == list(range(len(ids))) else ", ".join(map(str, ids))
        return f"ids {listed} for classes, {', '.join(map(str, void)) or 'none'} for void"


def find_pairs(images: Path, masks: Path) -> tuple[Pair, ...]:
    """Pair the files of two folders by name without suffix, and compare their sizes by header.

    Raises `DataError` for a missing folder, no pictures, a partner missing on either side, a mask that is no picture of
    ids, and sizes that differ; the file is named.
    """
    for folder in (images, masks):
        if not folder.is_dir():
            raise DataError(f"No folder {folder}", f"pictures in {images.name}/ and masks in {masks.name}/",
                            "Create it or correct the path and split")
    pictures, answers = _by_stem(list_files(images)), _by_stem(list_files(masks, (".png",)))
    if not pictures:
        raise DataError(f"No pictures in {images}", f"files {', '.join(PICTURE_SUFFIXES)}", "Correct the path")
    _check_partners(pictures, masks, answers, "mask")
    _check_partners(answers, images, pictures, "picture")
    pairs = tuple(Pair(pictures[stem], answers[stem]) for stem in pictures)
    for pair in pairs:
        _check_sizes(pair, picture_size(pair.image), mask_size(pair.mask))
    return pairs


def _by_stem(files: list[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in files:
        if path.stem in named:
            raise DataError(f"{named[path.stem]} and {path.name} have the same name", "one picture per name",
                            "Remove or rename one of them")
        named[path.stem] = path
    return named


def _check_partners(files: dict[str, Path], folder: Path, partners: dict[str, Path], noun: str) -> None:
    alone = [path for stem, path in files.items() if stem not in partners]
    if alone:
        more = f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""
        raise DataError(f"{alone[0]} has no {noun} in {folder}{more}", "pictures and masks with the same names",
                        f"Add the {noun} or remove the file")


def _check_sizes(pair: Pair, image: tuple[int, ...], mask: tuple[int, ...]) -> None:
    if image != mask:
        raise DataError(f"{pair.image} is {image[1]} x {image[0]} and its mask {pair.mask} is {mask[1]} x {mask[0]}",
                        "a mask of the picture's size", "Export the mask at the picture's size (nearest neighbour)")
