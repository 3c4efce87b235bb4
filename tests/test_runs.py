"""Runs: asked twice a piece of work runs once, a dead owner is succeeded, a cancel reaches another process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fusionlib.errors import Cancelled
from fusionlib.runs import desk as module
from fusionlib.runs.answers import Answers
from fusionlib.runs.desk import Plan, RunDesk
from tests.helpers import until

PLAN = Plan("sweep", ("sweep", "a", "b"))


@pytest.fixture
def desks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunDesk]:
    """Two processes' views of one home folder."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    return [RunDesk(Answers(tmp_path / "results.sqlite").database) for _ in range(2)]


def test_a_run_is_a_row_with_its_progress_and_its_end(desks: list[RunDesk]) -> None:
    with desks[0].held("k", PLAN) as progress:
        progress(3, 12)
        (row,) = until(lambda: [one for one in desks[1].listed() if one["done"] == 3])
        assert (row["kind"], row["state"], row["total"], row["owner"]) == ("sweep", "running", 12, desks[0].owner)
        assert row["seconds_left"] > 0 and row["arguments"] == ["sweep", "a", "b"]
    ended = desks[1].find(row["id"])
    assert ended is not None and ended["state"] == "done"
    assert ended["total"] == ended["done"] == 3, "what was expected beside was known in the end"
    with pytest.raises(ZeroDivisionError), desks[0].held("k", PLAN):
        raise ZeroDivisionError("by zero")
    assert [(one["state"], one["message"]) for one in desks[1].listed()] == [("failed", "by zero")]


def test_whoever_comes_second_follows_and_finds_everything_done(desks: list[RunDesk]) -> None:
    order, seen = [], []

    def second() -> None:
        with desks[1].held("k", PLAN, lambda *how: seen.append(how)):
            order.append("second")

    with desks[0].held("k", PLAN) as progress:
        progress(5, 9)
        other = threading.Thread(target=second)
        other.start()
        until(lambda: (5, 9) in seen)
        order.append("first")
    other.join()
    assert order == ["first", "second"]
    with desks[1].held("another", PLAN):  # other work does not wait
        pass


def test_a_dead_owner_is_succeeded(desks: list[RunDesk], monkeypatch: pytest.MonkeyPatch) -> None:
    assert desks[0]._take("k", PLAN)
    assert not desks[1]._take("k", PLAN)
    monkeypatch.setattr(module, "STALE_S", 0.05)
    time.sleep(0.1)
    assert [one["state"] for one in desks[1].listed()] == ["stale"]
    with desks[1].held("k", PLAN):
        assert desks[0].listed()[0]["owner"] == desks[1].owner


def test_a_process_that_was_killed_need_not_be_waited_for(desks: list[RunDesk]) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    alive, gone = desks[0].owner, desks[0].owner.replace(f":{os.getpid()}:", f":{int(ended.stdout)}:")
    elsewhere = f"another.machine:1:{int(ended.stdout)}:abc"
    states = []
    for number, owner in enumerate((alive, gone, elsewhere, "nonsense")):
        desks[0].owner = owner
        assert desks[0]._take(f"k{number}", PLAN)
        states.append(desks[1].listed()[0]["state"])
        assert desks[1]._take(f"k{number}", PLAN) == (owner == gone)
    assert states == ["running", "stale", "running", "running"]


def test_a_cut_off_run_can_be_given_up(desks: list[RunDesk], monkeypatch: pytest.MonkeyPatch) -> None:
    assert desks[0]._take("k", PLAN)
    monkeypatch.setattr(module, "STALE_S", -1)
    (row,) = desks[1].listed()
    assert row["state"] == "stale" and desks[1].cancel(row["id"])
    assert desks[1].find(row["id"])["state"] == "cancelled"  # type: ignore[index]


def test_whoever_follows_a_run_that_is_cancelled_ends_with_it(desks: list[RunDesk]) -> None:
    ended, seen = [], []

    def follower() -> None:
        try:
            with desks[1].held("k", PLAN, lambda *how: seen.append(how)):
                ended.append("worked")
        except Cancelled:
            ended.append("cancelled")

    other = threading.Thread(target=follower)
    with pytest.raises(Cancelled), desks[0].held("k", PLAN) as progress:
        progress(1, 9)
        other.start()
        until(lambda: (1, 9) in seen)
        assert desks[0].cancel(desks[0].listed()[0]["id"])
        assert desks[1].listed()[0]["state"] == "stopping"
        until(lambda: _raises(progress))
        raise Cancelled
    other.join()
    assert ended == ["cancelled"]


def _raises(progress: Callable[[int, int], object]) -> bool:
    try:
        progress(1, 9)
    except Cancelled:
        return True
    return False


def test_whoever_follows_goes_on_where_the_other_gave_up(desks: list[RunDesk]) -> None:
    """An interrupt of one process is no cancel of what others want."""
    worked, seen = [], []

    def follower() -> None:
        with desks[1].held("k", PLAN, lambda *how: seen.append(how)):
            worked.append(True)

    other = threading.Thread(target=follower)
    with pytest.raises(KeyboardInterrupt), desks[0].held("k", PLAN) as progress:
        progress(1, 9)
        other.start()
        until(lambda: (1, 9) in seen)
        raise KeyboardInterrupt
    other.join()
    assert worked == [True]


def test_a_row_that_somebody_damaged_is_listed(desks: list[RunDesk]) -> None:
    for number, plan in enumerate(("no json", "[]", '{"arguments": 3}', "{}")):
        with desks[0].held(f"k{number}", PLAN):
            pass
        desks[0]._database.change("UPDATE runs SET plan = ? WHERE key = ?", (plan, f"k{number}"))
    assert [one["arguments"] for one in desks[1].listed()] == [[]] * 4


def test_a_cancel_reaches_the_owner_wherever_it_is(desks: list[RunDesk]) -> None:
    def cancelled() -> None:
        with desks[0].held("k", PLAN) as progress:
            assert desks[1].cancel(desks[1].listed()[0]["id"])
            while True:
                progress(1, 2)
                time.sleep(0.01)

    with pytest.raises(Cancelled):
        cancelled()
    (row,) = desks[1].listed()
    assert row["state"] == "cancelled" and not desks[1].cancel(row["id"]) and not desks[1].cancel("nobody")
    with desks[1].held("k", PLAN) as progress:
        progress(1, 2)  # asked for again, it runs


def test_whoever_follows_may_give_up(desks: list[RunDesk]) -> None:
    def impatient(*_: int) -> None:
        raise Cancelled

    with desks[0].held("k", PLAN), pytest.raises(Cancelled), desks[1].held("k", PLAN, impatient):
        raise AssertionError("nobody but the owner gets here")
    assert desks[0].listed()[0]["state"] == "done"


def test_without_its_file_work_simply_runs(tmp_path: Path) -> None:
    (tmp_path / "results.sqlite").mkdir()
    desk = RunDesk(Answers(tmp_path / "results.sqlite").database)
    with desk.held("k", PLAN) as progress:
        progress(1, 2)
    assert desk.listed() == []
