"""Third tab of the Diagnose page: the learners inside a network, and what it makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from fusionlib.charts.learners import cosines_figure, subsets_figure
from fusionlib.errors import FusionError
from fusionlib.recipe import Recipe
from fusionlib.studio import MergeView, Selection
from fusionlib.studio.learners import LearnersWork, need_learners
from pages.widgets import link
from pages.widgets.diagnostics_tables import percent, twin
from pages.widgets.figure_table import figure_table
from pages.widgets.further import further_section
from pages.widgets.live import ALPHA
from pages.widgets.problems import plain, show_problem
from pages.widgets.progress import running
from pages.widgets.remarks import show_notes
from pages.widgets.server import studio
from pages.widgets.style import CHART
from pages.widgets.url import restored

NETWORK = "inside"
"""Whose learners are shown: name in the session state and in the URL."""

MERGE = "merge"

Row = dict[str, Any]


def learners_tab(chosen: Selection) -> None:
    """The choice of a network, the one button or the progress, the answer with its chart, and what unfolds."""
    with st.spinner("Reading checkpoints and data"):
        view = studio().view(chosen)
    if view.architecture is None or view.pictures is None or not view.pictures.labelled:
        st.info(
            f"{plain(view.obstacle) if view.obstacle else 'These pictures have no masks.'}"
            " The learners inside a network are asked on labelled pictures.",
            icon=":material/info:",
        )
        return
    try:
        need_learners(view.architecture)
    except FusionError as error:
        st.info(f"{plain(error.got)}. {plain(error.do)}.", icon=":material/info:")
        further_section("learners")
        return
    st.markdown("### What do the learners inside say?")
    recipe = _network(view)
    try:
        work = studio().learners.open(recipe, view.need_pictures())
    except FusionError as error:
        show_problem(error)
        return
    _run(work)


def _network(view: MergeView) -> Recipe:
    """A, B, or their merge at the alpha of the viewer."""
    alpha = restored(ALPHA, 0.5, lambda value: min(1.0, max(0.0, value)))
    a, b = view.selection.names[:2]
    options = {"a": f"A {a}", "b": f"B {b}", MERGE: f"Merge, alpha {alpha:g}"}
    link.only_of(NETWORK, options)
    st.session_state.setdefault(NETWORK, "a")
    st.segmented_control(
        "Network",
        list(options),
        required=True,
        key=NETWORK,
        format_func=options.__getitem__,
        label_visibility="collapsed",
    )
    which = st.session_state[NETWORK] or "a"
    return view.recipe(alpha) if which == MERGE else view.alone(which)


def _run(work: LearnersWork) -> None:
    if running(work, "learners", lambda: work.current or "Learners"):
        return
    found = work.snapshot()
    if not work.settled and st.button(
        f"Measure: {found['cost']:,} forward passes", key="learners-run", icon=":material/play_arrow:", type="primary"
    ):
        work.begin()
        st.rerun()
    if found["reason"]:
        st.error(plain(found["reason"]), icon=":material/error:")
    if not found["learners"]:
        st.caption("The learners, every subset of them and every fusion appear here: all of it out of one pass.")
        _costs(work)
        return
    left, right = st.columns([2, 3], gap="large")
    with left:
        _answer(found)
    with right:
        st.plotly_chart(subsets_figure(found), key="learners-chart", config=CHART)
    _table(found)
    _details(work, found)
    show_notes(work.pictures.notes)


def _answer(found: Row) -> None:
    """How much more the network knows than its learners."""
    gain = found["gain"]
    st.metric(
        "Together, over the mean of the learners",
        "n/a" if gain is None else f"{gain:+.2f} points",
        f"mIoU {100 * found['network']['miou']:.2f} %" if found["network"]["miou"] is not None else None,
        delta_color="off",
        delta_arrow="off",
        help="mIoU of the network's answer minus the mean mIoU of its learners alone",
    )
    apart = found["disagreement"]
    st.metric("Learners differ at", "n/a" if apart is None else f"{100 * apart:.2f} % of the pixels")


def _table(found: Row) -> None:
    rows = [
        *(_line(one["name"], one) for one in found["learners"]),
        _line("mean of the learners", found["mean"]),
        _line("the network", found["network"]),
    ]
    _shown(rows, "learners-table")


def _line(name: str, row: Row) -> Row:
    spread = row.get("spread")
    return {
        "who": name,
        "mIoU (%)": percent(row["miou"]),
        "pixel accuracy (%)": percent(row["pixel_accuracy"]),
        "loss (nats)": row["loss"],
        "ECE (%)": percent(row["ece"]),
        "variance (x 1e-3)": None if spread is None else 1000 * spread,
    }


FORMATS = {
    "mIoU (%)": "{:.2f}",
    "pixel accuracy (%)": "{:.2f}",
    "loss (nats)": "{:.4f}",
    "ECE (%)": "{:.2f}",
    "variance (x 1e-3)": "{:.3f}",
    "disagreement (%)": "{:.2f}",
    "diversity": "{:.1f}",
    "mean cosine": "{:.3f}",
    "with themselves": "{:.3f}",
    "parameters (M)": "{:.2f}",
    "multiplications (G)": "{:.2f}",
}


def _shown(rows: Sequence[Row], key: str) -> None:
    figure_table(rows, key, FORMATS, "n/a")


def _details(work: LearnersWork, found: Row) -> None:
    with st.expander("Every fusion", icon=":material/merge:"):
        st.caption("How the network would answer if its learners were put together otherwise; trained ones are n/a.")
        _shown([_line(one["title"], one) for one in found["fusions"]], "learners-fusions")
    with st.expander("Every subset", icon=":material/checklist:"):
        best = sorted(found["subsets"], key=lambda one: -(one["miou"] or 0))
        rows = [_line(" + ".join(one["names"]), one) for one in best]
        _shown(rows, "learners-subsets")
        twin(rows, "learners")
    with st.expander("How different are they?", icon=":material/call_split:"):
        pairs = [
            {
                "pair": " and ".join(one["names"]),
                "disagreement (%)": percent(one["disagreement"]),
                "diversity": one["diversity"],
            }
            for one in found["pairs"]
        ]
        _shown(pairs, "learners-pairs")
    with st.expander("Class embeddings", icon=":material/scatter_plot:"):
        _embeddings(work)
    _costs(work)


def _embeddings(work: LearnersWork) -> None:
    if not st.toggle("Compare embeddings of classes", key="learners-embeddings"):
        return
    learners = work.cosines()
    if not learners:
        st.caption("The classes of this network have no embeddings.")
        return
    paper = st.toggle("With each class beside itself, as in the paper's figure 4", key="learners-diagonal")
    st.plotly_chart(cosines_figure(learners, paper), key="learners-cosines", config=CHART)
    _shown(
        [
            {
                "who": one["name"],
                "pairs": one["pairs"],
                "mean cosine": one["mean"],
                "with themselves": one["with_diagonals"],
            }
            for one in learners
        ],
        "learners-embedded",
    )


def _costs(work: LearnersWork) -> None:
    with st.expander("What its parts cost", icon=":material/payments:"):
        found = work.parts
        rows = [
            {
                "part": one["name"],
                "parameters (M)": one["parameters"] / 1e6,
                "multiplications (G)": one["macs"] / 1e9,
            }
            for one in found["parts"]
        ]
        total = {
            "part": "together",
            "parameters (M)": found["parameters"] / 1e6,
            "multiplications (G)": found["macs"] / 1e9,
        }
        _shown([*rows, total], "learners-parts")
        printed = f" The paper: {found['printed']}." if found["printed"] else ""
        st.caption(f"Of a picture of {found['side']} by {found['side']} pixels.{printed}")
