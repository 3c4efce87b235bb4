"""The drawer of runs, on every page: what is being worked off, by whichever page, session or process, and its end."""

from __future__ import annotations

import shlex
import time
from typing import Any

import streamlit as st

from pages.widgets.problems import plain
from pages.widgets.progress import duration
from pages.widgets.server import studio

SHOWN = 8
"""Runs that are listed, the newest first."""

RECENT_S = 3600.0
"""How long a run that has ended stays in the drawer."""

WORKING = ("running", "stopping")
LIVE = (*WORKING, "stale")


def runs_drawer() -> None:
    """Draw it into the sidebar; nothing where nothing has run lately. It looks again by itself while a run is on."""
    rows = _rows()
    if not rows:
        return
    live = any(row["state"] in WORKING for row in rows)
    with st.sidebar:
        if live:
            st.fragment(_drawer, run_every=2.0)()
        else:
            _drawer()


def _rows() -> list[dict[str, Any]]:
    since = time.time() - RECENT_S
    rows = [row for row in studio().runs.listed(50) if row["state"] in LIVE or row["heartbeat"] > since]
    return rows[:SHOWN]


def _drawer() -> None:
    rows = _rows()
    running = sum(row["state"] in WORKING for row in rows)
    with st.expander(f"Runs: {running} running" if running else "Runs", icon=":material/list_alt:"):
        for row in rows:
            _row(row)


def _row(row: dict[str, Any]) -> None:
    seconds = row["seconds_left"]
    left = "" if seconds is None else f", about {duration(seconds)} left"
    passes = f"{row['done']} of {row['total']} passes" if row["total"] else "starting"
    if row["state"] in WORKING:
        share = min(1.0, row["done"] / row["total"]) if row["total"] else 0.0
        stopping = row["state"] == "stopping"
        st.progress(share, text=f"{row['kind']}: {'stopping, ' if stopping else ''}{passes}{left}")
        st.button(
            "Cancel",
            key=f"run-cancel-{row['id']}",
            icon=":material/stop:",
            on_click=_cancel,
            args=(row["id"],),
            disabled=stopping,
            help="Ends after the picture in hand; what is finished is kept",
        )
        return
    message = f": {plain(row['message'])}" if row["message"] else ""
    state = "cut off: its process is gone" if row["state"] == "stale" else row["state"]
    st.caption(f"{row['kind']} {state}{message}, {passes}")
    if row["state"] in ("stale", "cancelled"):
        st.code(shlex.join(("python", "-m", "fusionlib", "runs", "resume", row["id"])), language=None)


def _cancel(id: str) -> None:
    studio().runs.cancel(id)
