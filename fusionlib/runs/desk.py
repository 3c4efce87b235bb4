"""Runs: pieces of work that outlive a page, a session and a process, one row each in a table."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from fusionlib.contracts import Progress
from fusionlib.errors import Cancelled
from fusionlib.runs.database import Database

HEARTBEAT_S, STALE_S = 0.2, 15.0
"""How often an owner says that it lives, and hears of a cancel; and after how long without it is taken for dead."""

LOOK_S = 0.2
"""How often somebody who follows looks."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, plan TEXT NOT NULL, state TEXT NOT NULL,
    done INTEGER NOT NULL, total INTEGER NOT NULL, seconds_left REAL, message TEXT NOT NULL, owner TEXT NOT NULL,
    heartbeat REAL NOT NULL, cancel INTEGER NOT NULL, created REAL NOT NULL
);
"""
_COLUMNS = ("id", "kind", "state", "done", "total", "seconds_left", "owner", "message", "plan", "heartbeat", "created",
            "cancel")  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What a run works off, as a plain value: `kind` of study, and the command line that does the same in `folder`."""

    kind: str
    arguments: tuple[str, ...]
    folder: str = ""

    @property
    def text(self) -> str:
        """As the table has it."""
        return json.dumps({"kind": self.kind, "arguments": list(self.arguments), "folder": self.folder})


class RunDesk:
    """The runs of a home folder, whoever owns them. Without its file every piece of work simply runs.

    Asked twice, a piece of work runs once, across pages, sessions and processes: whoever comes second follows, and
    takes over where the owner has died.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: set[str] = set()
        self.command: tuple[str, ...] = ()
        """What this process is doing, where it is a verb: then that is how to go on with any run of it."""
        self.options: tuple[str, ...] = ()
        """Options that its networks need: else any run of it has them on its command line too."""
        self.owner = f"{_place()}:{os.getpid()}:{secrets.token_hex(3)}"

    @contextmanager
    def held(self, key: str, plan: Plan, progress: Progress | None = None) -> Iterator[Progress]:
        """Inside the block nobody else works on `key`; gives the progress to report to, which also hears of cancels.

        Waits while another process works on it and passes its progress on; what that has finished is known by then.
        Progress may raise `Cancelled`, also because somebody asked for it in another process.
        """
        self._wait_for(key, plan, progress)
        self._held.add(key)
        beat = _Beat(self, key, progress)
        state, message = "failed", ""
        try:
            yield beat.progress
            state = "done"
        except (Cancelled, KeyboardInterrupt):
            state = "cancelled"
            raise
        except BaseException as problem:
            message = str(problem)[:500]
            raise
        finally:
            beat.end()
            self._held.discard(key)
            self._close(key, state, message)

    def listed(self, limit: int = 100) -> list[dict[str, Any]]:
        """All runs, newest first, as JSON values.

        A run that was asked to stop and has yet to come to the end of its picture is `stopping`; one whose owner has
        died is `stale`: it can be resumed.
        """
        rows = self._database.read(f"SELECT {', '.join(_COLUMNS)} FROM runs ORDER BY created DESC LIMIT ?", (limit,))
        return [_row(row) for row in rows]

    def find(self, id: str) -> dict[str, Any] | None:
        """One run."""
        rows = self._database.read(f"SELECT {', '.join(_COLUMNS)} FROM runs WHERE id = ?", (id,))
        return _row(rows[0]) if rows else None

    def state(self, key: str) -> str | None:
        """What has become of the run on `key`; None where none was ever begun."""
        rows = self._database.read(f"SELECT {', '.join(_COLUMNS)} FROM runs WHERE key = ?", (key,))
        return _row(rows[0])["state"] if rows else None

    def cancel(self, id: str) -> bool:
        """Ask a run to stop, whoever owns it; whether there is such a run that is running, or cut off."""
        found = self.find(id)
        state = "cancelled" if found is not None and found["state"] == "stale" else "running"
        asked = "UPDATE runs SET cancel = 1, state = ? WHERE id = ? AND state = 'running'"
        return bool(self._database.change(asked, (state, id)))

    def forget(self, older_than_s: float) -> int:
        """Remove rows of runs that ended so long ago; how many."""
        before = time.time() - older_than_s
        gone = self._database.change("DELETE FROM runs WHERE state != 'running' AND heartbeat < ?", (before,))
        return gone or 0

    def _wait_for(self, key: str, plan: Plan, progress: Progress | None) -> None:
        """Become the owner, following whoever is. A run that is cancelled by its id ends for those who follow too."""
        follows = False
        while True:
            rows = self._database.read("SELECT done, total, cancel FROM runs WHERE key = ?", (key,))
            done, total, cancelled = rows[0] if rows else (0, 0, False)
            if follows and cancelled:
                raise Cancelled
            if self._take(key, plan):
                return
            follows = follows or not cancelled  # whoever asks for what is just ending wants it anew
            if progress is not None:
                progress(done, total)
            time.sleep(LOOK_S)

    def _take(self, key: str, plan: Plan) -> bool:
        """Become the owner, unless somebody alive is; True as well where the table is out of reach."""
        now = time.time()
        owners = self._database.read("SELECT owner FROM runs WHERE key = ?", (key,))
        dead = next((owner for (owner,) in owners if _has_died(owner)), "")
        fresh = (secrets.token_hex(4), key, plan.kind, plan.text, self.owner, now, now)
        added = self._database.change(
            "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?, 'running', 0, 0, NULL, '', ?, ?, 0, ?)", fresh
        )
        if added is None or added:
            return True
        taken = self._database.change(
            "UPDATE runs SET state = 'running', done = 0, total = 0, seconds_left = NULL, message = '', owner = ?, "
            "heartbeat = ?, cancel = 0, created = ?, plan = ? WHERE key = ? AND "
            "(state != 'running' OR heartbeat < ? OR owner = ? OR owner = ?)",
            (self.owner, now, now, plan.text, key, now - STALE_S, dead, "" if key in self._held else self.owner),
        )
        return taken is None or bool(taken)

    def beat(self, key: str, done: int, total: int, seconds_left: float | None) -> bool:
        """Say how far it is and that the owner lives; whether it shall go on."""
        values = (done, total, seconds_left, time.time(), key, self.owner)
        self._database.change(
            "UPDATE runs SET done = ?, total = ?, seconds_left = ?, heartbeat = ? WHERE key = ? AND owner = ?", values
        )
        rows = self._database.read("SELECT cancel FROM runs WHERE key = ? AND owner = ?", (key, self.owner))
        return not (rows and rows[0][0])

    def _close(self, key: str, state: str, message: str) -> None:
        """Of a run that is done nothing is left, whatever was expected: another may have measured the rest."""
        self._database.change(
            "UPDATE runs SET state = ?, message = ?, seconds_left = NULL, heartbeat = ?, "
            "total = CASE ? WHEN 'done' THEN done ELSE total END WHERE key = ? AND owner = ?",
            (state, message, time.time(), state, key, self.owner),
        )


class _Beat:
    """Reports of one run: to whoever waits at once, to the table every `HEARTBEAT_S`, by a thread of its own, because
    a forward pass may take longer than that.
    """

    def __init__(self, desk: RunDesk, key: str, progress: Progress | None) -> None:
        self._desk, self._key, self._progress = desk, key, progress
        self._done = self._total = 0
        self._begun = time.monotonic()
        self._wanted, self._ended = True, threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="heartbeat", daemon=True)
        self._thread.start()

    def progress(self, done: int, total: int) -> None:
        """Note it and pass it on. Raises `Cancelled` where the run is to stop."""
        if not self._wanted:
            raise Cancelled
        if total:
            self._done, self._total = done, total
        if self._progress is not None:
            self._progress(done, total)

    def end(self) -> None:
        """No more reports, the last of them written."""
        self._ended.set()
        self._thread.join()
        self._tell()

    def _go_on(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            self._tell()

    def _tell(self) -> None:
        done, total = self._done, self._total
        left = (time.monotonic() - self._begun) / done * (total - done) if done and total else None
        self._wanted = self._desk.beat(self._key, done, total, left) and self._wanted


def _row(values: Sequence[Any]) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(_COLUMNS, values, strict=True))
    if row["state"] == "running":
        gone = row["heartbeat"] < time.time() - STALE_S or _has_died(row["owner"])
        row["state"] = "stale" if gone else "stopping" if row["cancel"] else "running"
    del row["cancel"]
    return {**row, **_plan(row.pop("plan"))}


def _plan(text: Any) -> dict[str, Any]:
    """Command line and folder out of a row; no arguments where somebody has damaged it."""
    try:
        found = json.loads(text)
        return {"arguments": list(map(str, found["arguments"])), "folder": str(found.get("folder", ""))}
    except (TypeError, ValueError, KeyError, AttributeError):
        return {"arguments": [], "folder": ""}


@cache
def _place() -> str:
    """Where numbers of processes mean the same: this machine, and of its containers this one."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # a system without them
        space = 0
    return f"{socket.gethostname()}:{space}"


def _has_died(owner: str) -> bool:
    """Whether a process is known to be gone: whoever was killed need not be waited for."""
    place, _, rest = owner.rpartition(":")[0].rpartition(":")
    if place != _place() or not rest.isdecimal() or os.name != "posix":
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
