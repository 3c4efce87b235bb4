"""Works kept at hand: one for each key, and the oldest idle ones go."""

from __future__ import annotations

from fusionlib.engine.jobs import Job
from fusionlib.studio.desk import WorkDesk


def opened(desk: WorkDesk[Job], names: str) -> list[Job]:
    return [desk.open(name, lambda name=name: Job(name)) for name in names]


def test_the_same_key_finds_the_same_work() -> None:
    desk: WorkDesk[Job] = WorkDesk(2)
    a, b, again = opened(desk, "aba")
    assert a is again and a is not b and (a.title, b.title) == ("a", "b")


def test_of_too_many_those_asked_for_longest_ago_are_forgotten() -> None:
    desk: WorkDesk[Job] = WorkDesk(2)
    a, b, _, c = opened(desk, "abac")
    assert opened(desk, "ac") == [a, c], "b was asked for longest ago"
    assert opened(desk, "b") != [b]


def test_running_ones_stay_whatever_else_is_opened_and_so_does_the_last() -> None:
    desk: WorkDesk[Job] = WorkDesk(2)
    running = opened(desk, "ab")
    for job in running:
        job.state = "running"
    (c,) = opened(desk, "c")
    assert opened(desk, "c") == [c], "there is no idle one but itself"
    assert opened(desk, "ab") == running
    assert opened(desk, "c") != [c], "the only idle one that was not the last"
    running[0].state = "done"
    opened(desk, "d")
    assert opened(desk, "b") == [running[1]] and opened(desk, "a") != [running[0]]
