"""The device's one thread and the background jobs around it."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from helpers import until

from fusionlib.engine.jobs import Job
from fusionlib.engine.worker import FRAME, JOB, Worker
from fusionlib.errors import Cancelled, UsageError


@pytest.fixture
def worker() -> Worker:
    return Worker("test")


def held(worker: Worker) -> threading.Event:
    """Keep the worker busy until the event is set."""
    gate, begun = threading.Event(), threading.Event()
    worker.submit(lambda: (begun.set(), gate.wait(20)), FRAME)
    assert begun.wait(20)
    return gate


def test_everything_runs_in_one_thread_which_is_not_the_callers(worker: Worker) -> None:
    threads = {worker.run(threading.get_ident) for _ in range(5)}
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_frames_go_before_jobs_and_each_kind_in_order(worker: Worker) -> None:
    gate, ran = held(worker), []
    futures = [
        worker.submit(lambda name=name: ran.append(name), priority)
        for name, priority in (("j1", JOB), ("f1", FRAME), ("j2", JOB), ("f2", FRAME))
    ]
    gate.set()
    for future in futures:
        future.result(20)
    assert ran == ["f1", "f2", "j1", "j2"]


def test_a_call_from_within_runs_at_once_and_does_not_lock_up(worker: Worker) -> None:
    assert worker.submit(lambda: worker.run(lambda: 41) + 1).result(20) == 42


def test_an_exception_belongs_to_its_caller_and_the_thread_lives_on(worker: Worker) -> None:
    for problem in (ValueError("mine"), SystemExit(3), KeyboardInterrupt()):

        def fail(problem: BaseException = problem) -> None:
            raise problem

        with pytest.raises(type(problem)):
            worker.run(fail)
    assert worker.run(lambda: 7) == 7


def test_a_cancelled_future_is_never_run(worker: Worker) -> None:
    gate, ran = held(worker), []
    future = worker.submit(lambda: ran.append(1))
    assert future.cancel()
    gate.set()
    assert worker.run(lambda: "on") == "on"
    assert ran == []


# --- jobs -------------------------------------------------------------------------------------------------------------


def endless(job: Job) -> None:
    while True:
        job.progress(1, 100)
        time.sleep(0.001)


def test_a_job_reports_progress_and_its_result() -> None:
    gate = threading.Event()

    def work(job: Job) -> str:
        job.progress(3, 10)
        gate.wait(20)
        job.progress(10, 10)
        return "made"

    job = Job("test")
    assert (job.state, job.seconds_left) == ("idle", None)
    job.start(work)
    until(lambda: job.done == 3)
    assert job.state == "running" and job.total == 10
    assert job.seconds_left is not None and job.seconds_left >= 0
    gate.set()
    job.wait(20)
    assert (job.state, job.result, job.done, job.message, job.seconds_left) == ("done", "made", 10, None, None)


def test_the_time_left_follows_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    job, gate = Job("test"), threading.Event()
    job.start(lambda job: gate.wait(20))
    now[0] += 4
    job.progress(2, 10)
    assert job.seconds_left == pytest.approx(16)
    gate.set()
    job.wait()


def test_a_second_run_is_estimated_from_its_own_progress() -> None:
    job = Job("test").start(lambda job: job.progress(1000, 1000))
    job.wait(20)
    gate = threading.Event()
    job.start(lambda job: (job.progress(1, 10), gate.wait(20)))
    until(lambda: job.total == 10)
    assert job.done == 1 and job.seconds_left is not None
    gate.set()
    job.wait(20)


def test_starting_a_running_job_again_does_nothing() -> None:
    gate, runs = threading.Event(), []
    job = Job("test").start(lambda job: (runs.append(1), gate.wait(20)))
    job.start(lambda job: runs.append(2))
    gate.set()
    job.wait(20)
    assert runs == [1]


def test_cancel_takes_effect_within_a_second_and_a_restart_works() -> None:
    job = Job("test").start(endless)
    until(lambda: job.total)
    asked = time.monotonic()
    job.cancel()
    job.wait(20)
    assert job.state == "cancelled" and time.monotonic() - asked < 1
    job.start(lambda job: (job.progress(1, 1), "again")[1])
    job.wait(20)
    assert (job.state, job.result) == ("done", "again")


def test_a_start_right_after_a_cancel_is_not_lost() -> None:
    for _ in range(30):
        job = Job("test").start(endless)
        until(lambda job=job: job.total)
        job.cancel()
        job.start(lambda job: job.progress(5, 5))
        until(lambda job=job: job.state != "running")
        assert (job.state, job.total) == ("done", 5)


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (UsageError("This", "that", "Do"), "This. Needs: that. Do."),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
def test_a_failure_is_told_in_one_line(problem: Exception, said: str) -> None:
    def work(_: Job) -> None:
        raise problem

    job = Job("test").start(work)
    job.wait(20)
    assert (job.state, job.message) == ("failed", said)
    job.start(lambda job: None)
    job.wait(20)
    assert (job.state, job.message) == ("done", None)


def test_following_passes_progress_on_and_says_what_failed() -> None:
    seen, gate = [], threading.Event()
    job = Job("test").start(lambda job: (job.progress(3, 10), gate.wait(20)))

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        gate.set()

    job.follow(progress)
    assert seen[0] == (3, 10) and job.state == "done"
    failing = Job("test").start(lambda job: 1 // 0)
    with pytest.raises(UsageError, match=r"ZeroDivisionError.*a job that works"):
        failing.follow(needs="a job that works")


def test_the_last_steps_are_told_however_soon_the_end_comes_after_them() -> None:
    gate, told, job = threading.Event(), [], Job("quick at the end")

    def work(running: Job) -> None:
        running.progress(0, 2)
        gate.wait(20)
        running.progress(2, 2)

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        gate.set()
        until(lambda: job.state == "done")

    job.start(work).follow(progress)
    assert told == [(0, 2), (2, 2)]


def test_an_interrupt_while_following_cancels_and_waits() -> None:
    job = Job("test").start(endless)

    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.follow(interrupted)
    assert job.state == "cancelled" and not job.stopping


def test_whoever_follows_what_somebody_else_cancels_is_told() -> None:
    job = Job("test").start(endless)
    with pytest.raises(Cancelled):
        job.follow(lambda *_: job.cancel())
    assert job.state == "cancelled"


def test_a_cancelled_job_is_stopping_until_its_batch_ends() -> None:
    gate = threading.Event()
    job = Job("test").start(lambda job: (gate.wait(20), job.progress(1, 1)))
    assert not job.stopping
    job.cancel()
    assert job.stopping
    gate.set()
    job.wait(20)
    assert job.state == "cancelled" and not job.stopping


def test_a_real_interrupt_waits_for_the_batch_that_is_running() -> None:
    ended = []

    def work(job: Job) -> None:
        time.sleep(0.4)  # a batch
        ended.append(1)
        job.progress(1, 2)

    job = Job("test").start(work)
    here = threading.main_thread().ident
    assert here is not None
    threading.Timer(0.05, signal.pthread_kill, (here, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        job.follow()
    assert ended and job.state == "cancelled"


def test_work_that_was_cancelled_between_two_steps_is_cancelled_and_not_done() -> None:
    def work(job: Job) -> None:
        job.cancel()

    job = Job("steps").start(work)
    job.wait(10)
    assert job.state == "cancelled"
