"""A story: views in the order in which they are presented, with titles and notes."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from fusionlib.errors import UsageError, clipped, printable, shown
from fusionlib.runs.database import Database
from fusionlib.runs.history import not_kept, printable_lines
from fusionlib.runs.links import checked

STEPS, TITLE, NOTE = 100, 120, 2000
"""The most steps of a story, and characters of a title and of a note."""

FILE_BYTES = 1 << 20
"""The largest file that is imported."""

FORMAT, FORMAT_VERSION = "merge-explorer-story", 1

VERSIONS = 100
"""Changes that can be undone."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS story (
    id INTEGER PRIMARY KEY AUTOINCREMENT, steps TEXT NOT NULL, what TEXT NOT NULL, created REAL NOT NULL
);
"""

_NEXT = "INSERT INTO story (steps, what, created) SELECT ?, ?, ? WHERE (SELECT coalesce(max(id), 0) FROM story) = ?"


@dataclass(frozen=True)
class Step:
    """One view of a story. Raises `UsageError` where its link is none of this app, or a text is too long."""

    link: str
    title: str
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "link", checked(self.link))
        for name, text, most in (("title", self.title, TITLE), ("note", self.note, NOTE)):
            if not isinstance(text, str) or len(text) > most:
                raise UsageError(f"{name} {shown(text)}", f"a text of at most {most} characters", f"Shorten the {name}")
        object.__setattr__(self, "title", clipped(printable(" ".join(self.title.split())), TITLE))
        object.__setattr__(self, "note", clipped(printable_lines(self.note), NOTE))


class Told(NamedTuple):
    """The story as it is: its version, its steps, and what the last change was; empty where there was none."""

    version: int
    steps: tuple[Step, ...]
    what: str


class Story:
    """The story of a home folder. Every change is a version of its own, so that each can be undone.

    Changes name the version that they were made on: one that somebody else has changed since is left as it is, with a
    `UsageError`.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def read(self) -> Told:
        """The newest version, without the steps of it that cannot be read."""
        rows = self.database.read("SELECT id, steps, what FROM story ORDER BY id DESC LIMIT 1")
        if not rows:
            return Told(0, (), "")
        version, text, what = max(rows)
        try:
            return Told(version, _readable(json.loads(text)), what)
        except (ValueError, RecursionError):
            return Told(version, (), what)

    def add(self, step: Step) -> None:
        """Put a step at the end."""
        told = self.read()
        self._put(told.version, (*told.steps, step), f"added {step.title}")

    def edit(self, version: int, place: int, title: str, note: str) -> None:
        """Other words for a step."""
        steps = self._at(version, place)
        steps[place] = Step(steps[place].link, title, note)
        self._put(version, steps, f"edited {steps[place].title}")

    def move(self, version: int, place: int, by: int) -> None:
        """Move a step by so many places; it stays within the story."""
        steps = self._at(version, place)
        step = steps.pop(place)
        steps.insert(min(len(steps), max(0, place + by)), step)
        self._put(version, steps, f"moved {step.title}")

    def remove(self, version: int, place: int) -> None:
        """Take a step out."""
        steps = self._at(version, place)
        step = steps.pop(place)
        self._put(version, steps, f"removed {step.title}")

    def take(self, version: int, data: bytes) -> None:
        """An exported story in place of this one. Raises `UsageError` where the file is none."""
        self._put(version, imported(data), "imported a story")

    def undo(self, version: int) -> None:
        """Go back to what was before the last change."""
        if (
            self.database.change("DELETE FROM story WHERE id = ? AND id = (SELECT max(id) FROM story)", (version,))
            is None
        ):
            raise not_kept("story", self.database)

    def _at(self, version: int, place: int) -> list[Step]:
        told = self.read()
        if told.version != version:
            raise _changed()
        if not 0 <= place < len(told.steps):
            raise UsageError(f"Step {place + 1}", f"one of {len(told.steps)}", "Look at the story again")
        return list(told.steps)

    def _put(self, version: int, steps: Sequence[Step], what: str) -> None:
        if len(steps) > STEPS:
            raise UsageError(f"{len(steps)} steps", f"at most {STEPS}", "Remove some")
        text = json.dumps([asdict(step) for step in steps])
        changed = self.database.change(_NEXT, (text, what, time.time(), version))
        if changed is None:
            raise not_kept("story", self.database)
        if not changed:
            raise _changed()
        self.database.change("DELETE FROM story WHERE id <= (SELECT max(id) FROM story) - ?", (VERSIONS,))


def _changed() -> UsageError:
    return UsageError("The story was changed elsewhere", "the newest version of it", "Look at it again")


def exported(steps: Sequence[Step]) -> str:
    """A story as JSON, which `imported` reads."""
    return json.dumps(
        {"format": FORMAT, "version": FORMAT_VERSION, "steps": [asdict(step) for step in steps]}, indent=1
    )


def imported(data: bytes) -> tuple[Step, ...]:
    """The steps of an exported story. Raises `UsageError` that names what is wrong, whatever the file holds."""
    if len(data) > FILE_BYTES:
        raise UsageError(f"A story of {len(data)} bytes", f"at most {FILE_BYTES}", "Choose an exported story")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise UsageError("A file that is no JSON", "an exported story", "Choose another file") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("version") != FORMAT_VERSION:
        raise UsageError(
            "JSON that is no story", f'"format": "{FORMAT}", "version": {FORMAT_VERSION}', "Choose an exported story"
        )
    return _steps(found.get("steps"))


def _steps(found: Any) -> tuple[Step, ...]:
    if not isinstance(found, list) or len(found) > STEPS:
        raise UsageError(f"Steps {shown(found)}", f"a list of at most {STEPS} steps", "Choose an exported story")
    return tuple(_step(number, one) for number, one in enumerate(found, 1))


def _readable(found: Any) -> tuple[Step, ...]:
    """Those that are steps: one that is none takes no other along."""
    steps = []
    for number, one in enumerate(found[:STEPS] if isinstance(found, list) else (), 1):
        with suppress(UsageError):
            steps.append(_step(number, one))
    return tuple(steps)


def _step(number: int, found: Any) -> Step:
    if not isinstance(found, dict) or not {"link", "title"} <= set(found) <= {"link", "title", "note"}:
        raise UsageError(f"Step {number}: {shown(found)}", "link, title and note", "Correct the file")
    try:
        return Step(**found)
    except UsageError as error:
        raise UsageError(f"Step {number}: {error.got}", error.needs, "Correct the file") from error
