"""What was looked at: every view on which somebody has settled, in a table of the home folder."""

from __future__ import annotations

import time
from typing import NamedTuple

from fusionlib.errors import WriteError, clipped, printable
from fusionlib.runs.database import Database
from fusionlib.runs.links import checked

MOST = 2000
"""Views that are kept; of more the ones seen longest ago go first, those with a star last."""

DELETED = 100
"""Deleted views that can still be had back."""

NAME, FIGURE, NOTE = 200, 80, 2000
"""Characters of each text."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS history (
    link TEXT PRIMARY KEY, name TEXT NOT NULL, figure TEXT NOT NULL, seen REAL NOT NULL,
    star INTEGER NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT '', deleted REAL
);
"""

_SEEN = """
INSERT INTO history (link, name, figure, seen) VALUES (?, ?, ?, ?) ON CONFLICT (link) DO UPDATE SET
    name = excluded.name, seen = excluded.seen, deleted = NULL,
    figure = CASE excluded.figure WHEN '' THEN figure ELSE excluded.figure END
"""
_BEYOND = "DELETE FROM history WHERE link IN (SELECT link FROM history WHERE {} LIMIT -1 OFFSET ?)"
_COLUMNS = "link, name, figure, seen, star, note"


class Tried(NamedTuple):
    """A view: its link, a name made of its parts, the figure that was known, when it was seen last."""

    link: str
    name: str
    figure: str
    seen: float
    star: bool
    note: str


class History:
    """The views of a home folder, newest first; one of each link."""

    def __init__(self, database: Database, most: int = MOST) -> None:
        self.database, self.most = database, most

    def seen(self, link: str, name: str, figure: str = "") -> None:
        """Keep a view. Star and note of the same link stay; a figure stays until another is known.

        Raises `UsageError` for what is no link of a view.
        """
        row = (checked(link), _line(name, NAME), _line(figure, FIGURE), time.time())
        self.database.write(_SEEN, [row], counted=False)
        self.database.change(_BEYOND.format("deleted IS NULL ORDER BY star DESC, seen DESC"), (self.most,))

    def listed(self, search: str = "", *, starred: bool = False) -> list[Tried]:
        """Views whose name, figure, note or link has all the words of `search`."""
        rows = self.database.read(f"SELECT {_COLUMNS} FROM history WHERE deleted IS NULL ORDER BY seen DESC")
        words = search.casefold().split()
        # What could not be written yet comes first, and counts in place of what the file has.
        views = {row[0]: Tried(row[0], row[1], row[2], row[3], bool(row[4]), row[5]) for row in reversed(rows)}
        newest = sorted(views.values(), key=lambda one: one.seen, reverse=True)
        return [one for one in newest if _fits(one, words) and (one.star or not starred)]

    def star(self, link: str, on: bool) -> None:
        """Mark a view, or no longer."""
        self._change("UPDATE history SET star = ? WHERE link = ?", (int(on), link))

    def annotate(self, link: str, note: str) -> None:
        """Put a note beside a view, in place of what was there."""
        self._change("UPDATE history SET note = ? WHERE link = ?", (clipped(printable_lines(note), NOTE), link))

    def delete(self, link: str) -> None:
        """Take a view off the list; `undo` has it back."""
        self._change("UPDATE history SET deleted = ? WHERE link = ? AND deleted IS NULL", (time.time(), link))
        self.database.change(_BEYOND.format("deleted IS NOT NULL ORDER BY deleted DESC"), (DELETED,))

    def last_deleted(self) -> str | None:
        """The name of what `undo` would have back; None where there is nothing."""
        rows = self.database.read("SELECT name FROM history WHERE deleted IS NOT NULL ORDER BY deleted DESC LIMIT 1")
        return rows[0][0] if rows else None

    def undo(self) -> None:
        """Have back what was deleted last."""
        newest = "SELECT link FROM history WHERE deleted IS NOT NULL ORDER BY deleted DESC LIMIT 1"
        self._change(f"UPDATE history SET deleted = NULL WHERE link = ({newest})", ())

    def _change(self, statement: str, values: tuple) -> None:
        if self.database.change(statement, values) is None:
            raise not_kept("history", self.database)


def printable_lines(text: str) -> str:
    """`text` with line breaks and nothing else that is not printable."""
    return "\n".join(printable(line) for line in text.splitlines())


def not_kept(what: str, database: Database) -> WriteError:
    """Why a change of the home folder's tables failed."""
    return WriteError(
        f"The {what} in {database.path} cannot be written",
        "a home folder that can be written",
        "Make room there, or start with --home and another folder",
    )


def _line(text: str, limit: int) -> str:
    return clipped(printable(" ".join(text.split())), limit)


def _fits(one: Tried, words: list[str]) -> bool:
    text = f"{one.name} {one.figure} {one.note} {one.link}".casefold()
    return all(word in text for word in words)
