"""What searches have found, by the checkpoints that they searched: a table that outlives the process."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fusionlib.runs.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS finds (
    search TEXT PRIMARY KEY, checkpoints TEXT NOT NULL, value TEXT NOT NULL, created REAL NOT NULL
);
"""
MOST = 1000
"""Finds that are kept; the oldest go first."""


class Finds:
    """The finds of a home folder as JSON values, a search's last one each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, search: str, checkpoints: Collection[str], value: Mapping[str, Any]) -> None:
        """Keep what the search with this key has found among checkpoints with these fingerprints."""
        row = (search, json.dumps(sorted(checkpoints)), json.dumps(value), time.time())
        if self._database.read("SELECT search, checkpoints, value FROM finds WHERE search = ?", (search,))[:1] == [
            row[:3]
        ]:
            return
        self._database.write("INSERT OR REPLACE INTO finds VALUES (?, ?, ?, ?)", [row])
        oldest = "SELECT search FROM finds ORDER BY created DESC LIMIT -1 OFFSET ?"
        self._database.write(f"DELETE FROM finds WHERE search IN ({oldest})", [(MOST,)], counted=False)

    def there(self, search: str) -> bool:
        """Whether a search has one."""
        return bool(self._database.read("SELECT 1 FROM finds WHERE search = ?", (search,)))

    def among(self, checkpoints: Collection[str]) -> Sequence[dict[str, Any]]:
        """What was found among these checkpoints or some of them, the oldest first; what is no find is left out."""
        rows = self._database.read("SELECT search, checkpoints FROM finds ORDER BY created")
        wanted = [search for search, members in rows if _within(members, set(checkpoints))]
        texts = (self._database.read("SELECT value FROM finds WHERE search = ?", (search,)) for search in wanted)
        return [value for rows in texts for (text,) in rows if isinstance(value := _json(text), dict)]


def _within(members: str, checkpoints: set[str]) -> bool:
    found = _json(members)
    return isinstance(found, list) and all(isinstance(one, str) for one in found) and set(found) <= checkpoints


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
