"""Charts of the Diagnose page's first tab, each with a line that says how to read it and its table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from fusionlib.charts.diagnostics import columns_of, direction_figure, layers_figure, path_figure, similarity_figure
from fusionlib.charts.diagnostics_pairs import pairs_figure
from pages.widgets.diagnostics_tables import layer_rows, pair_rows, similarity_rows, single_rows, twin
from pages.widgets.problems import plain
from pages.widgets.sidebar import choose
from pages.widgets.style import CHART

MEASURES = {
    "cosine (parameters)": "cosine",
    "cosine (with running statistics)": "cosine_with_buffers",
    "discrepancy": "discrepancy",
}
KINDS = ("convolution", "batch norm", "other")
_CHART, _OPEN = "diagnostics-pairs", "diagnostics-open"

Report = dict[str, Any]


def open_in_merge(pair: dict[str, Any]) -> None:
    """Callback: compare this pair on the Explore page, at the verdict's alpha."""
    choose(pair["a"], pair["b"])
    if pair["verdict"]["alpha"] is not None:
        st.session_state["alpha"] = pair["verdict"]["alpha"]
    st.session_state[_OPEN] = True


def switch_when_asked() -> None:
    """Go to the Explore page after `open_in_merge`; a callback itself cannot."""
    if st.session_state.pop(_OPEN, False):
        # With no query given Streamlit clears the URL, which it refuses while the sidebar's widgets are bound to it.
        st.switch_page("explore.py", query_params={})


def pairs_chart(report: Report, useful: float, judged: int, place: Any) -> None:
    """In `place` the picture that answers, a ring around the pair judged; a click on a pair opens it in Explore.

    Here how to read it, its table, and what it shows up.
    """
    pairs = report["pairs"]
    if all(pair["cosine"] is None for pair in pairs):
        place.caption("No two of these networks share weights, so there is no direction to compare.")
        twin(pair_rows(pairs), "pairs")
        return
    known = any(pair["oracle_miou"] is not None for pair in pairs)
    distance = st.toggle("Height is distance", key="diagnostics-height") if known else False
    place.plotly_chart(
        pairs_figure(pairs, useful, judged, distance),
        key=_CHART,
        on_select=lambda: _clicked(pairs),
        selection_mode="points",
        config=CHART,
    )
    height = "Until the networks have run, the height is their distance."
    if known:
        height = (
            "The height is their distance."
            if distance
            else "The higher, the more a pixel-wise choice between the two could reach."
        )
        feet = sum(pair["cosine"] is not None and pair["oracle_miou"] is None for pair in pairs)
        if not distance and feet:
            height += f" Ticks at the foot: {feet} of {len(pairs)} pairs, whose oracle is not known."
    st.caption(
        "One point a pair. The further left, the more direction the two share; the paper's useful merges lie in the"
        f" tinted zone. {height} Colour: what the best measured merge gained over the better of the two (grey ring:"
        f" path not measured). Click a pair to open it in Explore.{_undrawn(pairs)}"
    )
    twin(pair_rows(pairs), "pairs")


def _undrawn(pairs: Sequence[dict[str, Any]]) -> str:
    count = sum(pair["cosine"] is None for pair in pairs)
    if not count:
        return ""
    return (
        f" {count} of {len(pairs)} pairs share{'s' if count == 1 else ''} no weights and cannot be drawn: see the"
        " table."
    )


def _clicked(pairs: Sequence[dict[str, Any]]) -> None:
    points = st.session_state[_CHART].selection.points
    if points:
        open_in_merge(pairs[int(points[0]["customdata"][0])])


def networks_table(report: Report) -> None:
    """Norms and scores of the networks alone, and the oracle of the whole set."""
    whole = report["set"]
    if whole["oracle_miou"] is not None:
        st.caption(
            "Oracle of all"
            f" {len(whole['order'])}{' that could run' if len(whole['order']) < len(report['singles']) else ''}:"
            f" {100 * whole['oracle_miou']:.1f} % mIoU, {100 * whole['oracle_pixel_accuracy']:.1f} % of pixels;"
            f" diversity {_number(whole['diversity'])} %. Pixels that all get wrong keep the error of"
            f" {plain(whole['order'][0])}, the first in the list."
        )
    twin(single_rows(report["singles"]), "networks", expanded=True)


def layers_chart(report: Report) -> None:
    """Heat map of layers by pairs."""
    pairs = report["pairs"]
    columns = {kind: columns_of(pairs, kind) for kind in KINDS}
    present = [kind for kind in KINDS if columns[kind][0]]
    if not present:
        st.caption("No two of these networks share a layer by name and shape.")
        return
    left, right = st.columns(2)
    label = left.selectbox("Measure", list(MEASURES), key="diagnostics-measure")
    if st.session_state.get("diagnostics-kind") not in present:
        st.session_state.pop("diagnostics-kind", None)
    kind = right.segmented_control("Layers", present, default=present[0], key="diagnostics-kind") or present[0]
    measure = MEASURES[label]
    shown = f"moved by 1/{report['tau']:g} (%)" if measure == "discrepancy" else label
    st.plotly_chart(layers_figure(pairs, measure, kind, shown), key="diagnostics-layers", config=CHART)
    moved = (
        f"The share of a layer's elements that differ by at least 1/{report['tau']:g} of their value in A: dark layers"
        " moved most."
    )
    reading = (
        moved
        if measure == "discrepancy"
        else "Pale: both networks point the same way in this layer; dark: they do not."
    )
    order, about = columns[kind]
    head = any(about[name]["part"] == "head" for name in order)
    alone = len({layer["name"] for pair in pairs for layer in pair["layers"] if layer["kind"] == kind}) - len(order)
    st.caption(
        f"One row a pair, one column a layer from input to output. {reading}"
        + (" The dashed line is where the head begins." if head else " No layer is named like a head.")
        + (f" {alone} layers that no two of these networks share are left out." if alone else "")
    )
    twin(layer_rows(pairs, measure, kind), "layers")


def path_chart(pair: dict[str, Any]) -> None:
    """Loss and mIoU along alpha with the barriers, and direction."""
    if pair["path"] is None and not pair["both_run"]:
        st.caption("Loss and mIoU along the path need both networks to run.")
    elif pair["path"] is None:
        st.caption(
            f"{plain(pair['path_reason'])}."
            if pair["path_reason"]
            else (
                "Loss and mIoU along the path have not been measured for this pair: choose a path under"
                " Checkpoints and measuring and run, or measure the curve on the Explore page."
            )
        )
    else:
        st.markdown(f"**Loss and mIoU from {plain(pair['b'])} (alpha 0) to {plain(pair['a'])} (alpha 1)**")
        st.plotly_chart(path_figure(pair), key="diagnostics-path", config=CHART)
        loss, miou = pair["barrier"]["loss"], pair["barrier"]["miou"]
        st.caption(
            "A path that bulges above the dotted line in loss, or below it in mIoU, crosses a barrier (red). Against"
            " the line between the ends (Entezari), and against their mean (Frankle): the second counts the difference"
            f" of the ends too, so it may be above 0 without any barrier. Loss: {_barrier(loss, 1, 'nats', 'above')}."
            f" mIoU: {_barrier(miou, 100, 'points', 'below')}. Running statistics: {pair['barrier']['buffers']}."
        )
        twin(
            [
                {
                    "alpha": point["alpha"],
                    "loss (nats)": point["loss"],
                    "mIoU (%)": None if point["miou"] is None else 100 * point["miou"],
                }
                for point in pair["path"]
            ],
            "path",
        )


def direction_chart(pair: dict[str, Any]) -> None:
    """Cosine along the path, in closed form."""
    if pair["cosine"] is None:
        st.caption("These two share no weights, so there is no direction to compare.")
        return
    st.plotly_chart(direction_figure(pair), key="diagnostics-direction", config=CHART)
    st.caption(
        "How much direction the merge shares with each end, exact for every alpha from the inner products alone."
    )
    path = pair["cosine_path"]
    twin(
        [
            {"alpha": alpha, "with A": a, "with B": b}
            for alpha, a, b in zip(path["alpha"], path["a"], path["b"], strict=True)
        ],
        "direction",
    )


def similarity_chart(pair: dict[str, Any], pictures: int | None) -> None:
    """Linear CKA and l2 distance per block."""
    if not pair["cka"] and not pair["both_run"]:
        st.caption("Activation similarity needs both networks to run.")
        return
    if not pair["cka"]:
        missing = pair["reason"] or (
            "These two networks share no block by name and size" if pair["disagreement"] is not None else None
        )
        st.caption(
            f"{plain(missing)}."
            if missing
            else (
                "Activation similarity appears here once the networks have run; it needs two networks that are built"
                " alike."
            )
        )
        return
    st.plotly_chart(similarity_figure(pair, pictures or 0), key="diagnostics-cka", config=CHART)
    st.caption(
        "Linear CKA (biased estimator, positions as examples): near 1 both networks see the same there; a dip shows"
        " where they part. The distance also sees features that were turned or scaled."
    )
    twin(similarity_rows(pair), "activations")


def _barrier(found: dict[str, Any] | None, scale: float, unit: str, side: str) -> str:
    if found is None:
        return "not measured"
    return (
        f"{scale * found['entezari']:.3f} {unit} {side} the line between the ends (Entezari),"
        f" {scale * found['frankle']:.3f} {side} their mean (Frankle)"
    )


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.1f}"
