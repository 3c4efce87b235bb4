"""Evaluations in SQLite, by content key: asked once, answered for ever, also after a restart."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fusionlib.errors import UsageError


class Store:
    """A table of JSON results. Safe to use from several threads and processes.

    A file that SQLite cannot read is set aside under another name and a new one begun: results can be computed again,
    so a damaged store must not keep the app from starting. `notes` then says so.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: tuple[str, ...] = ()
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._db = self._open()
            except sqlite3.OperationalError:  # busy or out of reach, not damaged
                raise
            except sqlite3.DatabaseError:
                self.notes = (self._set_aside(),)
                self._db = self._open()
        except (OSError, sqlite3.OperationalError) as problem:
            raise UsageError(f"The store of results {path} cannot be opened: {problem}", "a folder that can be written to",
                             "Choose another with --home, or end what holds the file") from problem

    def _set_aside(self) -> str:
        aside = self.path.with_suffix(f".damaged-{int(time.time())}")
        for ending in ("", "-wal", "-shm"):  # a journal left behind would be replayed into the new file
            old = self.path.with_name(self.path.name + ending)
            if old.exists():
                old.rename(aside.with_name(aside.name + ending))
        return f"The store of results was damaged; it was set aside as {aside.name} and a new one begun"

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=30, check_same_thread=False, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value TEXT NOT NULL, created REAL NOT NULL)")
            db.execute("SELECT count(*) FROM results").fetchone()
        except BaseException:
            db.close()
            raise
        return db

    def get(self, key: str) -> dict[str, Any] | None:
        """The result stored under `key`, or None."""
        with self._lock:
            row = self._db.execute("SELECT value FROM results WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def get_many(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Those of `keys` that are stored, with their results."""
        return {key: value for key in keys if (value := self.get(key)) is not None}

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Store `value` under `key`, in place of what was there."""
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", (key, json.dumps(value), time.time()))

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()
