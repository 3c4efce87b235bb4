"""Evaluations in SQLite, by content key: asked once, answered for ever, also after a restart."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class Store:
    """A table of JSON results. Safe to use from several threads and processes.

    A file that SQLite cannot read is set aside under another name and a new one begun: results can be computed again,
    so a damaged store must not keep the app from starting. `notes` then says so.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.notes = path, ()
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = self._open()
        except sqlite3.DatabaseError:
            aside = path.with_suffix(f".damaged-{int(time.time())}")
            path.rename(aside)
            self.notes = (f"The store of results was damaged; it was set aside as {aside.name} and a new one begun",)
            self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=30, check_same_thread=False, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value TEXT NOT NULL, created REAL NOT NULL)")
        db.execute("SELECT count(*) FROM results").fetchone()
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
