"""What every list of checkpoints says of each: its name, its own score on the data that is shown, role and source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.recipes import recipe_alone
from fusionlib.errors import FusionError
from fusionlib.recipe import Recipe
from fusionlib.runs.runner import Runner
from fusionlib.studio.workspace import Item

HASHED_AT_ONCE = 64 << 20
"""Bytes of files that nobody has hashed yet, read for one look: what is stored goes by the content of a file."""


@dataclass(frozen=True)
class Row:
    """One line of a list; `miou` is a fraction, None where it is not known. `given` is demo, upload or file."""

    name: str
    given: str
    role: str = ""
    miou: float | None = None

    @property
    def text(self) -> str:
        """The line as one short text."""
        score = "" if self.miou is None else f"{100 * self.miou:.1f} %"
        return " · ".join(filter(None, (self.name, score, self.role, self.given)))


class Rows:
    """Lines with scores out of stored answers; nothing is measured for them."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._alone: dict[tuple[str, str], Recipe] = {}

    def of(self, items: Iterable[Item], pictures: DecodedCache | None) -> tuple[Row, ...]:
        """A line for each, with its score on `pictures` where those are labelled and it is stored."""
        listed = tuple(items)
        scores = self._scores(listed, pictures) if pictures is not None and pictures.labelled else {}
        return tuple(Row(item.name, item.given, item.made.role, scores.get(item.name)) for item in listed)

    def _scores(self, items: Sequence[Item], pictures: DecodedCache) -> dict[str, float]:
        wanted = {item.name: item.checkpoint for item in items if item.checkpoint is not None and item.known}
        found: dict[str, float] = {}
        with suppress(FusionError):  # a file that is no longer the one that was opened: whoever uses it says so
            asked = _hashed(wanted)
            self._runner.builder.merger.sources.know([checkpoint for _, checkpoint in asked])
            for name, checkpoint in asked:
                if (miou := self._score(checkpoint, pictures)) is not None:
                    found[name] = miou
        return found

    def _score(self, checkpoint: Checkpoint, pictures: DecodedCache) -> float | None:
        key = (str(checkpoint.path), checkpoint.fingerprint)
        recipe = self._alone.setdefault(key, recipe_alone(checkpoint))
        with suppress(FusionError):  # classes that do not fit these pictures
            (figures,) = self._runner.recall([recipe], pictures, ("confusion",))
            return None if figures is None else figures["miou"]
        return None


def row_texts(rows: Iterable[Row]) -> dict[str, str]:
    """The texts of lines by name, no two alike: a browser knows an option by its text."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for row in rows:
        text, number = row.text, 2
        while text in taken:
            text, number = f"{row.text} ({number})", number + 1
        taken.add(text)
        found[row.name] = text
    return found


def _hashed(wanted: dict[str, Checkpoint]) -> list[tuple[str, Checkpoint]]:
    """Those whose content is known, and some more that are quickly read."""
    room, found = HASHED_AT_ONCE, []
    for name, checkpoint in wanted.items():
        if not checkpoint.hashed:
            room -= checkpoint.size_bytes
        if checkpoint.hashed or room >= 0:
            found.append((name, checkpoint))
    return found
