"""The one row that shows background work on a page: how far it is, the time left, Cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from pages.widgets.problems import plain


def running(
    work: Any,
    key: str,
    title: str | Callable[[], str],
    known: Callable[[], int] = int,
    seen: int | None = None,
    draw: Callable[[], None] | None = None,
    *,
    narrow: bool = False,
    unit: Callable[[], str] = lambda: "forward passes",
) -> bool:
    """Whether `work` runs; its row is drawn then, and renews itself. Says why where it failed.

    `title` says what it is about. The page is drawn anew when it ends, and when `known`, a count of what is known, is
    another than `seen`, what it was before the page was drawn (default: now). `draw` adds what fills meanwhile;
    `narrow` leaves the button room where the row stands in a column; `unit` is what its progress counts.
    """
    if work.state == "running":
        before = known() if seen is None else seen
        st.fragment(_row, run_every=1.0)(work, key, title, known, before, draw, narrow, unit)
        return True
    if work.state == "failed":
        st.error(f"The last run ended: {plain(str(work.message))}", icon=":material/error:")
    return False


def _row(
    work: Any,
    key: str,
    title: str | Callable[[], str],
    known: Callable[[], int],
    seen: int,
    draw: Callable[[], None] | None,
    narrow: bool,
    unit: Callable[[], str],
) -> None:
    if work.state != "running" or known() != seen:
        st.rerun(scope="app")
    left, right = st.columns([3, 2] if narrow else [5, 1], vertical_alignment="center")
    left.progress(
        min(1.0, work.done / work.total) if work.total else 0.0,
        _words(work, title if isinstance(title, str) else title(), unit()),
    )
    if right.button("Cancel", key=f"{key}-cancel", icon=":material/close:", width="stretch", disabled=work.stopping):
        work.cancel()
        work.wait(1.0)
        st.rerun(scope="app")
    if draw is not None:
        draw()


def _words(work: Any, title: str, unit: str) -> str:
    if work.stopping:
        return f"Stopping: {title} ends at its next picture, what is finished is kept"
    if not work.total:
        return f"{title}: {work.stage or 'starting'}"
    if not work.done:
        return (
            f"{title}: {work.stage}, then {work.total:,} {unit}"
            if work.stage
            else f"{title}: {work.total:,} {unit} begin"
        )
    seconds = work.seconds_left
    rest = "" if seconds is None else f", about {duration(seconds)} left"
    rest = f", {work.stage}" if work.stage else rest
    return f"{title}: {unit} {work.done} of {work.total}{rest}"


def duration(seconds: float) -> str:
    """Seconds or minutes, rounded."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
