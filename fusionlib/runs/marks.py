"""Regions that people have marked in pictures, with what they wrote of them, by content of data and picture."""

from __future__ import annotations

import math
import re
import secrets
import time
from collections.abc import Collection
from dataclasses import asdict, astuple, dataclass, fields, replace
from typing import Any

from fusionlib.errors import UsageError, clipped, shown
from fusionlib.runs.database import Database
from fusionlib.runs.links import checked

MOST, MOST_OF_A_PICTURE = 10_000, 200
"""Marks that are kept in all, and of one picture."""

NOTE, VIEW, NAME = 500, 4000, 200
"""Characters of a note, of a link and of a picture's name."""

SHAPES = ("rectangle", "ellipse")
REMOVED_SECONDS = 24 * 3600
"""How long a removed mark can be brought back."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS marks (
    id TEXT PRIMARY KEY, data TEXT NOT NULL, spec TEXT NOT NULL, picture TEXT NOT NULL, name TEXT NOT NULL,
    shape TEXT NOT NULL, x REAL NOT NULL, y REAL NOT NULL, width REAL NOT NULL, height REAL NOT NULL,
    note TEXT NOT NULL, view TEXT NOT NULL, created REAL NOT NULL, removed REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS marks_of_picture ON marks (picture);
"""

_ADDRESS = re.compile(r"[!$&-;=?-Z_a-z~%]*")  # characters that stand in an address as they are
_CORNER = 1e-6  # what rounding may put beyond the edge


@dataclass(frozen=True)
class Place:
    """Whose picture is marked: the data's fingerprint and how it is called, the picture's content key and its name."""

    data: str
    spec: str
    picture: str
    name: str


@dataclass(frozen=True)
class Marked:
    """A marked region: `shape` fills the box (`x`, `y`, `width`, `height`), in fractions of the picture's width and
    height from its upper left corner. `view` is the link of what was looked at, relative; empty for none. Seconds since
    1970; `removed` is 0 for what is there.
    """

    id: str
    data: str
    spec: str
    picture: str
    name: str
    shape: str
    x: float
    y: float
    width: float
    height: float
    note: str
    view: str
    created: float
    removed: float = 0.0

    @property
    def share(self) -> float:
        """The part of the picture's area that is marked, as a fraction."""
        return self.width * self.height * (math.pi / 4 if self.shape == "ellipse" else 1)

    def listed(self) -> dict[str, Any]:
        """As a JSON value."""
        return {name: value for name, value in asdict(self).items() if name != "removed"}


_NAMES = ", ".join(one.name for one in fields(Marked))


class Marks:
    """The marks of a home folder.

    Raises `UsageError` from whatever changes them, for what is no mark, or is not there.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_pictures(self, keys: Collection[str]) -> list[Marked]:
        """Those in pictures with these content keys, whichever data they were marked in; the oldest first."""
        if len(keys) == 1:
            return self._there("WHERE picture = ?", tuple(keys))
        wanted = frozenset(keys)
        return [one for one in self._there() if one.picture in wanted]

    def of_data(self, data: str) -> list[Marked]:
        """Those that were marked in data with this fingerprint; the oldest first."""
        return self._there("WHERE data = ?", (data,))

    def listed(self) -> list[Marked]:
        """All of them, the oldest first."""
        return self._there()

    def find(self, id: object, picture: str) -> Marked:
        """A mark of a picture. Raises `UsageError` where there is none."""
        for one in self.of_pictures([picture]):
            if one.id == id:
                return one
        raise UsageError(f"Mark {shown(id)}", "a mark of this picture that is not removed", "Load the picture again")

    def add(self, place: Place, shape: object, box: object, note: object, view: object = "") -> Marked:
        """Keep a new mark in the picture `place`, with the link of what is looked at, or none."""
        made = Marked(
            secrets.token_hex(8),
            place.data,
            place.spec,
            place.picture,
            clipped(_sound(place.name), NAME),
            _shape(shape),
            *_box(box),
            _note(note),
            _view(view),
            time.time(),
        )
        self._make_room(place.picture)
        return self._keep(made)

    def edit(self, id: object, picture: str, note: object) -> Marked:
        """Write another note to a mark."""
        return self._keep(replace(self.find(id, picture), note=_note(note)))

    def remove(self, id: object, picture: str) -> Marked:
        """Take a mark away; it can be brought back for a day."""
        return self._keep(replace(self.find(id, picture), removed=time.time()))

    def restore(self, id: object, picture: str) -> Marked:
        """Bring a mark back that was removed. Raises `UsageError` where the day is over, or too many are there."""
        for one in self._rows("WHERE picture = ?", (picture,)):
            if one.id == id and one.removed:
                self._make_room(picture, one.id)
                return self._keep(replace(one, removed=0.0))
        raise UsageError(f"Mark {shown(id)}", "one that was removed within a day", "Mark the region again")

    def _keep(self, one: Marked) -> Marked:
        # Always a whole row: what cannot be written is then kept in memory as a whole, in front of what the file has.
        places = ", ".join("?" * len(fields(Marked)))
        self._database.write(f"INSERT OR REPLACE INTO marks ({_NAMES}) VALUES ({places})", [astuple(one)])
        return one

    def _make_room(self, picture: str, spared: str = "") -> None:
        """Drop removed marks that are too old to come back, all of them where room is short."""
        rows = self._rows()
        old = time.time() - REMOVED_SECONDS if len(rows) < MOST else math.inf
        gone = {one.id for one in rows if one.removed and one.removed < old and one.id != spared}
        for id in gone:
            self._database.change("DELETE FROM marks WHERE id = ? AND removed > 0", (id,))
        there = [one for one in rows if not one.removed]
        if len(there) >= MOST:
            raise UsageError(f"{len(there)} marks", f"at most {MOST}", "Remove some that are no longer needed")
        if sum(one.picture == picture for one in there) >= MOST_OF_A_PICTURE:
            raise UsageError(
                f"{MOST_OF_A_PICTURE} marks in this picture", f"at most {MOST_OF_A_PICTURE}", "Remove some of them"
            )

    def _there(self, where: str = "", values: tuple[str, ...] = ()) -> list[Marked]:
        return [one for one in self._rows(where, values) if not one.removed]

    def _rows(self, where: str = "", values: tuple[str, ...] = ()) -> list[Marked]:
        """Rows that are marks, removed ones too. What could not be written yet comes first, and counts."""
        found: dict[str, Marked] = {}
        for row in self._database.read(f"SELECT {_NAMES} FROM marks {where}", values):
            one = _read(row)
            if one is not None:
                found.setdefault(one.id, one)
        return sorted(found.values(), key=lambda one: (one.created, one.id))


def _read(row: tuple[Any, ...]) -> Marked | None:
    """A row as a mark; None for one that somebody else has written and that is none."""
    one = Marked(*row)
    texts = (one.id, one.data, one.spec, one.picture, one.name, one.note, one.view)
    if not all(isinstance(text, str) for text in texts) or not all(map(_is_number, (one.created, one.removed))):
        return None
    try:
        _shape(one.shape)
        _box([one.x, one.y, one.width, one.height])
        one = replace(one, note=_note(one.note))
    except UsageError:
        return None
    try:
        return replace(one, view=_view(one.view))
    except UsageError:
        return replace(one, view="")  # what was seen and written is more than where one came from


def _shape(given: object) -> str:
    if given not in SHAPES:
        raise UsageError(f"Shape {shown(given)}", " or ".join(SHAPES), "Mark the region again")
    return str(given)


def _box(given: object) -> tuple[float, float, float, float]:
    """A box within the picture, of numbers rounded as links have them."""
    sound = isinstance(given, list | tuple) and len(given) == 4 and all(map(_is_number, given))
    x, y, width, height = (round(float(part), 6) for part in given) if sound else (0, 0, 0, 0)  # type: ignore[union-attr]
    inside = x >= 0 and y >= 0 and x + width <= 1 + _CORNER and y + height <= 1 + _CORNER
    if not (inside and width > 0 and height > 0):
        raise UsageError(
            f"Region {shown(given)}",
            "x, y, width and height above 0, in fractions of the picture and within it",
            "Mark the region again",
        )
    return x, y, width, height


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _note(given: object) -> str:
    """A note in one line, of whatever characters."""
    text = _sound(given).strip() if isinstance(given, str) and len(given) <= 4 * NOTE else None
    text = " ".join(text.split()) if text is not None else None
    if not text or len(text) > NOTE:
        got = f"A note of {len(given)} characters" if isinstance(given, str) else f"Note {shown(given)}"
        raise UsageError(got, f"a text of 1 to {NOTE} characters", "Shorten it" if text else "Write what is to be seen")
    return text


def _view(given: object) -> str:
    """The link of a view, or nothing. Raises `UsageError` for anything else."""
    if given == "":
        return ""
    sound = isinstance(given, str) and len(given) <= VIEW and _ADDRESS.fullmatch(given)
    found = checked(given) if sound else ""
    if not found or len(found) > VIEW:
        raise UsageError(
            f"View {shown(given)}", f"the address of a view, at most {VIEW} characters", "Mark the region again"
        )
    return found


def _sound(text: object) -> str:
    """Halves of surrogates, which no file can hold, become question marks; a NUL, which tools end a text at, goes."""
    return str(text).encode("utf-8", "replace").decode().replace("\0", "")
