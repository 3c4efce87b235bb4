"""One split as two: to fit on one half of the pictures and report on the other."""

from __future__ import annotations

import hashlib

from fusionlib.contracts import Sample
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import LabelSpace
from fusionlib.errors import DataError


class EveryOther:
    """Pictures `start`, `start + 2`, ... of a dataset, which stays the one that keeps what is decoded."""

    def __init__(self, dataset: DecodedCache, start: int) -> None:
        self.dataset, self.start = dataset, start
        self.spec, self.labelled, self.notes = dataset.spec, dataset.labelled, dataset.notes
        self.title = f"{dataset.title}, every other picture from number {start + 1}"
        self.label_space: LabelSpace = dataset.label_space

    def __len__(self) -> int:
        return (len(self.dataset) - self.start + 1) // 2

    def name(self, index: int) -> str:
        """The dataset's name of it."""
        return self.dataset.name(self._place(index))

    def load(self, index: int, whole: bool = False) -> Sample:
        """The dataset's own picture. Raises `DataError` that names the file."""
        return self.dataset.load(self._place(index), whole)

    def fingerprint(self) -> str:
        """Of the whole dataset, read anew, and the half."""
        return hashlib.sha256(
            f"{self.dataset.dataset.fingerprint()} every other from {self.start}".encode()
        ).hexdigest()

    def picture_key(self, index: int) -> str:
        """The dataset's own."""
        return self.dataset.picture_key(self._place(index))

    def group(self, index: int) -> str:
        """The dataset's own."""
        return self.dataset.group(self._place(index))

    def _place(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        return self.start + 2 * index


def halves(pictures: DecodedCache) -> tuple[DecodedCache, DecodedCache]:
    """Pictures 1, 3, 5, ... and pictures 2, 4, 6, ...; what is decoded stays in `pictures`. Raises `DataError` for
    fewer than two.

    No picture is in both, but neighbours of a video are nearly the same picture: figures on one half then still flatter
    a fit on the other.
    """
    if len(pictures) < 2:
        raise DataError(f"{pictures.title} has {len(pictures)} picture", "two or more to halve", "Choose other data")
    first, second = (DecodedCache(EveryOther(pictures, start), 0, tiles=pictures.tiles) for start in (0, 1))
    return first, second
