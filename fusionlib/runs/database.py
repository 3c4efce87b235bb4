"""One SQLite file that several threads and processes may use, and that nobody depends on."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from fusionlib.atomic import reason

PATIENCE_S = 10.0
"""How long to wait for others who hold the file; once that was in vain, not at all until it is free again."""

_READ_ONLY = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

Row = tuple[Any, ...]


class Database:
    """Tables in a file; no trouble with it is an error.

    What cannot be written is kept in memory as long as the process lives, found there by the same questions, and
    written with the next rows that can be. A file in a folder that cannot be written is read as it is. A file that
    SQLite cannot read is set aside under another name and a new one begun. `notes` says what was lost.

    `schema` creates the tables where they are not there. Files have the number `layout` in them (0: any will do);
    `migrate` looks at one of an earlier layout first and says what it dropped. A row is on its way to the disk once
    `write` has returned: the end of the process, `kill -9` included, loses none. (A power cut may lose the last ones,
    never damage the file: the journal is synced at checkpoints only.)
    """

    def __init__(
        self, path: Path, schema: str, layout: int = 0, migrate: Callable[[sqlite3.Connection], str] | None = None
    ) -> None:
        self.path, self._schema, self._layout, self._migrate = path, schema, layout, migrate
        self._lock = threading.RLock()
        self._file: sqlite3.Connection | None = None
        self._spare: sqlite3.Connection | None = None  # holds what could not be written
        self._inode, self._patience = 0, PATIENCE_S
        self._still: tuple[int, int] | None = None  # size and time of a file that can only be read, and is as it was
        self._unwritten: list[tuple[str, Row, bool]] = []
        self._trouble = self._damage = self._dropped = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the file: rows that could not be kept, a file that was set aside, or dropped."""
        count = sum(counted for _, _, counted in self._unwritten)
        nouns = "entry" if count == 1 else "entries"
        lost = f"{count} {nouns} could not be kept: {self._trouble}" if count else ""
        return tuple(filter(None, (self._dropped, self._damage, lost)))

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a SELECT, those that could not be written first; of a file that cannot be read none."""
        with self._lock:
            held = self._spare.execute(statement, values).fetchall() if self._spare else []
            try:
                return held + self._run(lambda file: file.execute(statement, values).fetchall())
            except (OSError, sqlite3.Error):
                return held  # it is found out again, and `write` says what is wrong with the file

    def write(self, statement: str, rows: Iterable[Row], *, counted: bool = True) -> None:
        """Carry out a statement once a row, all or none. `counted`: each row is one that `notes` speaks of."""
        waiting = [(statement, tuple(row), counted) for row in rows]
        with self._lock:
            try:
                self._run(lambda file: _all(file, self._unwritten + waiting))
                self._unwritten = []
                if self._spare is not None:
                    self._spare.close()
                    self._spare = None
            except (OSError, sqlite3.Error) as problem:
                said = reason(problem) if isinstance(problem, OSError) else str(problem)
                self._trouble = said if self._still is None else "the file can only be read"
                self._spare = self._spare or self._in_memory()
                _all(self._spare, waiting)
                self._unwritten += waiting

    def change(self, statement: str, values: Sequence[Any] = ()) -> int | None:
        """Carry out one statement for all processes at once; rows changed, None where the file is out of reach."""
        with self._lock:
            try:
                return self._run(lambda file: file.execute(statement, values).rowcount)
            except (OSError, sqlite3.Error):
                return None

    def close(self) -> None:
        """Release the file; the next question opens it again."""
        with self._lock:
            self._close()

    def _in_memory(self) -> sqlite3.Connection:
        spare = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        spare.executescript(self._schema)
        return spare

    def _run(self, call: Callable[[sqlite3.Connection], Any]) -> Any:
        """What `call` gives for the file. One that turns out to be damaged is replaced first."""
        try:
            try:
                found = call(self._opened())
            except sqlite3.DatabaseError as problem:
                if getattr(problem, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED or self._still is not None:
                    raise
                self._replace()
                found = call(self._opened())
            if self._still is not None and self._moved():
                raise sqlite3.OperationalError("the file was written by another process while it was read")
        except (OSError, sqlite3.Error):
            self._close()  # so that the next question finds whatever is there by then
            self._patience = 0.0
            raise
        self._patience = PATIENCE_S
        return found

    def _opened(self) -> sqlite3.Connection:
        if self._file is not None and self._moved():
            self._close()
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._file = self._connected()
                self._file.execute("PRAGMA journal_mode=WAL")
                self._file.execute("PRAGMA synchronous=NORMAL")
                self._prepare(self._file)
            except sqlite3.OperationalError as problem:
                self._close()
                if getattr(problem, "sqlite_errorcode", 0) & 0xFF not in _READ_ONLY or not self._at_rest():
                    raise
                self._file = self._connected(still=True)
        return self._file

    def _connected(self, *, still: bool = False) -> sqlite3.Connection:
        """`still`: where nothing can be written, not even the journal that SQLite begins to read."""
        address = f"{self.path.absolute().as_uri()}?immutable=1" if still else str(self.path)
        file = sqlite3.connect(
            address, timeout=self._patience, check_same_thread=False, isolation_level=None, uri=still
        )
        file.text_factory = _text
        found = self.path.stat()
        self._inode, self._still = found.st_ino, _signs(found) if still else None
        return file

    def _at_rest(self) -> bool:
        """Whether the file is there and nobody has it open to write."""
        return self.path.exists() and not self.path.with_name(f"{self.path.name}-wal").exists()

    def _prepare(self, file: sqlite3.Connection) -> None:
        """Make the tables. Of a file that has them nothing is written: a full disk can still be read."""
        if self._layout and file.execute("PRAGMA user_version").fetchone()[0] == self._layout:
            return
        if self._migrate is not None:
            self._dropped = self._migrate(file) or self._dropped
        file.executescript(self._schema + f"PRAGMA user_version = {self._layout};")

    def _moved(self) -> bool:
        """Whether the file that was opened has been removed or set aside: what is written to it would be lost. One that
        is read without a journal must not have changed either.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return True
        changed = self._still is not None and (self._still != _signs(found) or not self._at_rest())
        return found.st_ino != self._inode or changed

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

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


def _signs(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns


def _text(found: bytes) -> str:
    """A text that is none, which somebody else has written, is no reason to read nothing."""
    return found.decode("utf-8", "replace")


def _all(connection: sqlite3.Connection, statements: Sequence[tuple[str, Row, bool]]) -> None:
    """Carry out all statements, or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement, row, _ in statements:
            connection.execute(statement, row)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
