"""The form of a new training run, filled in with what another run was told."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import streamlit as st

from fusionlib.errors import FusionError
from fusionlib.studio.training import Wish
from pages.widgets.compare_parts import all_data
from pages.widgets.diagnostics_controls import keep
from pages.widgets.lab_new import CROPS, MOST, NEW, NOWHERE, PREFIX, SCRATCH, TAB
from pages.widgets.parameter_form import begin_anew
from pages.widgets.server import studio


def begin_like(wish: Wish) -> None:
    """Callback: the form says what this run was told; what is not loaded any more stays as the form has it."""
    start = SCRATCH if wish.start is None else _called(wish.start)
    train, looked = _names(wish.data), _names(wish.validate)
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
    crop = next((name for name, size in CROPS.items() if size == wish.crop), None)
    numbers = {"epochs": wish.epochs, "batch": wish.batch, "seed": wish.seed, "count": wish.validate_count}
    told: dict[str, Any] = {
        **{name: min(number, MOST[name]) for name, number in numbers.items()},
        "weights": wish.class_weights,
        "crop": crop,
        "network": wish.architecture,
        "target": _names(wish.target),
        "select": _names(wish.select),
    }
    st.session_state.update({f"lab-{name}": value for name, value in told.items() if value is not None})
    form = f"{wish.regime}/{SCRATCH}" if wish.start is None else wish.regime
    begin_anew(PREFIX, form, wish.settings)
    st.session_state[TAB] = NEW


def _called(path: str) -> str | None:
    """The name of a checkpoint of the workspace."""
    known = [item for item in studio().workspace.usable() if item.known]
    return next((item.name for item in known if item.checkpoint and str(item.checkpoint.path) == path), None)


def _names(specs: Sequence[str]) -> list[str]:
    """What pictures of the workspace are called that have these specs."""
    names = []
    for name, pair in all_data().items() if specs else ():
        with suppress(FusionError):
            if studio().workspace.pictures(*pair).spec in specs:
                names.append(name)
    return names
