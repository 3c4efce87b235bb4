"""What is asked about single pictures, and what the tables know of it: states, and maps with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch

from fusionlib.contracts import MapMeasure, Measure, State
from fusionlib.data.cache import DecodedCache
from fusionlib.errors import DataError
from fusionlib.measures import states
from fusionlib.question import Question
from fusionlib.runs.answers import Answers, Remembered, Subject, short
from fusionlib.runs.mapped import MappedStates, is_whole
from fusionlib.runs.maps import Owner

CPU = torch.device("cpu")

Seen = dict[tuple[Owner, bytes], bytes]
"""Packed maps, by whose they are and the picture's short key."""


@dataclass(frozen=True)
class Asked:
    """A question with what it was found to be about; labels count as one of `classes`."""

    question: Question
    measure: Measure
    subject: Subject
    merges: tuple[Remembered, ...]
    classes: int

    @property
    def name(self) -> str:
        return self.question.measure

    @property
    def place(self) -> tuple[Subject, str, int]:
        """Where its answer lies."""
        return self.subject, self.question.measure, self.measure.version

    @property
    def maps(self) -> Owner | None:
        """Under what its maps lie, of a measure that keeps maps."""
        if not isinstance(self.measure, MapMeasure):
            return None
        return Owner(short(self.subject.key), self.name, self.measure.version)

    def states_of(self, rows: Mapping[bytes, tuple[bytes, int]]) -> dict[bytes, State]:
        """States by picture, without those that are none of this measure: somebody has damaged them."""
        like = self.measure.init(self.classes, CPU, len(self.subject.builds))
        found = {}
        for picture, (packed, tiles) in rows.items():
            if isinstance(packed, bytes) and isinstance(tiles, int):
                with suppress(DataError):
                    found[picture] = states.unpack(packed, like)
        return found


class Picturewise:
    """States and maps of single pictures in the tables of `answers`. What is damaged there is forgotten."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers

    def states(self, one: Asked, pictures: DecodedCache, indices: Sequence[int]) -> list[tuple[State, int]] | None:
        """States of pictures in their order, each with its number of tiles; None where one is missing, or damaged,
        which is then forgotten.
        """
        keys = [short(pictures.picture_key(index)) for index in indices]
        rows = self.answers.states(*one.place, keys)
        there = one.states_of(rows)
        if damaged := rows.keys() - there.keys():
            self.answers.drop_states(*one.place, damaged)
        return [(there[key], rows[key][1]) for key in keys] if there.keys() >= set(keys) else None

    def whole(
        self,
        one: Asked,
        pictures: DecodedCache,
        indices: Sequence[int] | None,
        seen: Seen,
    ) -> Sequence[State] | None:
        """States with their maps: those `seen` a moment ago, or those of the tables."""
        chosen = range(len(pictures)) if indices is None else indices
        found = self.states(one, pictures, chosen)
        if found is None or one.maps is None:
            return None if found is None else [state for state, _ in found]
        keys = [short(pictures.picture_key(index)) for index in chosen]
        packed = {key: seen[one.maps, key] for key in keys if (one.maps, key) in seen}
        if left := [index for index, key in zip(chosen, keys, strict=True) if key not in packed]:
            packed |= self.maps(one, pictures, left)
        if not packed.keys() >= set(keys):
            return None
        sizes = [pictures.size(index) for index in chosen]
        return MappedStates([state for state, _ in found], [packed[key] for key in keys], sizes)

    def maps(self, one: Asked, pictures: DecodedCache, indices: Sequence[int]) -> dict[bytes, bytes]:
        """Packed maps of those of these pictures that have one, by short key; a damaged one is forgotten."""
        assert one.maps is not None
        places = {short(pictures.picture_key(index)): index for index in indices}
        rows = self.answers.maps.find(one.maps, places)
        sums = one.states_of(self.answers.states(*one.place, rows))
        whole = {
            key: packed
            for key, packed in rows.items()
            if key in sums and is_whole(packed, pictures.size(places[key]), sums[key]["pixels"])
        }
        self.answers.maps.drop(one.maps, rows.keys() - whole.keys())
        return whole

    def unmapped(self, one: Asked, pictures: DecodedCache) -> bool:
        """Whether a map is missing that the measure would keep."""
        if one.maps is None:
            return False
        there = self.answers.maps.pictures(one.maps)
        return any(short(pictures.picture_key(index)) not in there for index in range(len(pictures)))


class Rows:
    """States of pictures on their way into the tables, those of all measures of a picture together.

    With `seen`, by whose they are and the picture's short key, maps are remembered there too: the tables may have no
    room for all.
    """

    def __init__(self, answers: Answers, seen: Seen | None = None) -> None:
        self._answers, self._seen, self._rows = answers, seen, []
        self._maps: list[tuple[Owner, bytes, bytes]] = []

    def add(self, row: tuple) -> None:
        self._rows.append(row)

    def add_map(self, owner: Owner, picture: bytes, packed: bytes) -> None:
        self._maps.append((owner, picture, packed))
        if self._seen is not None:
            self._seen[owner, picture] = packed

    def flush(self) -> None:
        if self._maps:
            self._answers.maps.keep(self._maps)
        if self._rows:
            self._answers.keep_states(self._rows)
        self._rows, self._maps = [], []
