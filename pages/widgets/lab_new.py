"""A new training run: regime, start and pictures, what it costs, and the button."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from fusionlib.charts.training import schedule_figure
from fusionlib.contracts import ARCHITECTURES, REGIMES, Parameter, Regime
from fusionlib.errors import FusionError
from fusionlib.lab.plan import VALIDATED, build_regime
from fusionlib.studio import Selection
from fusionlib.studio.trained import BatchTime, Outlay, outlay
from fusionlib.studio.training import Wish
from pages.widgets.compare_parts import all_data, offered
from pages.widgets.diagnostics_controls import kept
from pages.widgets.parameter_form import drawable, parameter_form
from pages.widgets.problems import plain, problems_shown, show_problem
from pages.widgets.progress import duration, running
from pages.widgets.server import studio
from pages.widgets.style import CHART

SCRATCH = "random weights"
NOWHERE = "nothing"
PREFIX, FIRST = "lab/", "sse"
NAME = "lab-name"
TAB, NEW, RUNS = "lab-tab", "New run", "Runs"
"""The tabs of the page, and two of them."""

NOT_TAKEN = "lab-not-taken"
"""What of another run's settings the form does not have, in words."""

GO_TO_RUNS = "lab-go"
"""Whether the page shows the runs next."""

LEAST = {"epochs": 1, "batch": 1, "seed": 0, "count": 0}
MOST = {"epochs": 1000, "batch": 256, "seed": 2**31, "count": 10000}
"""What the numbers of the form go from, and up to."""

CROPS = {"128 x 256": (128, 256), "96 x 192": (96, 192), "256 x 512": (256, 512), "512 x 512": (512, 512)}


def new_run(chosen: Selection | None) -> None:
    """The controls, the planned learning rate, the price and the button."""
    data = all_data()
    if not data:
        st.info(
            "No data is chosen: load labelled pictures on the Workspace page, or start with --data SPEC.",
            icon=":material/info:",
        )
        return
    if lost := st.session_state.get(NOT_TAKEN):
        st.warning(plain(lost), icon=":material/info:")
    top = st.columns([3, 3, 3, 3, 1.6, 1.6], vertical_alignment="bottom")
    name = offered(
        top[0],
        "Regime",
        "regime",
        REGIMES.names(),
        FIRST,
        "How to train: what it leaves and when it helps stands in the Guide",
        lambda one: REGIMES.get(one).title,
    )
    kind = REGIMES.get(name)
    start = _start(top[1], chosen, kind)
    train = offered(top[2], "Train on", "train", data, _first(data, chosen), "Labelled pictures")
    validate = offered(
        top[3],
        "Validate on",
        "validate",
        [NOWHERE, *(one for one in data if one != train)],
        _apart(data, train),
        "mIoU on a few of these while the run goes on, of all that it saves; they change nothing of it",
    )
    epochs = int(top[4].number_input("Epochs", 1, MOST["epochs"], key=_first_value("lab-epochs", 3)))
    batch = int(
        top[5].number_input("Batch", 1, MOST["batch"], help="Pictures of a step", key=_first_value("lab-batch", 8))
    )
    st.caption(f"{kind.summary}. Leaves {kind.leaves[:1].lower()}{kind.leaves[1:].rstrip('.')}.")
    settings, more = _details(name, kind, start, data, validate)
    if kind.needs_target and not more["target"]:
        st.info(f"{kind.title} adapts to unlabelled pictures: choose some under Parameters.", icon=":material/info:")
        return
    if not more["select"] and _chooses(name, settings):
        st.info(f"{kind.title} chooses by pictures apart: name some under Parameters.", icon=":material/info:")
        return
    workspace = studio().workspace
    with problems_shown():
        pictures = workspace.pictures(*data[train])
        item = None if start == SCRATCH else workspace.get(start)
        wish = Wish(
            regime=name,
            data=(pictures.spec,),
            settings=settings,
            start=None if item is None else str(item.checkpoint.path),  # type: ignore[union-attr]
            epochs=epochs,
            batch=batch,
            **more,
        )
        apart = sum(len(workspace.open_pictures(spec, None)) for spec in wish.select)
        looked = None if validate == NOWHERE else workspace.pictures(*data[validate])
        wish = replace(wish, validate=() if looked is None else (looked.spec,))
        found = outlay(wish, len(pictures), apart, 0 if looked is None else len(looked))
        network = more["architecture"] or (str(item.known[0]) if item and item.known else start)
        _button(wish, found, network, len(pictures))
        st.plotly_chart(schedule_figure(found.rates, found.saved), key="lab-planned", config=CHART)
        st.caption(" ".join(filter(None, (_planned(found, batch), _usual_rate(kind, item is not None)))))


def _start(place: Any, chosen: Selection | None, kind: type[Regime]) -> str:
    names = [item.name for item in studio().workspace.usable() if item.known]
    first = chosen.a if chosen is not None and chosen.a in names else (names or [SCRATCH])[0]
    options = [*names, SCRATCH]
    about = f"{kind.title} is meant to begin at a trained network. " if kind.wants_start else ""
    return offered(place, "Start", "start", options, first, f"{about}Where it begins")


def _first(data: Mapping[str, Any], chosen: Selection | None) -> str:
    """The split to train on of the sidebar's data, else the first of all."""
    of = [name for name, (source, _) in data.items() if chosen is not None and source == chosen.source]
    return next((name for name in of if data[name][1] == "train"), (of or list(data))[0])


def _apart(data: Mapping[str, Any], train: str) -> str:
    """Another split of the same pictures; none where there is none."""
    splits = {split: name for name, (source, split) in data.items() if source == data[train][0] and name != train}
    return next((splits[split] for split in ("val", "test") if split in splits), NOWHERE)


def _planned(found: Outlay, batch: int) -> str:
    """What the chart shows, and what validating takes."""
    said = f"The learning rate over {found.steps:,} steps of {batch} crops; dots: the files."
    if found.networks:
        said += f" Validating {found.networks} networks takes {found.validation:,} forward passes of whole pictures."
    return said


def _usual_rate(kind: type[Regime], start: bool) -> str:
    """That a trained start has another default, in place of a rate that would ruin it."""
    return " ".join(
        f"{item.name} is {item.usual(start):g} by default {'from a trained start' if start else 'from random weights'}"
        f" ({item.usual(not start):g} {'from random weights' if start else 'from a trained start'})."
        for item in drawable(kind)
        if item.from_start is not None
    )


def _usual(kind: type[Regime], start: bool) -> list[Parameter]:
    """The parameters of a regime with the defaults that go with a trained start, or with none."""
    return [replace(item, default=item.usual(start), help=f"{item.help}. {_usual_rate(kind, start)}"
                    if item.from_start is not None else item.help) for item in drawable(kind)]  # fmt: skip


def _details(
    name: str, kind: type[Regime], start: str, data: Mapping[str, Any], validate: str
) -> tuple[dict[str, Any], dict]:
    """Parameters of the regime, and what every regime goes by."""
    with st.expander("Parameters", icon=":material/tune:", expanded=kind.needs_target):
        scratch = start == SCRATCH
        settings = parameter_form(PREFIX, f"{name}/{SCRATCH}" if scratch else name, _usual(kind, not scratch), [])
        left, middle, right, last = st.columns(4, vertical_alignment="bottom")
        seed = int(
            left.number_input(
                "seed", 0, MOST["seed"], help="Order of pictures, crops and dropout", key=_first_value("lab-seed", 0)
            )
        )
        crop = middle.selectbox(
            "crop",
            list(CROPS),
            key=_first_value("lab-crop", next(iter(CROPS))),
            help="Height x width of the random crops",
        )
        weights = right.toggle(
            "class weights", help="Rare classes count more in the cross-entropy", key=_first_value("lab-weights", True)
        )
        count = VALIDATED
        if validate != NOWHERE:
            about = "Evenly spread over those to validate on; 0: all of them"
            count = int(
                last.number_input(
                    "pictures to validate on", 0, MOST["count"], help=about, key=_first_value("lab-count", VALIDATED)
                )
            )
        architecture = None
        if scratch:
            names = ARCHITECTURES.names()
            first = "enet" if "enet" in names else names[0]
            architecture = st.selectbox("network", names, key=_first_value("lab-network", first))
        target: tuple[str, ...] = ()
        select: tuple[str, ...] = ()
        if kind.needs_target:
            target = _picked("unlabelled pictures", "target", "Of the domain to adapt to", data)
        if _chooses(name, settings):
            select = _picked("pictures to choose by", "select", "Labelled, and not those to train on", data)
    more = {
        "seed": seed,
        "crop": CROPS[crop],
        "class_weights": weights,
        "architecture": architecture,
        "target": target,
        "select": select,
        "validate_count": count,
    }
    return settings, more


def _first_value(key: str, value: Any) -> str:
    """The key of a widget that begins with a value; one that was entered, or taken over from a run, stays over a look
    at another page.
    """
    st.session_state.setdefault(key, kept(key, value))
    st.session_state[f"kept/{key}"] = st.session_state[key]
    return key


def _chooses(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether a regime with these parameters must be given pictures to choose by."""
    try:
        return build_regime(name, settings).needs_select
    except FusionError:
        return False


def _picked(label: str, key: str, about: str, data: Mapping[str, Any]) -> tuple[str, ...]:
    """Specs of the data chosen."""
    held = _first_value(f"lab-{key}", [])
    st.session_state[held] = [one for one in st.session_state[held] if one in data]
    picked = st.multiselect(label, list(data), key=held, help=about)
    return tuple(studio().workspace.pictures(*data[one]).spec for one in picked)


def _button(wish: Wish, found: Outlay, network: str, pictures: int) -> None:
    desk = studio().training
    time = BatchTime(wish, network, studio().store, desk.options, studio().device.type)
    time = st.session_state.setdefault(f"lab-time/{time.key}", time)
    left, middle, right = st.columns([2, 3, 3], vertical_alignment="bottom")
    name = left.text_input(
        "Name", desk.free_name(wish.regime), key=f"{NAME}/{wish.regime}/{len(desk.runs())}", max_chars=40
    )
    known = time.pace
    price = f"{found.batches:,} batches" + ("" if known is None else f", about {duration(known.of(found))}")
    if middle.button(f"Train: {price}", key="lab-train", icon=":material/play_arrow:", type="primary", width="stretch"):
        try:
            desk.new(name, wish).want()
        except FusionError as problem:
            show_problem(problem)
            return
        st.session_state["lab-run"], st.session_state[GO_TO_RUNS] = name, True
        st.session_state.pop(NOT_TAKEN, None)
        st.rerun()
    if running(time, "lab-time", "Time of a batch", unit=lambda: "batches") or known is not None:
        return
    if right.button(
        "How long does that take?",
        key="lab-cost",
        icon=":material/timer:",
        width="stretch",
        help="Trains three batches, and validates once, in a process of its own; writes nothing",
    ):
        time.want()
        st.rerun()
