"""Small results in SQLite, by content key: asked once, answered for ever, also after a restart."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fusionlib.runs.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value TEXT NOT NULL, created REAL NOT NULL);
"""


class Store:
    """A table of JSON values, as robust as its `Database`."""

    def __init__(self, where: Path | Database) -> None:
        self.database = where if isinstance(where, Database) else Database(where, SCHEMA)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the file."""
        return self.database.notes

    def get(self, key: str) -> dict[str, Any] | None:
        """The result stored under `key`, or None."""
        rows = self.database.read("SELECT value FROM results WHERE key = ?", (key,))
        try:
            return json.loads(rows[0][0]) if rows else None
        except (TypeError, ValueError):
            return None  # it is computed again

    def get_many(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Those of `keys` that are stored, with their results."""
        return {key: value for key in keys if (value := self.get(key)) is not None}

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Store `value` under `key`, in place of what was there."""
        row = (key, json.dumps(value), time.time())
        self.database.write("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", [row])

    def close(self) -> None:
        """Release the file; the next question opens it again."""
        self.database.close()
