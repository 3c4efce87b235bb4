"""Whose frame is next: sessions in turn, newest wishes only, dear ones not at the cost of others; and how long keys
live.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import tiny_world, until
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionlib.engine import turns as turns_module
from fusionlib.engine.turns import REMEMBERED, InOrder, Superseded, Turns
from fusionlib.errors import UsageError
from fusionlib.studio.live import SESSIONS, LiveDesk, LiveSession
from fusionlib.studio.recent import ENTRY_BYTES, Recent


class Busy:
    """Turns of one thread, which is held by a request of `somebody` until the gate is opened; what is made is noted."""

    def __init__(self) -> None:
        self.turns, self.gate, self.made = Turns(threads=1), threading.Event(), []
        begun = threading.Event()
        self.turns.ask("somebody", "m", 1, lambda: (begun.set(), self.gate.wait(20)))
        assert begun.wait(20)

    def ask(self, session: str, line: str = "m", generation: int = 1):
        return self.turns.ask(session, line, generation, lambda: self.made.append((session, line, generation)))


@pytest.fixture
def busy() -> Iterator[Busy]:
    opened = Busy()
    yield opened
    opened.gate.set()


def finish(busy: Busy, futures: list) -> None:
    busy.gate.set()
    for future in futures:
        until(future.done)


def test_sessions_come_in_turn_however_many_panes_one_has_waiting(busy: Busy) -> None:
    futures = [busy.ask("greedy", pane) for pane in "abcdefgh"] + [busy.ask("x"), busy.ask("y"), busy.ask("x", "a")]
    finish(busy, futures)
    order = [session for session, _, _ in busy.made]
    assert order == ["greedy", "x", "y", "greedy", "x", *["greedy"] * 6]
    assert [pane for session, pane, _ in busy.made if session == "greedy"] == list("abcdefgh")


def test_of_200_pending_frames_one_is_made_and_the_others_are_answered_at_once(busy: Busy) -> None:
    futures = [busy.ask("greedy", "m", generation) for generation in range(1, 201)]
    neighbour = busy.ask("neighbour")
    assert all(future.done() and isinstance(future.exception(), Superseded) for future in futures[:-1])
    finish(busy, [futures[-1], neighbour])
    assert busy.made == [("greedy", "m", 200), ("neighbour", "m", 1)]


def test_the_newest_takes_the_place_of_the_one_that_it_replaces(busy: Busy) -> None:
    futures = [busy.ask("x", "m", 1), busy.ask("y"), busy.ask("x", "m", 2)]
    finish(busy, futures)
    assert [session for session, _, _ in busy.made] == ["x", "y"]


def test_a_late_old_request_is_superseded_and_the_newest_may_be_asked_for_again(busy: Busy) -> None:
    busy.turns.note("x", "m", 5)
    assert isinstance(busy.ask("x", "m", 4).exception(1), Superseded)
    again = [busy.ask("x", "m", 5), busy.ask("y", "m", 4)]
    finish(busy, again)
    assert busy.made == [("x", "m", 5), ("y", "m", 4)], "sessions do not supersede one another"
    with pytest.raises(Superseded):
        busy.turns.check("x", "m", 4)
    busy.turns.check("x", "m", 5)


def test_an_exception_and_a_cancelled_request_leave_the_others_alone(busy: Busy) -> None:
    broken = busy.turns.ask("x", "m", 1, lambda: 1 // 0)
    gone, good = busy.ask("y"), busy.ask("z")
    assert gone.cancel()
    finish(busy, [broken, good])
    assert isinstance(broken.exception(), ZeroDivisionError) and busy.made == [("z", "m", 1)]


def test_a_session_has_one_request_in_the_making(busy: Busy) -> None:
    turns, gates, begun = Turns(threads=4), {pane: threading.Event() for pane in "ab"}, []
    futures = [turns.ask("x", pane, 1, lambda pane=pane: (begun.append(pane), gates[pane].wait(20))) for pane in "ab"]
    other = turns.ask("y", "m", 1, lambda: "at once")
    assert other.result(20) == "at once" and begun == ["a"]
    for gate in gates.values():
        gate.set()
    until(lambda: all(future.done() for future in futures))


def test_dear_requests_do_not_slow_down_cheap_ones() -> None:
    turns, made = Turns(threads=1), []

    def cost(name: str, seconds: float) -> None:
        made.append(name)
        turns.charge(name, seconds)

    def dear(generation: int) -> None:
        turns.ask(
            "dear", "m", generation, lambda: (cost("dear", 1.5), dear(generation + 1)) if generation < 40 else None
        )

    def cheap(generation: int) -> None:
        turns.ask(
            "cheap", "m", generation, lambda: (cost("cheap", 0.05), cheap(generation + 1)) if len(made) < 400 else None
        )

    gate = threading.Event()
    turns.ask("somebody", "m", 1, lambda: gate.wait(20))
    dear(1)
    cheap(1)
    gate.set()
    until(lambda: len(made) >= 400)
    shares = [made[start : start + 100].count("dear") for start in range(0, 400, 100)]
    assert all(2 <= share <= 5 for share in shares), "equal seconds: one dear frame for every 30 cheap ones"


def test_who_was_alone_for_long_is_not_punished_when_another_comes() -> None:
    turns, made = Turns(threads=1), []
    for generation in range(50):
        turns.ask("old", "m", generation, lambda: turns.charge("old", 10.0)).result(20)
    gate = threading.Event()
    turns.ask("somebody", "m", 1, lambda: gate.wait(20))
    futures = [turns.ask(name, "m", 60, lambda name=name: made.append(name)) for name in ("old", "new")]
    gate.set()
    for future in futures:
        future.result(20)
    assert made == ["old", "new"]


def test_a_lock_goes_to_whoever_asked_first() -> None:
    lock, order = InOrder(), []

    def take(number: int) -> None:
        with lock:
            order.append(number)

    threads = [threading.Thread(target=take, args=(number,), daemon=True) for number in range(8)]
    with lock:
        for number, thread in enumerate(threads):
            thread.start()
            until(lambda number=number: len(lock._queue) == number + 2)
    with lock:  # comes just as it is free, and waits behind the others
        assert len(order) == 8
    assert order == list(range(8))


def test_a_lock_is_let_go_where_its_holder_fails() -> None:
    lock = InOrder()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), lock:
            raise ZeroDivisionError


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("ab"), st.integers(0, 9)), max_size=40))
def test_whatever_is_asked_every_future_is_answered_and_the_newest_of_each_line_is_made(
    wishes: list[tuple[str, str, int]],
) -> None:
    busy = Busy()
    futures = [busy.ask(*wish) for wish in wishes]
    finish(busy, futures)
    newest = {
        (session, line): max(generation for s, p, generation in wishes if (s, p) == (session, line))
        for session, line, _ in wishes
    }
    assert sorted(busy.made) == sorted((session, line, generation) for (session, line), generation in newest.items())
    assert sum(future.exception() is None for future in futures) == len(newest)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "REMEMBERED", 20)
    turns = Turns(threads=1)
    for number in range(100):
        turns.ask(str(number), "m", 1, lambda: None).result(20)
    assert len(turns._newest) == 20 and len(turns._used) <= 20 and REMEMBERED > SESSIONS


# --- the cache of frames ----------------------------------------------------------------------------------------------


def test_what_was_used_longest_ago_goes_first() -> None:
    recent = Recent(limit=3 * (100 + ENTRY_BYTES))
    for name in "abc":
        assert recent.keep(name, name.upper(), 100) == name.upper()
    assert recent.get("a") == "A"
    recent.keep("d", "D", 100)
    assert [recent.get(name) for name in "abcd"] == ["A", None, "C", "D"]
    recent.keep("a", "again", 50)
    assert recent.get("a") == "again" and recent.bytes == 250 + 3 * ENTRY_BYTES


def test_one_beyond_the_limit_is_handed_out_and_pushes_nothing_out() -> None:
    recent = Recent(limit=10_000)
    recent.keep("small", 1, 10)
    assert recent.keep("large", 2, 20_000) == 2
    assert recent.get("large") is None and recent.get("small") == 1


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_session_that_only_scrubs_outlives_any_number_of_page_loads(tmp_path: Path) -> None:
    desk, kept = LiveDesk(), []
    with tiny_world(tmp_path, count=1) as world:
        view, session = world.view(), desk.open()
        desk.grant(session, view)
        for number in range(3 * SESSIONS):
            kept.append(desk.open())
            if number % 100 == 0:
                assert desk.find(session.key, view.id) is view
        assert len(desk) == SESSIONS
        with pytest.raises(UsageError):
            desk.find(kept[0].key, view.id)
        views = [world.view(policy) for policy in ("gaussian", "anchor", "recalibrate")]
        for number in range(20):  # the view that is dragged outlives others that were only opened
            desk.grant(session, views[number % 3])
            assert desk.find(session.key, view.id) is view


def test_a_key_ends_with_its_session(tmp_path: Path) -> None:
    desk = LiveDesk()
    with tiny_world(tmp_path, count=1) as world:
        view = world.view()
        session: LiveSession | None = desk.open()
        assert session is not None
        desk.grant(session, view)
        key = session.key
        assert desk.find(key, view.id) is view and len(desk) == 1
        session = None
        gc.collect()
        with pytest.raises(UsageError):
            desk.find(key, view.id)
        assert len(desk) == 0
