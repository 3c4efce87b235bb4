"""Some pictures of a dataset, as a dataset: the first ones, or a part of a seeded split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fusionlib.contracts import Dataset, Sample
from fusionlib.data.labels import LabelSpace


class Selected:
    """Pictures of these numbers, in this order; `says` tells the selection from others of the same dataset."""

    def __init__(self, dataset: Dataset, places: Sequence[int], title: str, says: str) -> None:
        self.dataset, self.places, self.says = dataset, places, says
        self.spec, self.title = dataset.spec, f"{dataset.title}, {title}"
        self.labelled, self.notes = dataset.labelled, dataset.notes
        self.label_space: LabelSpace = dataset.label_space

    def __len__(self) -> int:
        return len(self.places)

    def name(self, index: int) -> str:
        """The dataset's name of it."""
        return self.dataset.name(self._place(index))

    def load(self, index: int, whole: bool = False) -> Sample:
        """The dataset's own picture. Raises `DataError` that names the file."""
        return self.dataset.load(self._place(index), whole)

    def fingerprint(self) -> str:
        """Of the whole dataset and the selection."""
        return hashlib.sha256(f"{self.dataset.fingerprint()} {self.says}".encode()).hexdigest()

    def picture_key(self, index: int) -> str:
        """The dataset's own."""
        return self.dataset.picture_key(self._place(index))

    def group(self, index: int) -> str:
        """The dataset's own."""
        return self.dataset.group(self._place(index))

    def _place(self, index: int) -> int:
        if not 0 <= index < len(self.places):
            raise IndexError(f"picture {index} of {len(self.places)}")
        return self.places[index]


class First(Selected):
    """The first `limit` pictures of a dataset."""

    def __init__(self, dataset: Dataset, limit: int) -> None:
        super().__init__(dataset, range(limit), f"first {limit}", f"first {limit}")
        self.limit = limit


class Part(Selected):
    """Parts `first` to `last` of `of` equal ones, which have every picture once; in the dataset's order.

    Pictures are ranked by SHA-256 of the seed and their names, and the ranks are cut into `of` runs whose lengths
    differ by one at most: the same on every machine, whatever else is in the folder's order.
    """

    def __init__(self, dataset: Dataset, first: int, last: int, of: int, seed: int) -> None:
        ranked = _ranked(dataset, seed)
        places = sorted(ranked[(first - 1) * len(ranked) // of : last * len(ranked) // of])
        named = f"{first}/{of}" if first == last else f"{first}-{last}/{of}"
        super().__init__(dataset, places, f"part {named}, seed {seed}", f"part {places}")
        self.spec = f"{dataset.spec}@part:{named}:{seed}"
        inside = {dataset.group(place) for place in places}
        taken = set(places)
        cut = inside & {dataset.group(place) for place in range(len(dataset)) if place not in taken}
        if cut:
            self.notes = (
                *dataset.notes,
                f"The part cuts through {len(cut)} of {len(inside)} groups: neighbours of its pictures are in other"
                " parts, so figures on one flatter what was chosen on another",
            )


def _ranked(dataset: Dataset, seed: int) -> list[int]:
    keys = [
        hashlib.sha256(f"{seed} {dataset.name(index)}".encode("utf-8", "surrogateescape")).digest()
        for index in range(len(dataset))
    ]
    return sorted(range(len(dataset)), key=lambda index: (keys[index], index))
