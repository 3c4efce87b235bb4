"""What a user has said once and need not say again, in a table of the home folder."""

from __future__ import annotations

import time

from fusionlib.runs.database import Database

SCHEMA = "CREATE TABLE IF NOT EXISTS flags (name TEXT PRIMARY KEY, raised REAL NOT NULL);\n"


class Flags:
    """Names that were raised."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def raised(self, name: str) -> bool:
        """Whether this one was."""
        return bool(self.database.read("SELECT 1 FROM flags WHERE name = ?", (name,)))

    def put(self, name: str) -> None:
        """Raise it. Where that cannot be written it holds for this process."""
        self.database.write("INSERT OR REPLACE INTO flags VALUES (?, ?)", [(name, time.time())], counted=False)
