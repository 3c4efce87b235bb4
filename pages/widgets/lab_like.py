"""The form of a new training run, filled in with what another run was told."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import streamlit as st

from fusionlib.contracts import ARCHITECTURES, REGIMES
from fusionlib.errors import FusionError, shown
from fusionlib.studio.training import TrainingRun
from pages.widgets.compare_parts import all_data
from pages.widgets.diagnostics_controls import keep
from pages.widgets.lab_new import CROPS, LEAST, MOST, NEW, NOT_TAKEN, NOWHERE, PREFIX, SCRATCH, TAB
from pages.widgets.parameter_form import begin_anew, read_values
from pages.widgets.server import studio


def begin_like(run: TrainingRun) -> None:
    """Callback: the form says what this run was told, and what of it is not here or does not fit."""
    wish, data = run.wish, _names([*run.wish.data, *run.wish.validate, *run.wish.target, *run.wish.select])
    known = wish.regime in REGIMES.names()
    start = SCRATCH if wish.start is None else _start(run)
    chosen: dict[str, Any] = {
        "regime": wish.regime if known else None,
        "start": start,
        "train": data.get(wish.data[0]) if wish.data else None,
        "validate": data.get(wish.validate[0]) if wish.validate else NOWHERE,
    }
    for name, value in chosen.items():
        if value is not None:
            st.session_state[name] = value
            keep(name)
        elif name == "start":  # as if nobody had chosen one
            for key in (name, f"kept/{name}"):
                st.session_state.pop(key, None)
    numbers = {"epochs": wish.epochs, "batch": wish.batch, "seed": wish.seed, "count": wish.validate_count}
    fitting = {name: min(max(number, LEAST[name]), MOST[name]) for name, number in numbers.items()}
    crop = next((name for name, size in CROPS.items() if size == wish.crop), None)
    network = wish.architecture if wish.architecture in ARCHITECTURES.names() else None
    told: dict[str, Any] = {
        **fitting,
        "weights": wish.class_weights,
        "crop": crop,
        "network": network,
        "target": [data[one] for one in wish.target if one in data],
        "select": [data[one] for one in wish.select if one in data],
    }
    st.session_state.update({f"lab-{name}": value for name, value in told.items() if value is not None})
    values, ignored = read_values(REGIMES.get(wish.regime), wish.settings) if known else ({}, list(wish.settings))
    begin_anew(PREFIX, f"{wish.regime}/{SCRATCH}" if wish.start is None else wish.regime, values)
    st.session_state[TAB] = NEW
    numbers = {name: number for name, number in numbers.items() if number != fitting[name]}
    lost = [
        *([] if known else [f"regime {shown(wish.regime)}"]),
        *([f"start {Path(str(wish.start)).name}"] if start is None else []),
        *(one for one in (*wish.data, *wish.validate, *wish.target, *wish.select) if one not in data),
        *(*wish.data[1:], *wish.validate[1:]),  # of these the form takes one
        *([] if crop else ["no crop" if wish.crop is None else "crop {} x {}".format(*wish.crop)]),
        *([f"network {wish.architecture}"] if wish.architecture != network else []),
        *(f"{name} {number:,}" for name, number in numbers.items()),
        *ignored,
    ]
    told_of = ", ".join(dict.fromkeys(lost))
    st.session_state[NOT_TAKEN] = f"Not taken over from {run.name}: {told_of}." if lost else ""


def _start(run: TrainingRun) -> str | None:
    """The name of the checkpoint of the workspace at which it began: by its content, before that is known by its
    place.
    """
    record, known = run.record, [item for item in studio().workspace.usable() if item.known]
    content = record.start.sha256 if record is not None and record.start is not None else None
    for item in known:
        there = item.checkpoint
        if there is not None and (there.fingerprint == content or (not content and str(there.path) == run.wish.start)):
            return item.name
    return None


def _names(specs: Sequence[str]) -> dict[str, str]:
    """What pictures of the workspace are called that have these specs."""
    names: dict[str, str] = {}
    for name, pair in all_data().items() if specs else ():
        with suppress(FusionError):
            if (spec := studio().workspace.pictures(*pair).spec) in specs:
                names.setdefault(spec, name)
    return names
