"""The names that uploads had on their users' machines, in a table that several processes may write."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path


class UploadNames:
    """By stored file name.

    A convenience: what cannot be read or written leaves an upload with the beginning of its digest.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path, self._earlier = folder / "names.sqlite", folder / "names.json"

    def get(self, file: str) -> str | None:
        """The name of `file`, or None."""
        if not self._path.exists() and not self._earlier.exists():
            return None
        with suppress(sqlite3.Error), self._table() as table:
            row = table.execute("SELECT name FROM names WHERE file = ?", (file,)).fetchone()
            return row[0] if row else None

    def put(self, file: str, name: str) -> None:
        """Call `file` `name`, in place of what it was called."""
        written = name.encode("utf-8", "replace").decode()
        with suppress(sqlite3.Error), self._table() as table:
            table.execute("INSERT OR REPLACE INTO names VALUES (?, ?)", (file, written))

    def drop(self, file: str) -> None:
        """Forget the name of `file`."""
        if self._path.exists():
            with suppress(sqlite3.Error), self._table() as table:
                table.execute("DELETE FROM names WHERE file = ?", (file,))

    @contextmanager
    def _table(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=30)) as table, table:
                table.execute("CREATE TABLE IF NOT EXISTS names (file TEXT PRIMARY KEY, name TEXT NOT NULL)")
                self._take_over(table)
                yield table
        except sqlite3.OperationalError:  # busy or out of reach
            raise
        except sqlite3.DatabaseError:  # damaged
            self._path.unlink(missing_ok=True)
            raise

    def _take_over(self, table: sqlite3.Connection) -> None:
        """Names of an earlier version's file, once; without those whose upload was refused or removed since."""
        if not self._earlier.exists():
            return
        with suppress(OSError, ValueError, AttributeError):
            found = {
                str(file): str(name) for file, name in json.loads(self._earlier.read_text(encoding="utf-8")).items()
            }
            there = {path.name for path in (*self.folder.iterdir(), *self.folder.glob("pictures/*"))}
            table.executemany(
                "INSERT OR IGNORE INTO names VALUES (?, ?)", [entry for entry in found.items() if entry[0] in there]
            )
            table.commit()
        self._earlier.unlink(missing_ok=True)
