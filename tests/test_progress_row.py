"""The row of background work that all pages share."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pages.widgets import progress


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the row asks of Streamlit: where it draws anew, its bar, its errors, and a Cancel that `pressed` presses."""
    found = SimpleNamespace(drawn=[], bars=[], errors=[], pressed=False, disabled=None)

    def button(*_: object, disabled: bool, **__: object) -> bool:
        found.disabled = disabled
        return found.pressed

    column = SimpleNamespace(progress=lambda share, text: found.bars.append((share, text)), button=button)
    monkeypatch.setattr(progress.st, "rerun", lambda scope: found.drawn.append(scope))
    monkeypatch.setattr(progress.st, "columns", lambda *_, **__: (column, column))
    monkeypatch.setattr(progress.st, "fragment", lambda row, run_every: row)
    monkeypatch.setattr(progress.st, "error", lambda text, icon: found.errors.append(text))
    return found


def work(**about: object) -> SimpleNamespace:
    """A work under way."""
    cancelled: list[str] = []
    given = {"state": "running", "message": None, "done": 3, "total": 9, "seconds_left": 12.0, "stopping": False}
    given["stage"] = ""
    return SimpleNamespace(
        **{**given, **about},
        cancelled=cancelled,
        cancel=lambda: cancelled.append("cancel"),
        wait=lambda seconds: cancelled.append(f"wait {seconds:g}"),
    )


def test_it_says_how_far_and_how_long(seen: SimpleNamespace) -> None:
    assert progress.running(work(), "key", "Sweep")
    assert progress.running(work(seconds_left=240.0), "key", lambda: "row 2")
    assert progress.running(work(total=0, done=0, seconds_left=None), "key", "Sweep")
    assert progress.running(work(done=0, seconds_left=None, stage="reading picture 2 of 3"), "key", "Sweep")
    assert progress.running(work(done=0, seconds_left=None), "key", "Sweep")
    assert progress.running(work(stage="preparing"), "key", "Sweep")
    assert progress.running(work(stopping=True), "key", "Sweep") and seen.disabled
    assert [text for _, text in seen.bars] == [
        "Sweep: forward passes 3 of 9, about 12 s left",
        "row 2: forward passes 3 of 9, about 4 min left",
        "Sweep: starting",
        "Sweep: reading picture 2 of 3, then 9 forward passes",
        "Sweep: 9 forward passes begin",
        "Sweep: forward passes 3 of 9, preparing",
        "Stopping: Sweep ends at its next picture, what is finished is kept",
    ]
    assert [share for share, _ in seen.bars] == pytest.approx([1 / 3, 1 / 3, 0, 0, 0, 1 / 3, 1 / 3]) and not seen.drawn


def test_what_is_measured_meanwhile_draws_the_page_anew(seen: SimpleNamespace) -> None:
    job = work(parts_known=1)
    progress.running(job, "key", "Diagnosis", lambda: job.parts_known, 1)
    assert not seen.drawn
    job.parts_known = 2
    progress.running(job, "key", "Diagnosis", lambda: job.parts_known, 1)
    assert seen.drawn == ["app"]


def test_cancel_waits_a_moment_for_the_end(seen: SimpleNamespace) -> None:
    job, filled = work(), []
    seen.pressed = True
    progress.running(job, "key", "Sweep", draw=lambda: filled.append("drawn"))
    assert job.cancelled == ["cancel", "wait 1"] and seen.drawn == ["app"] and filled == ["drawn"]


def test_what_has_ended_has_no_row_and_says_why_it_failed(seen: SimpleNamespace) -> None:
    assert not progress.running(work(state="done"), "key", "Sweep") and not seen.errors
    assert not progress.running(work(state="failed", message="no *masks*"), "key", "Sweep")
    assert len(seen.errors) == 1 and seen.errors[0].startswith("The last run ended: no ") and not seen.bars
