"""The form of a new training run, filled in with what another run was told."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import streamlit as st

from fusionlib.contracts import ARCHITECTURES
from fusionlib.errors import FusionError
from fusionlib.studio.training import TrainingRun
from pages.widgets.compare_parts import all_data
from pages.widgets.diagnostics_controls import keep
from pages.widgets.lab_new import CROPS, MOST, NEW, NOT_TAKEN, NOWHERE, PREFIX, SCRATCH, TAB
from pages.widgets.parameter_form import begin_anew
from pages.widgets.server import studio


def begin_like(run: TrainingRun) -> None:
    """Callback: the form says what this run was told, and what of it is not here or does not fit."""
    wish = run.wish
    start = SCRATCH if wish.start is None else _start(run)
    train, looked = _names(wish.data), _names(wish.validate)
    crop = next((name for name, size in CROPS.items() if size == wish.crop), None)
    chosen: dict[str, Any] = {
        "regime": wish.regime,
        "start": start,
        "train": train[0] if train else None,
        "validate": looked[0] if looked else None if wish.validate else NOWHERE,
    }
    for name, value in chosen.items():
        if value is not None:
            st.session_state[name] = value
            keep(name)
    numbers = {"epochs": wish.epochs, "batch": wish.batch, "seed": wish.seed, "count": wish.validate_count}
    told: dict[str, Any] = {
        **{name: min(number, MOST[name]) for name, number in numbers.items()},
        "weights": wish.class_weights,
        "crop": crop,
        "network": wish.architecture if wish.architecture in ARCHITECTURES.names() else None,
        "target": _names(wish.target),
        "select": _names(wish.select),
    }
    st.session_state.update({f"lab-{name}": value for name, value in told.items() if value is not None})
    form = f"{wish.regime}/{SCRATCH}" if wish.start is None else wish.regime
    begin_anew(PREFIX, form, wish.settings)
    st.session_state[TAB] = NEW
    specs = [wish.data, wish.validate[:1], wish.target, wish.select]
    taken = [train[:1], looked[:1], told["target"], told["select"]]
    lost = [spec for asked, there in zip(specs, taken, strict=True) for spec in asked[len(there) :]]
    lost += [f"start {Path(str(wish.start)).name}"] * (start is None)
    lost += ["no crop" if wish.crop is None else "crop {} x {}".format(*wish.crop)] * (crop is None)
    lost += [f"network {wish.architecture}"] * (wish.architecture is not None and told["network"] is None)
    lost += [f"{name} {number:,}" for name, number in numbers.items() if number > MOST[name]]
    st.session_state[NOT_TAKEN] = f"Not taken over from {run.name}: {', '.join(lost)}." if lost else ""


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


def _names(specs: Sequence[str]) -> list[str]:
    """What pictures of the workspace are called that have these specs."""
    names = []
    for name, pair in all_data().items() if specs else ():
        with suppress(FusionError):
            if studio().workspace.pictures(*pair).spec in specs:
                names.append(name)
    return names
