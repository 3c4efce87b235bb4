"""A new training run: regime, start and pictures, what it costs, and the button."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from fusionlib.charts.training import schedule_figure
from fusionlib.contracts import ARCHITECTURES, REGIMES, Regime
from fusionlib.errors import FusionError
from fusionlib.lab.plan import build_regime
from fusionlib.studio import Selection
from fusionlib.studio.trained import BatchTime, Outlay, outlay
from fusionlib.studio.training import Wish
from pages.widgets.compare_parts import all_data, offered
from pages.widgets.parameter_form import drawable, parameter_form
from pages.widgets.problems import problems_shown, show_problem
from pages.widgets.progress import duration, running
from pages.widgets.server import studio
from pages.widgets.style import CHART

SCRATCH = "random weights"
PREFIX, FIRST = "lab/", "sse"
NAME = "lab-name"
_CROPS = {"128 x 256": (128, 256), "96 x 192": (96, 192), "256 x 512": (256, 512), "512 x 512": (512, 512)}


def new_run(chosen: Selection | None) -> None:
    """The controls, the planned learning rate, the price and the button."""
    data = all_data()
    if not data:
        st.info(
            "No data is chosen: load labelled pictures on the Workspace page, or start with --data SPEC.",
            icon=":material/info:",
        )
        return
    top = st.columns([3, 3, 3, 1.5, 1.5], vertical_alignment="bottom")
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
    epochs = int(top[3].number_input("Epochs", 1, 1000, 3, key="lab-epochs"))
    batch = int(top[4].number_input("Batch", 1, 256, 8, key="lab-batch", help="Pictures of a step"))
    st.caption(f"{kind.summary}. Leaves {kind.leaves[:1].lower()}{kind.leaves[1:].rstrip('.')}.")
    settings, more = _details(name, kind, start, data)
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
        found = outlay(wish, len(pictures), apart)
        network = more["architecture"] or (str(item.known[0]) if item and item.known else start)
        _button(wish, found, network, len(pictures))
        st.plotly_chart(schedule_figure(found.rates), key="lab-planned", config=CHART)
        st.caption(f"The learning rate over {found.steps:,} steps of {batch} crops.")


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


def _details(name: str, kind: type[Regime], start: str, data: Mapping[str, Any]) -> tuple[dict[str, Any], dict]:
    """Parameters of the regime, and what every regime goes by."""
    with st.expander("Parameters", icon=":material/tune:", expanded=kind.needs_target):
        settings = parameter_form(PREFIX, name, drawable(kind), [])
        left, middle, right = st.columns(3, vertical_alignment="bottom")
        seed = int(left.number_input("seed", 0, 2**31, 0, key="lab-seed", help="Order of pictures, crops and dropout"))
        crop = middle.selectbox("crop", list(_CROPS), key="lab-crop", help="Height x width of the random crops")
        weights = right.toggle(
            "class weights", value=True, key="lab-weights", help="Rare classes count more in the cross-entropy"
        )
        architecture = None
        if start == SCRATCH:
            architecture = st.selectbox(
                "network",
                ARCHITECTURES.names(),
                index=ARCHITECTURES.names().index("enet") if "enet" in ARCHITECTURES.names() else 0,
                key="lab-network",
            )
        target: tuple[str, ...] = ()
        select: tuple[str, ...] = ()
        if kind.needs_target:
            target = _picked("unlabelled pictures", "target", "Of the domain to adapt to", data)
        if _chooses(name, settings):
            select = _picked("pictures to choose by", "select", "Labelled, and not those to train on", data)
    more = {
        "seed": seed,
        "crop": _CROPS[crop],
        "class_weights": weights,
        "architecture": architecture,
        "target": target,
        "select": select,
    }
    return settings, more


def _chooses(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether a regime with these parameters must be given pictures to choose by."""
    try:
        return build_regime(name, settings).needs_select
    except FusionError:
        return False


def _picked(label: str, key: str, about: str, data: Mapping[str, Any]) -> tuple[str, ...]:
    """Specs of the data chosen."""
    picked = st.multiselect(label, list(data), key=f"lab-{key}", help=about)
    return tuple(studio().workspace.pictures(*data[one]).spec for one in picked)


def _button(wish: Wish, found: Outlay, network: str, pictures: int) -> None:
    desk = studio().training
    time = BatchTime(wish, network, studio().store, desk.options, studio().device.type)
    time = st.session_state.setdefault(f"lab-time/{time.key}", time)
    left, middle, right = st.columns([2, 3, 3], vertical_alignment="bottom")
    name = left.text_input(
        "Name", desk.free_name(wish.regime), key=f"{NAME}/{wish.regime}/{len(desk.runs())}", max_chars=40
    )
    known = time.seconds
    price = f"{found.batches:,} batches" + ("" if known is None else f", about {duration(found.batches * known)}")
    if middle.button(f"Train: {price}", key="lab-train", icon=":material/play_arrow:", type="primary", width="stretch"):
        try:
            desk.new(name, wish).want()
        except FusionError as problem:
            show_problem(problem)
            return
        st.session_state["lab-run"] = name
        st.toast(f"{name} has begun: see Runs", icon=":material/science:")
    if running(time, "lab-time", "Time of a batch", unit=lambda: "batches") or known is not None:
        return
    if right.button(
        "How long does that take?",
        key="lab-cost",
        icon=":material/timer:",
        width="stretch",
        help="Trains three batches in a process of its own and writes nothing",
    ):
        time.want()
        st.rerun()
