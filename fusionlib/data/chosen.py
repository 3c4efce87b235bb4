"""Some pictures of a dataset, as a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fusionlib.contracts import Sample
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import LabelSpace


class Chosen:
    """Pictures of these numbers, in this order, of a dataset which stays the one that keeps what is decoded."""

    def __init__(self, dataset: DecodedCache, places: Sequence[int]) -> None:
        self.dataset, self.places = dataset, tuple(places)
        self.spec, self.labelled, self.notes = dataset.spec, dataset.labelled, dataset.notes
        self.title = f"{dataset.title}, {len(self.places)} of its pictures"
        self.label_space: LabelSpace = dataset.label_space

    def __len__(self) -> int:
        return len(self.places)

    def name(self, index: int) -> str:
        """The dataset's name of it."""
        return self.dataset.name(self.places[index])

    def load(self, index: int, whole: bool = False) -> Sample:
        """The dataset's own picture. Raises `DataError` that names the file."""
        return self.dataset.load(self.places[index], whole)

    def fingerprint(self) -> str:
        """Of the whole dataset, read anew, and the numbers."""
        return hashlib.sha256(f"{self.dataset.dataset.fingerprint()} chosen {self.places}".encode()).hexdigest()

    def picture_key(self, index: int) -> str:
        """The dataset's own."""
        return self.dataset.picture_key(self.places[index])

    def group(self, index: int) -> str:
        """The dataset's own."""
        return self.dataset.group(self.places[index])


def chosen(pictures: DecodedCache, places: Sequence[int]) -> DecodedCache:
    """Some of the pictures, to be measured by themselves; what is decoded stays in `pictures`."""
    return DecodedCache(Chosen(pictures, places), 0, tiles=pictures.tiles)
