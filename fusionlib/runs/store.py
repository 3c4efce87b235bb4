"""Evaluations in SQLite, by content key: asked once, answered for ever, also after a restart."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fusionlib.atomic import reason

PATIENCE_S = 10.0
"""How long to wait for others who hold the file; once that was in vain, not at all until it is free again."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Store:
    """A table of JSON results. Safe to use from several threads and processes, and optional: no trouble with its file
    is an error.

    What cannot be written is answered from memory as long as the process lives, and written with the next result that
    can be. A file that SQLite cannot read is set aside under another name and a new one begun: results can be computed
    again. `notes` says both.

    A result is on its way to the disk once `put` has returned: the end of the process, `kill -9` included, loses none
    of them. (A power cut may lose the last ones, never damage the file: the journal is synced at checkpoints only.)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._patience = PATIENCE_S
        self._unwritten: dict[str, str] = {}
        self._trouble = self._damage = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the file: results that could not be kept, a file that was set aside."""
        count = len(self._unwritten)
        lost = f"{count} {'result' if count == 1 else 'results'} could not be kept: {self._trouble}" if count else ""
        return tuple(filter(None, (self._damage, lost)))

    def get(self, key: str) -> dict[str, Any] | None:
        """The result stored under `key`, or None."""
        with self._lock:
            if key in self._unwritten:
                return json.loads(self._unwritten[key])
            try:
                row = self._run("SELECT value FROM results WHERE key = ?", (key,))
                return json.loads(row[0]) if row else None
            except (OSError, sqlite3.Error, ValueError):
                return None  # it is computed again, and `put` says what is wrong with the file

    def get_many(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Those of `keys` that are stored, with their results."""
        return {key: value for key in keys if (value := self.get(key)) is not None}

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Store `value` under `key`, in place of what was there."""
        with self._lock:
            self._unwritten[key] = json.dumps(value)
            try:
                for waiting in reversed(list(self._unwritten)):
                    self._run(
                        "INSERT OR REPLACE INTO results VALUES (?, ?, ?)",
                        (waiting, self._unwritten[waiting], time.time()),
                    )
                    del self._unwritten[waiting]
            except (OSError, sqlite3.Error) as problem:
                self._trouble = reason(problem) if isinstance(problem, OSError) else str(problem)

    def close(self) -> None:
        """Release the file; the next question opens it again."""
        with self._lock:
            self._close()

    def _run(self, statement: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The first row of a statement's answer. A file that turns out to be damaged is replaced first."""
        try:
            try:
                row = self._opened().execute(statement, values).fetchone()
            except sqlite3.DatabaseError as problem:
                if getattr(problem, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                    raise
                self._replace()
                row = self._opened().execute(statement, values).fetchone()
        except (OSError, sqlite3.Error):
            self._close()  # so that the next question finds whatever is there by then
            self._patience = 0.0
            raise
        self._patience = PATIENCE_S
        return row

    def _opened(self) -> sqlite3.Connection:
        if self._db is not None and self._moved():
            self._close()
        if self._db is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=self._patience, check_same_thread=False, isolation_level=None)
            self._inode = self.path.stat().st_ino
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value TEXT NOT NULL, created REAL NOT NULL)"
            )
        return self._db

    def _moved(self) -> bool:
        """Whether the file that was opened has been removed or set aside by others: what is written to it would be
        lost.
        """
        try:
            return self.path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _replace(self) -> None:
        """Set the damaged file aside, unless another process has done so since it was opened here."""
        self._close()
        if self._moved():
            return
        aside = self.path.with_suffix(f".damaged-{int(time.time())}")
        for ending in ("", "-wal", "-shm"):  # a journal left behind would be replayed into the new file
            old = self.path.with_name(self.path.name + ending)
            if old.exists():
                os.rename(old, aside.with_name(aside.name + ending))
        self._damage = f"The store of results was damaged; it was set aside as {aside.name} and a new one begun"
