"""Maps of pictures as PNG, kept in bounded space: those used longest ago go first."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from fusionlib.runs.database import Database

MAP_BYTES = 2048 << 20
"""Space for all maps of a home folder, where nobody says otherwise."""

PAGE = 4096
"""SQLite keeps a map on whole pages of this size: that is what it takes."""

NOTED_S = 1.0
"""Uses within so many seconds are one: who looks at picture after picture does not write each time."""

MOST_VALUES = 500
"""Values of one statement: SQLite takes no more than 999 in its older versions."""

_MINE = "subject = ? AND measure = ? AND version = ?"
_WHOSE = "subject = {0}.subject AND measure = {0}.measure AND version = {0}.version"
_PAGES = f"(max(1, length({{0}}.map)) + {PAGE - 1}) / {PAGE} * {PAGE}"

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS maps (
    subject BLOB NOT NULL, measure TEXT NOT NULL, version INTEGER NOT NULL, picture BLOB NOT NULL, map BLOB NOT NULL,
    created REAL NOT NULL, PRIMARY KEY (subject, measure, version, picture)
);
CREATE TABLE IF NOT EXISTS maps_used (
    subject BLOB NOT NULL, measure TEXT NOT NULL, version INTEGER NOT NULL, used REAL NOT NULL,
    bytes INTEGER NOT NULL DEFAULT 0, count INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (subject, measure, version)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS map_comes AFTER INSERT ON maps BEGIN
    INSERT OR IGNORE INTO maps_used (subject, measure, version, used)
        VALUES (NEW.subject, NEW.measure, NEW.version, NEW.created);
    UPDATE maps_used SET bytes = bytes + {_PAGES.format("NEW")}, count = count + 1, used = NEW.created
        WHERE {_WHOSE.format("NEW")};
END;
CREATE TRIGGER IF NOT EXISTS map_goes AFTER DELETE ON maps BEGIN
    UPDATE maps_used SET bytes = bytes - {_PAGES.format("OLD")}, count = count - 1 WHERE {_WHOSE.format("OLD")};
    DELETE FROM maps_used WHERE {_WHOSE.format("OLD")} AND count <= 0;
END;
CREATE TRIGGER IF NOT EXISTS map_is_replaced BEFORE INSERT ON maps BEGIN
    DELETE FROM maps WHERE {_WHOSE.format("NEW")} AND picture = NEW.picture;
END;
"""
"""`maps_used` has what the maps of a subject by a measure take, and when they were used last. Triggers keep it, so that
no process can change the one without the other.
"""


class Owner(NamedTuple):
    """Whose maps: short key of the subject, measure and its version."""

    subject: bytes
    measure: str
    version: int


class Taken(NamedTuple):
    """How many maps there are, and what they take in bytes."""

    count: int
    bytes: int


class Maps:
    """The maps of a home folder, which take `limit` bytes at most. Pictures go by their short keys."""

    def __init__(self, database: Database, limit: int = MAP_BYTES) -> None:
        self.database, self.limit = database, limit
        self._spoilt: set[tuple] = set()  # rows of no use in a file that cannot be written

    def pictures(self, owner: Owner) -> frozenset[bytes]:
        """Those that have a map."""
        rows = self.database.read(f"SELECT picture FROM maps WHERE {_MINE}", owner)
        return frozenset(picture for (picture,) in rows if (*owner, picture) not in self._spoilt)

    def find(self, owner: Owner, pictures: Iterable[bytes]) -> dict[bytes, bytes]:
        """PNGs of those of these pictures that have a map, which count as used now."""
        wanted, found = list(dict.fromkeys(pictures)), {}
        for start in range(0, len(wanted), MOST_VALUES):
            part = wanted[start : start + MOST_VALUES]
            marks = ",".join("?" * len(part))
            rows = self.database.read(
                f"SELECT picture, map FROM maps WHERE {_MINE} AND picture IN ({marks})", (*owner, *part)
            )
            # What could not be written yet comes first, and counts in place of what the file has.
            found |= dict(reversed(rows))
        if found:
            now = time.time()
            statement = f"UPDATE maps_used SET used = ? WHERE {_MINE} AND used < ?"
            self.database.change(statement, (now, *owner, now - NOTED_S))
        return found

    def keep(self, rows: Iterable[tuple[Owner, bytes, bytes]]) -> None:
        """Store maps: whose, of which picture, PNG. All or none; then make room for them."""
        listed = [(*owner, picture, png, time.time()) for owner, picture, png in rows]
        self.database.write("INSERT INTO maps VALUES (?, ?, ?, ?, ?, ?)", listed, counted=False)
        self._spoilt -= {row[:4] for row in listed}
        self._make_room()

    def drop(self, owner: Owner, pictures: Iterable[bytes]) -> None:
        """Forget maps that turned out to be damaged."""
        for picture in pictures:
            if self.database.change(f"DELETE FROM maps WHERE {_MINE} AND picture = ?", (*owner, picture)) is None:
                self._spoilt.add((*owner, picture))

    def taken(self) -> dict[Owner, Taken]:
        """What there is, used longest ago first."""
        rows = self.database.read("SELECT subject, measure, version, count, bytes FROM maps_used ORDER BY used")
        return {
            Owner(*owner): Taken(count, size) if _possible(count, size) else self._counted(Owner(*owner))
            for *owner, count, size in rows
        }

    def _counted(self, owner: Owner) -> Taken:
        """What there is of one, of which somebody wrote what cannot be: put right."""
        rows = self.database.read(f"SELECT count(*), sum({_PAGES.format('maps')}) FROM maps WHERE {_MINE}", owner)
        found = Taken(*(sum(part or 0 for part in column) for column in zip(*rows, strict=True)))
        self.database.change(f"UPDATE maps_used SET count = ?, bytes = ? WHERE {_MINE}", (*found, *owner))
        return found

    def _make_room(self) -> None:
        taken = self.taken()
        over = sum(one.bytes for one in taken.values()) - self.limit
        for owner, one in taken.items():
            if over <= 0:
                break
            if one.bytes <= over:
                self.database.change(f"DELETE FROM maps WHERE {_MINE}", owner)
            else:
                self._drop_first(owner, over)
            over -= one.bytes

    def _drop_first(self, owner: Owner, over: int) -> None:
        """Drop as many maps, oldest first, as take so many bytes."""
        sizes = self.database.read(
            f"SELECT picture, {_PAGES.format('maps')} FROM maps WHERE {_MINE} ORDER BY created, rowid", owner
        )
        for picture, size in sizes:
            if over <= 0:
                break
            self.database.change(f"DELETE FROM maps WHERE {_MINE} AND picture = ?", (*owner, picture))
            over -= size or PAGE


def _possible(count: object, size: object) -> bool:
    return isinstance(count, int) and isinstance(size, int) and 0 < count * PAGE <= size
