"""A store in a folder that cannot be written is read as it is, and as it is then."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from fusionlib.runs.database import Database
from tests.test_disk import ROOT, mortal

SCHEMA = "CREATE TABLE IF NOT EXISTS t (a TEXT PRIMARY KEY);"
ASKED = f"""
import json, sys
from pathlib import Path
from fusionlib.runs.database import Database
store = Database(Path(sys.argv[1]), {SCHEMA!r} + "CREATE TABLE IF NOT EXISTS later (a TEXT);", 2)
before, there = store.read("SELECT a FROM t"), store.read("SELECT a FROM later")
store.write("INSERT INTO t VALUES (?)", [("new",)])
print(json.dumps([before, there, store.read("SELECT a FROM t ORDER BY a"), store.notes]))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of an earlier layout, with one row, that nobody has open."""
    made = Database(tmp_path / "home" / "r.sqlite", SCHEMA, 1)
    made.write("INSERT INTO t VALUES (?)", [("old",)])
    made.close()
    return made.path


def test_it_is_read_and_what_is_new_is_kept_in_memory(path: Path) -> None:
    before = path.read_bytes()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        command = [*mortal(), sys.executable, "-c", ASKED, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    finally:
        path.parent.chmod(0o755)
    assert done.returncode == 0, done.stderr
    old, later, both, notes = json.loads(done.stdout)
    assert (old, later, sorted(both)) == ([["old"]], [], [["new"], ["old"]])
    assert notes == ["1 entry could not be kept: the file can only be read"]
    assert path.read_bytes() == before and [one.name for one in path.parent.iterdir()] == [path.name]


def test_what_another_process_writes_meanwhile_is_seen(path: Path) -> None:
    store = Database(path, SCHEMA, 1)
    store._file = store._connected(still=True)
    assert store.read("SELECT a FROM t") == [("old",)]
    other = sqlite3.connect(path)
    other.execute("INSERT INTO t VALUES ('more')")
    other.commit()
    assert store.read("SELECT a FROM t ORDER BY a") == [("more",), ("old",)]
    other.close()


def test_a_file_that_only_seems_damaged_stays_where_it_is(path: Path) -> None:
    store = Database(path, SCHEMA, 1)
    store._file = store._connected(still=True)
    path.write_bytes(b"x" * path.stat().st_size)
    store._still = (path.stat().st_size, path.stat().st_mtime_ns)
    assert store.read("SELECT a FROM t") == []
    assert [one.name for one in path.parent.iterdir()] == [path.name]
