"""States of pictures that follow from label maps which are kept: derived once, and kept in the table of states."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusionlib.contracts import Progress, State
from fusionlib.data.cache import DecodedCache
from fusionlib.errors import DataError
from fusionlib.measures import boundary, transitions
from fusionlib.measures.boundary import boundary_counts
from fusionlib.measures.oracle import oracle
from fusionlib.measures.states import MAP
from fusionlib.measures.transitions import Strata, joint_of, pack_joint, strata_of, unpack_joint
from fusionlib.question import Question
from fusionlib.recipe import Recipe
from fusionlib.runs.answers import Subject, short
from fusionlib.runs.runner import Runner

DERIVED = {"transitions": transitions.VERSION, "boundary": boundary.VERSION}
"""Names in the table of states, beside those of the measures, with their versions."""

LABELS = "labels"
TOGETHER = 16
"""Pictures whose states are written in one go."""

Make = Callable[[Strata, Sequence[np.ndarray], int], bytes]
Read = Callable[[object, int], Any]


@dataclass(frozen=True)
class Derivation:
    """What is derived of each picture from the label maps of `recipes`, in this order; `make` packs and `read` unpacks
    it, both told how many classes there are.
    """

    name: str
    recipes: tuple[Recipe, ...]
    make: Make
    read: Read


def transitions_between(reference: Sequence[Recipe], merge: Recipe) -> Derivation:
    """A `Joint` per picture. Of several reference networks it is their oracle: the first one's labels, and the truth
    wherever any of them is right.
    """

    def make(strata: Strata, maps: Sequence[np.ndarray], classes: int) -> bytes:
        before = maps[0] if len(maps) == 2 else oracle(maps[:-1], strata.truth)
        return pack_joint(joint_of(strata, before, maps[-1], classes))

    return Derivation("transitions", (*reference, merge), make, unpack_joint)


def boundary_of(recipe: Recipe) -> Derivation:
    """(3, C) int64 per picture, see `boundary_counts`."""

    def make(strata: Strata, maps: Sequence[np.ndarray], classes: int) -> bytes:
        return zlib.compress(boundary_counts(strata.truth, maps[0], classes).astype("<i8").tobytes(), 9)

    return Derivation("boundary", (recipe,), make, _boundary)


def _boundary(data: object, classes: int) -> np.ndarray:
    """Counts of a picture. Raises `DataError` for bytes that hold none."""
    stream, size = zlib.decompressobj(), 3 * classes * 8
    body = b""
    if isinstance(data, bytes):
        with suppress(zlib.error):
            body = stream.decompress(data, size + 1)
    if len(body) != size or not stream.eof or stream.unused_data:
        raise DataError("Stored boundary counts of another form", "bytes that were written", "Derive them anew")
    counts = np.frombuffer(body, "<i8").reshape(3, classes).astype(np.int64)
    if bool((counts < 0).any()) or bool((counts[0] > counts[1:].min(0)).any()):
        raise DataError("Stored boundary counts that cannot be", "bytes that were written", "Derive them anew")
    return counts


class Derived:
    """Derives for whoever asks, and remembers in the tables of `runner`."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def known(self, wanted: Sequence[Derivation], pictures: DecodedCache) -> list[list[Any]] | None:
        """What each picture has, in order, by derivation; None where something of it is not there. Nothing runs."""
        found = [self._rows(one, pictures) for one in wanted]
        complete = all(len(rows) == len(set(_keys(pictures))) for rows in found)
        return [[rows[key] for key in _keys(pictures)] for rows in found] if complete else None

    def derive(
        self,
        wanted: Sequence[Derivation],
        pictures: DecodedCache,
        progress: Progress | None = None,
        *,
        fresh: bool = False,
    ) -> list[list[Any]]:
        """The same; what is not there is derived from label maps, which are measured again where they are gone.

        Progress is in forward passes for these, then in pictures; it may raise `Cancelled`: pictures that are finished
        by then are kept. With `fresh` what is there does not count.
        """
        found: list[dict[bytes, Any]] = [{} if fresh else self._rows(one, pictures) for one in wanted]
        keys = _keys(pictures)
        left = [index for index, key in enumerate(keys) if any(key not in rows for rows in found)]
        if left:
            lacking = [one for one, rows in zip(wanted, found, strict=True) if any(key not in rows for key in keys)]
            self._derive(wanted, found, left, self._maps(lacking, pictures, progress), pictures, progress)
        return [[rows[key] for key in keys] for rows in found]

    def _derive(
        self,
        wanted: Sequence[Derivation],
        found: Sequence[dict[bytes, Any]],
        left: Sequence[int],
        maps: Mapping[str, Sequence[State]],
        pictures: DecodedCache,
        progress: Progress | None,
    ) -> None:
        subjects, classes = [self._subject(one, pictures) for one in wanted], pictures.label_space.count
        rows: list[tuple[Subject, str, int, str, bytes, int]] = []
        try:
            for done, index in enumerate(left):
                if progress is not None:
                    progress(done, len(left))
                strata, key = strata_of(_truth(pictures, index)), pictures.picture_key(index)
                for one, subject, there in zip(wanted, subjects, found, strict=True):
                    if subject is not None and short(key) not in there:
                        seen = [maps[recipe.content][index][MAP].numpy() for recipe in one.recipes]
                        packed = one.make(strata, seen, classes)
                        there[short(key)] = one.read(packed, classes)
                        rows.append((subject, one.name, DERIVED[one.name], key, packed, 0))
                if len(rows) >= TOGETHER * len(wanted):
                    self.runner.answers.keep_states(rows)
                    rows = []
        finally:
            if rows:
                self.runner.answers.keep_states(rows)
        if progress is not None:
            progress(len(left), len(left))

    def _maps(
        self, wanted: Sequence[Derivation], pictures: DecodedCache, progress: Progress | None
    ) -> dict[str, Sequence[State]]:
        """Label maps of all networks that are looked at, by the recipe's content."""
        recipes = {recipe.content: recipe for one in wanted for recipe in one.recipes}
        asked = {content: Question((recipe,), pictures.fingerprint(), LABELS) for content, recipe in recipes.items()}
        return {
            content: self.runner.pictures(one, pictures) or self.runner.look_into(one, pictures, progress)
            for content, one in asked.items()
        }

    def _subject(self, one: Derivation, pictures: DecodedCache) -> Subject | None:
        return self.runner.subject(one.recipes, pictures)

    def _rows(self, one: Derivation, pictures: DecodedCache) -> dict[bytes, Any]:
        """What is there, by the picture's short key; what is damaged is forgotten."""
        subject = self._subject(one, pictures)
        if subject is None:
            return {}
        place = (subject, one.name, DERIVED[one.name])
        rows, found = self.runner.answers.states(*place, _keys(pictures)), {}
        for key, (packed, _) in rows.items():
            with suppress(DataError):
                found[key] = one.read(packed, pictures.label_space.count)
        if damaged := rows.keys() - found.keys():
            self.runner.answers.drop_states(*place, damaged)
        return found


def _keys(pictures: DecodedCache) -> list[bytes]:
    return [short(pictures.picture_key(index)) for index in range(len(pictures))]


def _truth(pictures: DecodedCache, index: int) -> np.ndarray:
    """The annotation at full size. Raises `DataError` where there is none."""
    truth = pictures.load(index, whole=True).truth
    if truth is None:
        raise DataError(f"{pictures.name(index)} has no mask", "labelled pictures", "Choose data with masks")
    return truth
