"""What has been measured: states of pictures and figures of splits, by what was asked."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from fusionlib.data.labels import LabelSpace, counterparts
from fusionlib.errors import DataError
from fusionlib.question import Question
from fusionlib.runs import desk, finds, maps, store
from fusionlib.runs.database import Database
from fusionlib.runs.maps import MAP_BYTES, MOST_VALUES, Maps, Owner

LAYOUT = 5
"""Version of the tables. The first had figures alone, under keys with hashes of source code in them; the second did not
know what a build costs, the third had no maps, and the fourth no finds.
"""

T = TypeVar("T")

SCHEMA = f"""
{store.SCHEMA}{desk.SCHEMA}{maps.SCHEMA}{finds.SCHEMA}
CREATE TABLE IF NOT EXISTS builds (
    memo TEXT PRIMARY KEY, build TEXT NOT NULL, notes TEXT NOT NULL, seconds REAL NOT NULL, created REAL NOT NULL,
    forwards INTEGER NOT NULL, passes INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS subjects (
    key TEXT PRIMARY KEY, builds TEXT NOT NULL, recipes TEXT NOT NULL, labels TEXT NOT NULL, precision TEXT NOT NULL,
    device TEXT NOT NULL, software TEXT NOT NULL, created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS answers (
    subject TEXT NOT NULL, measure TEXT NOT NULL, version INTEGER NOT NULL, data TEXT NOT NULL, spec TEXT NOT NULL,
    images INTEGER NOT NULL, tiled INTEGER NOT NULL, figures TEXT NOT NULL, created REAL NOT NULL,
    PRIMARY KEY (subject, measure, version, data)
);
CREATE TABLE IF NOT EXISTS states (
    subject BLOB NOT NULL, measure TEXT NOT NULL, version INTEGER NOT NULL, picture BLOB NOT NULL, state BLOB NOT NULL,
    tiles INTEGER NOT NULL, PRIMARY KEY (subject, measure, version, picture)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Subject:
    """Who is measured, and how: build keys in the order in which a measure takes them, what their labels count as,
    precision and device.
    """

    builds: tuple[str, ...]
    labels: str
    precision: str
    device: str

    @property
    def key(self) -> str:
        """SHA-256 over all of it and over what computes and decodes: other versions may give other numbers."""
        parts = (*self.builds, self.labels, self.precision, self.device, software())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Remembered:
    """What a recipe was built into: the build key, what the user must know of the merge, and how long it took.

    `forwards` are its forward passes a picture, `passes` those that finding out what the merge needs takes.
    """

    build: str
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    forwards: int = 1
    passes: int = 0


@dataclass(frozen=True)
class Answer:
    """Figures of a measure on a split of `images` pictures, of which `tiled` were measured in tiles."""

    figures: Mapping[str, Any]
    images: int
    tiled: int


@cache
def software() -> str:
    """Versions of what computes and decodes."""
    return " ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "pillow"))


def labels_key(source: LabelSpace, target: LabelSpace) -> str:
    """SHA-256 over what a network's classes count as in the annotation's; the same for the same meaning."""
    try:
        found = counterparts(source, target)
        ids = None if found is None else found.tolist()
    except DataError:  # whoever measures says so
        ids = "none"
    return hashlib.sha256(json.dumps([source.names, target.names, ids]).encode()).hexdigest()


class Answers:
    """The tables of one home folder, see `SCHEMA`; maps take so many bytes at most."""

    def __init__(self, where: Path | Database, map_bytes: int = MAP_BYTES) -> None:
        self.database = where if isinstance(where, Database) else Database(where, SCHEMA, LAYOUT, _migrate)
        self.maps = Maps(self.database, map_bytes)
        self._spoilt: set[tuple[bytes, str, int, bytes]] = set()  # rows of no use in a file that cannot be written

    def build(self, memo: str) -> Remembered | None:
        """What a recipe was built into, by `Builder.memo`."""
        return self.builds([memo]).get(memo)

    def builds(self, memos: Iterable[str]) -> dict[str, Remembered]:
        """What those of these recipes were built into that have been."""
        wanted, found = list(dict.fromkeys(memos)), {}
        for start in range(0, len(wanted), MOST_VALUES):
            part = wanted[start : start + MOST_VALUES]
            marks = ",".join("?" * len(part))
            rows = self.database.read(
                f"SELECT memo, build, notes, seconds, forwards, passes FROM builds WHERE memo IN ({marks})", part
            )
            for memo, build, notes, *costs in rows:
                said = _json(notes, list)
                if said is not None and isinstance(build, str) and all(isinstance(cost, int | float) for cost in costs):
                    found[memo] = Remembered(build, tuple(map(str, said)), *costs)
        return found

    def keep_build(self, memo: str, found: Remembered) -> None:
        """Remember what a recipe was built into."""
        row = (memo, found.build, json.dumps(found.notes), found.seconds, time.time(), found.forwards, found.passes)
        self.database.write("INSERT OR REPLACE INTO builds VALUES (?, ?, ?, ?, ?, ?, ?)", [row], counted=False)

    def find(self, subject: Subject, measure: str, version: int, data: str) -> Answer | None:
        """The figures of a split, where they are known."""
        rows = self.database.read(
            "SELECT figures, images, tiled FROM answers WHERE subject = ? AND measure = ? AND version = ? AND data = ?",
            (subject.key, measure, version, data),
        )
        for text, images, tiled in rows:
            figures = _json(text, dict)
            if figures is not None and isinstance(images, int) and isinstance(tiled, int):
                return Answer(figures, images, tiled)
        return None

    def keep(self, subject: Subject, measure: str, version: int, question: Question, spec: str, answer: Answer) -> None:
        """Store the figures of a split, and who they are of."""
        recipes = [one.without_folders().model_dump(mode="json", exclude_none=True) for one in question.recipes]
        who = (" ".join(subject.builds), json.dumps(recipes), subject.labels, subject.precision, subject.device)
        now = time.time()
        self.database.write(
            "INSERT OR IGNORE INTO subjects VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(subject.key, *who, software(), now)],
            counted=False,
        )
        figures = json.dumps(dict(answer.figures))
        what = (subject.key, measure, version, question.data, spec, answer.images, answer.tiled, figures, now)
        self.database.write("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [what])

    def pictures(self, subject: Subject, measure: str, version: int) -> frozenset[bytes]:
        """Short keys of the pictures whose states are known."""
        rows = self.database.read(
            "SELECT picture FROM states WHERE subject = ? AND measure = ? AND version = ?",
            (short(subject.key), measure, version),
        )
        about = (short(subject.key), measure, version)
        return frozenset(picture for (picture,) in rows if (*about, picture) not in self._spoilt)

    def states(
        self, subject: Subject, measure: str, version: int, pictures: Iterable[bytes]
    ) -> dict[bytes, tuple[bytes, int]]:
        """Packed states, each with its number of tiles, of those of these pictures that are known, by short key."""
        wanted = set(pictures)
        rows = self.database.read(
            "SELECT picture, state, tiles FROM states WHERE subject = ? AND measure = ? AND version = ?",
            (short(subject.key), measure, version),
        )
        # What could not be written yet comes first, and counts in place of what the file has.
        return {picture: (state, tiles) for picture, state, tiles in reversed(rows) if picture in wanted}

    def keep_states(self, rows: Iterable[tuple[Subject, str, int, str, bytes, int]]) -> None:
        """Store states of pictures: subject, measure, version, picture's key, packed state, tiles. All or none."""
        listed = [
            (short(subject.key), measure, version, short(picture), state, tiles)
            for subject, measure, version, picture, state, tiles in rows
        ]
        self.database.write("INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?, ?, ?)", listed, counted=False)
        self._spoilt -= {row[:4] for row in listed}

    def drop_states(self, subject: Subject, measure: str, version: int, pictures: Iterable[bytes]) -> None:
        """Forget states of pictures, by short key, that turned out to be damaged: they are unknown from now on, and so
        are figures of splits, which follow from the others again once these are measured.
        """
        figures = "DELETE FROM answers WHERE subject = ? AND measure = ? AND version = ?"
        self.database.change(figures, (subject.key, measure, version))
        about = (short(subject.key), measure, version)
        for picture in pictures:
            statement = "DELETE FROM states WHERE subject = ? AND measure = ? AND version = ? AND picture = ?"
            if self.database.change(statement, (*about, picture)) is None:
                self._spoilt.add((*about, picture))

    def listed(self, limit: int = 1000) -> list[dict[str, Any]]:
        """What is known, newest first, as JSON values: who, on what, by what measure, and the figures; `maps` and
        `map_bytes` where maps are kept, of this and other data.
        """
        rows = self.database.read(
            "SELECT a.subject, s.recipes, a.spec, a.data, a.measure, a.version, a.figures, a.images, s.precision, "
            "s.device, s.software, a.created FROM answers a JOIN subjects s ON s.key = a.subject "
            "ORDER BY a.created DESC LIMIT ?",
            (limit,),
        )
        names = ("key", "recipe", "data", "data_key", "measure", "version", "figures", "images", "precision", "device",
                 "software", "created")  # fmt: skip
        listed: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in rows]
        taken = self.maps.taken()
        for one in listed:
            one["recipe"], one["figures"] = _json(one["recipe"], list), _json(one["figures"], dict)
            if there := taken.get(Owner(short(str(one["key"])), one["measure"], one["version"])):
                one |= {"maps": there.count, "map_bytes": there.bytes}
        return [one for one in listed if one["recipe"] and one["figures"] is not None]

    def prune(self, keep: Mapping[str, int], *, all_maps: bool = False) -> dict[str, int]:
        """Remove what no current version of a measure asks for (`keep` has them by name), with `all_maps` also every
        map; rows removed by table.

        What becomes free is used again, and given back to the disk where no other process holds the file.
        """
        removed = {}
        for table in ("answers", "states", "maps"):
            names = " OR ".join("(measure = ? AND version = ?)" for _ in keep if not (all_maps and table == "maps"))
            values = [part for pair in keep.items() for part in pair] if names else []
            removed[table] = self.database.change(f"DELETE FROM {table} WHERE NOT ({names or '0'})", values) or 0
        removed["subjects"] = (
            self.database.change("DELETE FROM subjects WHERE key NOT IN (SELECT subject FROM answers)") or 0
        )
        if any(removed.values()):
            self.database.change("VACUUM")
        return removed


def short(key: str) -> bytes:
    """16 bytes that stand for a key: enough to tell pictures and subjects apart, at a quarter of the space."""
    return hashlib.sha256(key.encode()).digest()[:16]


def _json(text: Any, kind: type[T]) -> T | None:
    """A JSON value of a kind; None for a text that is none: somebody else may have written it."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, kind) else None


def _migrate(file: sqlite3.Connection) -> str:
    """Bring a file of an earlier layout to this one. Says how many results were dropped, whose keys nobody asks for."""
    (layout,) = file.execute("PRAGMA user_version").fetchone()
    tables = {row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if layout == 2 and "builds" in tables:
        file.execute("DROP TABLE builds")  # a memory of merges, made again by the next ones
    if layout >= 2 or "results" not in tables:
        return ""
    (count,) = file.execute("SELECT count(*) FROM results").fetchone()
    file.execute("DROP TABLE results")
    return (
        f"{count} results of an earlier version were dropped: they are measured anew when they are asked for"
        if count
        else ""
    )
