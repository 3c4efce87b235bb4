"""The store of results and the keys under which they lie."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionlib.errors import UsageError
from fusionlib.storage import keys
from fusionlib.storage.keys import code_fingerprint, content_key, ensemble_key, mixture_key, profile_key
from fusionlib.storage.store import Store

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
    live._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    live.put("k3", {"x": "in the journal alone"})
    path = tmp_path / "results.sqlite"
    shutil.copy(live.path.with_name("results.sqlite-wal"), path.with_name("results.sqlite-wal"))
    path.write_bytes(b"damaged" * 1000)
    store = Store(path)
    assert store.notes and store.get("k3") is None
    store.put("new", {"x": 1})
    store.close()
    assert Store(path).get("new") == {"x": 1}


def test_a_store_that_is_only_busy_or_out_of_reach_is_not_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.sqlite"
    Store(path).close()

    def busy(_: Store) -> sqlite3.Connection:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(Store, "_open", busy)
    with pytest.raises(UsageError, match="database is locked"):
        Store(path)
    assert path.exists() and not list(tmp_path.glob("*.damaged-*"))


def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="--home"):
        Store(tmp_path / "file" / "home" / "results.sqlite")


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


VALUES = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
                      lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2), max_leaves=5)


@given(st.dictionaries(st.sampled_from(["one", "two", "three"]), VALUES, min_size=1))
def test_a_key_does_not_depend_on_order_but_on_every_part(parts: dict) -> None:
    key = content_key("test", None, **parts)
    assert key == content_key("test", None, **dict(reversed(parts.items())))
    assert len(key) == 64
    assert key != content_key("other", None, **parts)
    for name in parts:
        assert key != content_key("test", None, **{**parts, name: [parts[name], "changed"]})
        assert key != content_key("test", None, **{other: value for other, value in parts.items() if other != name})


def test_a_key_depends_on_the_code_that_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    before = content_key("test", None, x=1)
    monkeypatch.setattr(keys, "code_fingerprint", lambda: "other code")
    assert content_key("test", None, x=1) != before


def test_the_codes_fingerprint_covers_what_decides_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(keys.__file__).parent.parent
    shutil.copytree(root, tmp_path / "fusionlib", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(keys, "__file__", str(tmp_path / "fusionlib" / "storage" / "keys.py"))
    bare = code_fingerprint.__wrapped__
    before = bare()
    for name, decides in (("merging/linear.py", True), ("metrics/confusion.py", True), ("inference/network.py", True),
                          ("data/labels.py", True), ("architectures/enet.py", True), ("checkpoints/reader.py", True),
                          ("contracts.py", True), ("studio/comparison_networks.py", True), ("studio/view.py", True),
                          ("studio/live.py", False), ("imaging/png.py", False)):
        with (tmp_path / "fusionlib" / name).open("a") as file:
            file.write("\n# changed\n")
        assert (bare() != before) is decides, name
        before = bare()


def test_a_checkpoint_alone_is_itself_whatever_stands_beside_it() -> None:
    for buffers in ("average", "gaussian"):
        assert mixture_key([A, B], [1.0, 0.0], buffers) == mixture_key([A], [1.0], buffers) == {"single": A}
        assert mixture_key([B, A, B], [0, 1, 0], buffers) == {"single": A}
    assert mixture_key([A, B], [0.0, 1.0], "average") == {"single": B}


def test_mixtures_differ_by_shares_members_policy_and_anchor() -> None:
    base = mixture_key([A, B], [0.25, 0.75], "average")
    others = [mixture_key([A, B], [0.75, 0.25], "average"), mixture_key([B, A], [0.25, 0.75], "anchor"),
              mixture_key([A, B], [0.25, 0.75], "gaussian"), mixture_key([A, B], [0.25, 0.75], "anchor"),
              mixture_key([A, B], [0.25, 0.75], "recalibrate", calibration="x"),
              mixture_key([A, B], [0.25, 0.75], "recalibrate", calibration="y")]
    assert len({content_key("test", None, mixture=item) for item in (base, *others)}) == 7
    assert base == mixture_key([A, "c" * 64, B], [0.25, 0.0, 0.75], "average")


def test_the_order_of_the_checkpoints_tells_nothing_apart_where_it_changes_nothing() -> None:
    for alpha in (0.1, 0.3, 0.35, 0.5, 0.85):
        assert mixture_key([A, B], [alpha, 1 - alpha], "gaussian") == mixture_key([B, A], [1 - alpha, 1 - (1 - alpha)], "gaussian")
    assert mixture_key([A, B], [0.3, 0.7], "anchor") != mixture_key([B, A], [0.7, 0.3], "anchor"), "other statistics are kept"


def test_profiles_and_ensembles_are_the_same_in_every_order() -> None:
    table, turned = {"x": (0.1, 0.9), "y": (1.0, 0.0)}, {"y": (0.0, 1.0), "x": (0.9, 0.1 + 1e-16)}
    assert profile_key([A, B], table, "average", 0) == profile_key([B, A], turned, "average", 0)
    assert profile_key([A, B], table, "anchor", 0) == profile_key([B, A], turned, "anchor", 1)
    assert profile_key([A, B], table, "anchor", 0) != profile_key([B, A], turned, "anchor", 0)
    assert profile_key([A, B], table, "average", 0) != profile_key([B, A], table, "average", 0)
    assert ensemble_key([A, B], (0.3, 0.7), "softmax") == ensemble_key([B, A], (0.7, 1 - 0.7), "softmax")
    assert ensemble_key([A, B], (0.3, 0.7), "softmax") != ensemble_key([A, B], (0.3, 0.7), "logit")
    assert ensemble_key([A, B], (0.3, 0.7), "softmax") != ensemble_key([A, B], (0.7, 0.3), "softmax")


def test_another_version_of_what_computes_gives_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_fingerprint.__wrapped__()
    monkeypatch.setattr(keys, "version", lambda name: "0.1")
    assert code_fingerprint.__wrapped__() != before


def test_an_end_under_another_policy_is_not_the_checkpoint_itself() -> None:
    assert mixture_key([A, B], [0.0, 1.0], "anchor") != {"single": B}, "it has A's statistics"
    assert mixture_key([A, B], [0.0, 1.0], "anchor") != mixture_key(["c" * 64, B], [0.0, 1.0], "anchor")
    assert "single" not in mixture_key([A, B], [1.0, 0.0], "recalibrate", calibration="x")
