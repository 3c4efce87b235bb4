"""Several datasets as one, their pictures one after the other."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from fusionlib.contracts import Dataset, Sample
from fusionlib.errors import UsageError


class Joined:
    """Pictures of all `parts` in their order. Raises `UsageError` where their classes are not the same ones."""

    def __init__(self, parts: Sequence[Dataset]) -> None:
        self.parts = tuple(parts)
        first = self.parts[0]
        for one in self.parts[1:]:
            if one.label_space.names != first.label_space.names:
                raise UsageError(
                    f"{first.spec} has the classes of {first.label_space.title}, {one.spec} those of"
                    f" {one.label_space.title}",
                    "data of the same classes",
                    f"Add @as:{first.label_space.name} to the other spec",
                )
        self.spec = " + ".join(one.spec for one in self.parts)
        self.title = " + ".join(one.title for one in self.parts)
        self.label_space, self.labelled = first.label_space, all(one.labelled for one in self.parts)
        self._ends = list(accumulate(len(one) for one in self.parts))

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of all parts."""
        return tuple(dict.fromkeys(note for one in self.parts for note in one.notes))

    def __len__(self) -> int:
        return self._ends[-1]

    def name(self, index: int) -> str:
        """The part's name of it."""
        part, place = self._place(index)
        return part.name(place)

    def load(self, index: int, whole: bool = False) -> Sample:
        """The part's own picture. Raises `DataError` that names the file."""
        part, place = self._place(index)
        return part.load(place, whole)

    def fingerprint(self) -> str:
        """Of all parts in their order."""
        return hashlib.sha256(" ".join(one.fingerprint() for one in self.parts).encode()).hexdigest()

    def picture_key(self, index: int) -> str:
        """The part's own."""
        part, place = self._place(index)
        return part.picture_key(place)

    def group(self, index: int) -> str:
        """The part's own."""
        part, place = self._place(index)
        return part.group(place)

    def _place(self, index: int) -> tuple[Dataset, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        number = bisect_right(self._ends, index)
        return self.parts[number], index - (self._ends[number - 1] if number else 0)


def joined(parts: Sequence[Dataset]) -> Dataset:
    """The parts as one dataset; a single one as it is."""
    return parts[0] if len(parts) == 1 else Joined(parts)
