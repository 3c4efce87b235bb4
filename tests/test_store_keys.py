"""The store of results and the keys under which they lie."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionlib.runs import database as module
from fusionlib.runs.keys import key_of
from fusionlib.runs.store import Store

A, B = "a" * 64, "b" * 64


def test_results_survive_a_reopening(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep" / "results.sqlite")
    store.put("k", {"miou": 0.1 + 0.2, "iou": [None, 1.0], "text": "ü"})
    store.put("k", {"miou": 0.1 + 0.2, "iou": [None, 1.0], "text": "ü"})
    store.put("other", {"x": 1})
    store.put("other", {"x": 2})
    store.close()
    again = Store(tmp_path / "deep" / "results.sqlite")
    assert again.get("k") == {"miou": 0.1 + 0.2, "iou": [None, 1.0], "text": "ü"}
    assert again.get("other") == {"x": 2}
    assert again.get("missing") is None
    assert again.get_many(["k", "missing", "other"]).keys() == {"k", "other"}
    assert again.notes == ()


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_file_is_set_aside_with_a_note(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results.sqlite"
    path.write_bytes(content)
    store = Store(path)
    store.put("k", {"x": 1})
    assert store.get("k") == {"x": 1}
    assert len(store.notes) == 1 and "damaged" in store.notes[0]
    aside = next(tmp_path.glob("results.damaged-*"))
    assert aside.read_bytes() == content and aside.name in store.notes[0]
    store.close()
    assert Store(path).notes == ()


def test_the_journal_of_a_damaged_file_does_not_get_into_the_new_one(tmp_path: Path) -> None:
    live = Store(tmp_path / "live" / "results.sqlite")
    for number in range(50):
        live.put(f"k{number}", {"x": "y" * 500})
    live.database._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    live.put("k3", {"x": "in the journal alone"})
    path = tmp_path / "results.sqlite"
    shutil.copy(live.database.path.with_name("results.sqlite-wal"), path.with_name("results.sqlite-wal"))
    path.write_bytes(b"damaged" * 1000)
    store = Store(path)
    assert store.get("k3") is None and store.notes
    store.put("new", {"x": 1})
    store.close()
    assert Store(path).get("new") == {"x": 1}


def rows(path: Path) -> dict[str, str]:
    """What lies in the file, read by nothing of ours."""
    with closing(sqlite3.connect(path)) as db:
        return dict(db.execute("SELECT key, value FROM results"))


def test_a_page_that_is_found_damaged_later_is_set_aside_too(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    store = Store(path)
    for number in range(200):
        store.put(f"k{number}", {"x": "y" * 500})
    store.close()
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))  # header and schema stay readable
    store = Store(path)
    assert store.get("k150") is None
    store.put("new", {"x": 1})
    assert store.get("new") == {"x": 1} and rows(path) == {"new": '{"x": 1}'}
    assert len(store.notes) == 1 and "set aside" in store.notes[0]


def test_of_two_that_find_the_damage_one_sets_the_file_aside(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    first, second = Store(path), Store(path)
    first.put("k", {"x": 1}), second.put("k", {"x": 1})
    first.close()
    Path(f"{path}-wal").unlink(missing_ok=True)
    path.write_bytes(b"damaged" * 1000)
    first.put("new", {"x": 2})
    assert first.notes and second.get("new") == {"x": 2} and second.notes == ()
    assert len(list(tmp_path.glob("*.damaged-*[0-9]"))) == 1


def test_a_value_that_is_no_json_is_computed_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "results.sqlite")
    store.put("k", {"x": 1})
    with closing(sqlite3.connect(store.database.path, isolation_level=None)) as db:
        db.execute("UPDATE results SET value = '{\"x\": '")
    assert store.get("k") is None


def test_a_locked_file_is_waited_for_once_and_then_gone_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    path = tmp_path / "results.sqlite"
    before = Store(path)
    before.put("old", {"x": 0}), before.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        store = Store(path)
        store.put("a", {"x": 1}), store.put("b", {"x": 2})
        assert (store.get("a"), store.get("b"), store.get("old")) == ({"x": 1}, {"x": 2}, None)
        assert store.notes == ("2 entries could not be kept: database is locked",)
    store.put("c", {"x": 3})
    assert store.notes == () and rows(path).keys() == {"old", "a", "b", "c"}, "free again, it takes what had to wait"
    assert not list(tmp_path.glob("*.damaged-*"))


def test_a_full_disk_loses_nothing_that_is_asked_of_this_process(tmp_path: Path) -> None:
    store = Store(tmp_path / "results.sqlite")
    store.put("small", {"x": 1})
    store.database._file.execute("PRAGMA max_page_count=4")  # SQLite's own way to be full
    store.put("large", {"x": "y" * 50_000})
    assert store.notes == ("1 entry could not be kept: database or disk is full",)
    assert store.get("large") == {"x": "y" * 50_000} and store.get("small") == {"x": 1}
    assert rows(store.database.path).keys() == {"small"}
    store.put("next", {"x": 2})
    assert store.notes == () and rows(store.database.path).keys() == {"small", "large", "next"}, "there is room again"


@pytest.mark.parametrize("blocked", ["file/home", "results.sqlite"])
def test_a_home_that_cannot_be_made_is_gone_without(tmp_path: Path, blocked: str) -> None:
    if blocked == "results.sqlite":
        (tmp_path / "results.sqlite").mkdir()
        store = Store(tmp_path / "results.sqlite")
    else:
        (tmp_path / "file").write_text("in the way")
        store = Store(tmp_path / blocked / "results.sqlite")
    assert store.get("k") is None and store.notes == (), "nothing was to be kept so far"
    store.put("k", {"x": 1})
    assert store.get("k") == {"x": 1}
    assert len(store.notes) == 1 and store.notes[0].startswith("1 entry could not be kept: ")


def test_a_home_that_is_deleted_meanwhile_is_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path / "home" / "results.sqlite")
    store.put("k", {"x": 1})
    shutil.rmtree(tmp_path / "home")
    store.put("new", {"x": 2})
    assert rows(store.database.path) == {"new": '{"x": 2}'} and store.notes == ()


def test_a_killed_process_loses_nothing_that_it_had_put(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    code = (
        "import os, signal, sys; from pathlib import Path; from fusionlib.runs.store import Store\n"
        "store = Store(Path(sys.argv[1]))\nfor number in range(30):\n    store.put(f'k{number}', {'x': number})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, cwd=Path(__file__).parents[1])
    assert done.returncode == -signal.SIGKILL and Path(f"{path}-wal").stat().st_size > 0, (
        "the rows lie in the journal still"
    )
    store = Store(path)
    assert [store.get(f"k{number}") for number in range(30)] == [
        {"x": number} for number in range(30)
    ] and store.notes == ()


def test_a_store_that_nobody_asks_leaves_no_trace(tmp_path: Path) -> None:
    Store(tmp_path / "home" / "results.sqlite").close()
    assert not (tmp_path / "home").exists()


def test_threads_share_a_store_and_two_stores_a_file(tmp_path: Path) -> None:
    stores = [Store(tmp_path / "results.sqlite") for _ in range(2)]
    problems: list[Exception] = []

    def work(number: int) -> None:
        try:
            for step in range(25):
                stores[number % 2].put(f"{number}/{step}", {"value": number * 100 + step})
                assert stores[number % 2].get(f"{number}/{step}") == {"value": number * 100 + step}
        except Exception as problem:  # noqa: BLE001 - whatever goes wrong in a thread has to reach the test
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert all(stores[0].get(f"{number}/{step}") for number in range(4) for step in range(25))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["one", "two", "three"]), VALUES, min_size=1))
def test_a_key_does_not_depend_on_order_but_on_every_part(parts: dict) -> None:
    key = key_of("test", parts)
    assert key == key_of("test", dict(reversed(parts.items())))
    assert len(key) == 64
    assert key != key_of("other", parts)
    for name in parts:
        assert key != key_of("test", {**parts, name: [parts[name], "changed"]})
        assert key != key_of("test", {other: value for other, value in parts.items() if other != name})
