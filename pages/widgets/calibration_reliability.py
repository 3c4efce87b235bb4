"""The reliability diagram, its table, and the pictures behind its bins."""

from __future__ import annotations

from typing import Any

import pandas
import streamlit as st

from fusionlib.charts.calibration import reliability_figure, separation_figure
from fusionlib.charts.calibration_terms import TERMS, best_of, bin_rows, figure_rows
from fusionlib.imaging.png import encode_picture
from fusionlib.measures.calibration_summary import MINIMUM_COUNT, confidence_histograms, costliest_bin
from fusionlib.measures.error_stack import Pixels
from pages.widgets import link
from pages.widgets.calibration_controls import Shown, at_hand
from pages.widgets.diagnostics_tables import twin
from pages.widgets.style import CHART

BEST = "background-color: rgba(26, 147, 111, 0.22)"
_CHART, BIN, _BINS = "calibration-reliability", "calibration-bin", "calibration-bin-of"
"""The chart, the chosen network with the confidence in the middle of its bin, and how many bins are on the page."""


def reliability_chart(look: Shown) -> None:
    """The diagram; a click on a dot or bar shows its pixels."""
    known = look.known()
    if not known:
        return
    st.session_state[_BINS] = look.bins
    st.plotly_chart(
        reliability_figure(known, _chosen(known)),
        key=_CHART,
        on_select=_clicked,
        selection_mode="points",
        config=CHART,
    )


def reliability_table(look: Shown) -> None:
    """How to read the diagram, and its numbers."""
    st.caption(
        "Reliability diagram: each dot stands at a bin's mean confidence and accuracy; on the dotted line a network is"
        " as often right as it is sure. The bars, side by side within the bin, reach from confidence to accuracy. Below"
        f" the dotted line: too sure. Bins without pixels stay empty; bins under {MINIMUM_COUNT} pixels are faint and"
        " not joined, because so few say little. Click a dot or bar to see its pixels."
    )
    twin(bin_rows([(name, summary) for _, name, summary in look.known()]), "reliability")


def _clicked() -> None:
    points = st.session_state[_CHART].selection.points
    about = next((point["customdata"] for point in points if point.get("customdata")), None)
    if about:
        _keep_bin(str(about[0]), int(about[1]))


def _keep_bin(role: str, number: int) -> None:
    """By its middle: with other bins the one that covers it is chosen."""
    st.session_state[BIN] = (role, (number + 0.5) / st.session_state[_BINS])


def _chosen(known: list[tuple[str, str, dict[str, Any]]]) -> tuple[str, int] | None:
    """The chosen role and bin where it still has pixels; otherwise the bin that costs the network most, at first the
    merge.
    """
    wanted = st.session_state.get(BIN)
    for role, _, summary in known:
        number = int(wanted[1] * len(summary["bins"])) if wanted else 0
        if wanted and wanted[0] == role and summary["bins"][number]["count"]:
            return role, number
    first = wanted[0] if wanted else "m"
    role, _, summary = next((entry for entry in known if entry[0] == first), known[0])
    worst = costliest_bin(summary)
    return None if worst is None else (role, worst)


def pictures_section(look: Shown) -> None:
    """The pixels of the chosen bin in one picture after another."""
    known = look.known()
    chosen = _chosen(known)
    if chosen is None:
        st.caption("No pixel is predicted as this class.")
        return
    role, number = _by_name(known, chosen)
    _, name, summary = next(entry for entry in known if entry[0] == role)
    point = next(point for own, _, point in look.networks if own == role)
    bin, pictures = summary["bins"][number], look.sweep.view.need_pictures()
    index = _step_picture(len(pictures))
    with st.spinner("Looking"):
        picture, right, wrong = look.sweep.where(point, index, look.bins, number, look.label)
    st.image(encode_picture(picture, lossless=True), width="stretch")
    scale = pictures.load(index).scale
    reduced = f", shown at 1/{scale}" if scale > 1 else ""
    st.caption(
        f"{name}, confidence {bin['low']:.2f} to {bin['high']:.2f}, {pictures.name(index)}{reduced}: "
        f":green-badge[{right:,} right] :orange-badge[{wrong:,} wrong]"
    )
    st.caption(
        "Teal pixels are right, orange ones wrong, the rest is dimmed. On the whole split this bin has"
        f" {bin['correct']:,} right and {bin['wrong']:,} wrong pixels: accuracy {100 * bin['accuracy']:.1f} % at"
        f" confidence {100 * bin['confidence']:.1f} %."
    )
    if role == "m" and look.label is None:
        _to_errors(point, Pixels(bin=(number, look.bins)))


def _to_errors(alpha: Any, pixels: Pixels) -> None:
    """The way to all pictures with the pixels of the merge's bin, most first."""
    state = {"mix": "alpha", "alpha": alpha, "pixels": pixels.text, "sort": "count", "show": "pictures"}
    if st.button("All pictures with pixels of this bin", key="calibration-errors", icon=":material/troubleshoot:"):
        link.bring("errors", state)
        st.switch_page("errors.py", query_params={})


def _by_name(known: list[tuple[str, str, dict[str, Any]]], chosen: tuple[str, int]) -> tuple[str, int]:
    """The same choice as a click, for the keyboard."""
    names = {role: name for role, name, _ in known}
    bins = next(summary["bins"] for role, _, summary in known if role == chosen[0])
    full = [number for number, bin in enumerate(bins) if bin["count"]]
    st.session_state["calibration-network"], st.session_state["calibration-bin-number"] = chosen
    left, right = st.columns(2)
    left.selectbox(
        "Network", list(names), key="calibration-network", format_func=lambda role: names[role], on_change=_take_choice
    )
    right.selectbox(
        "Confidence",
        full,
        key="calibration-bin-number",
        on_change=_take_choice,
        format_func=lambda number: f"{bins[number]['low']:.2f} to {bins[number]['high']:.2f}",
    )
    return chosen


def _take_choice() -> None:
    _keep_bin(st.session_state["calibration-network"], st.session_state["calibration-bin-number"])


def _step_picture(count: int) -> int:
    index = int(at_hand("picture", 1, 1, count))
    st.session_state["calibration-picture"] = index
    left, middle, right = st.columns([2, 3, 2], vertical_alignment="bottom")
    left.button(
        "Back",
        key="calibration-previous",
        icon=":material/chevron_left:",
        width="stretch",
        disabled=index == 1,
        on_click=_go,
        args=(index - 1,),
    )
    middle.number_input(f"Picture (1 to {count})", 1, count, key="calibration-picture", on_change=lambda: _go(None))
    right.button(
        "Next",
        key="calibration-next",
        icon=":material/chevron_right:",
        width="stretch",
        disabled=index == count,
        on_click=_go,
        args=(index + 1,),
    )
    return index - 1


def _go(number: int | None) -> None:
    st.session_state["picture"] = int(st.session_state["calibration-picture"]) if number is None else number


def figures_section(look: Shown) -> None:
    """All figures by network, each with its definition."""
    known = look.known()
    if not known:
        return
    st.dataframe(
        _table(known),
        key="calibration-figures",
        placeholder="n/a",
        height=35 * (1 + len(TERMS)) + 3 if look.label is None else "content",
        column_config={
            "_index": st.column_config.TextColumn("figure", width=250),
            "better": st.column_config.TextColumn("better", width="small"),
            "definition": st.column_config.TextColumn("definition", width="large"),
        },
    )
    undefined = sum(summary["undefined_pixels"] for _, _, summary in known)
    st.caption(
        "One row a figure, the best network of each in colour; click a definition to read all of it."
        + (
            " Figures that make no sense for one class alone, or take finer bins than are kept, are left out."
            if look.label is not None
            else ""
        )
        + (f" {undefined:,} pixels have no probability (NaN), so figures are n/a." if undefined else "")
    )
    twin(figure_rows([(name, summary) for _, name, summary in known]), "calibration")


def _table(known: list[tuple[str, str, dict[str, Any]]]) -> Any:
    """Figures by network as a styled table; figures that no network has are left out."""
    keys = [key for key in TERMS if any(summary.get(key) is not None for _, _, summary in known)]
    names = [name for _, name, _ in known]
    values = {key: [TERMS[key].shown(summary.get(key)) for _, _, summary in known] for key in keys}
    texts = {
        key: [
            "n/a" if value is None else f"{value:.2f}" if TERMS[key].unit == "%" else f"{value:.4f}"
            for value in values[key]
        ]
        for key in keys
    }
    frame = pandas.DataFrame(
        [[*texts[key], "higher" if TERMS[key].higher else "lower", TERMS[key].help] for key in keys],
        index=[TERMS[key].axis for key in keys],
        columns=[*names, "better", "definition"],
    )
    best = {key: best_of(key, values[key]) for key in keys}

    def colour(row: Any) -> list[str]:
        marks = best[keys[list(frame.index).index(row.name)]]
        return [*(BEST if mark else "" for mark in marks), "", ""]

    return frame.style.apply(colour, axis=1)


def separation_section(look: Shown) -> None:
    """Confidence of right pixels against that of wrong ones."""
    points = {role: point for role, _, point in look.networks}
    known = [
        (role, name, summary, confidence_histograms(record["calibration"], look.label))
        for role, name, summary in look.known()
        if (record := look.sweep.find(points[role])) is not None
    ]
    if not known:
        return
    for start in range(0, len(known), 2):
        for column, (role, name, summary, counts) in zip(
            st.columns(2, gap="large"), known[start : start + 2], strict=False
        ):
            column.plotly_chart(separation_figure(name, *counts), key=f"calibration-separation-{role}", config=CHART)
            column.caption(
                f"KL {_short(summary['kl'])} nats, Jensen-Shannon {_short(summary['js'])} nats"
                + ("." if summary["auroc"] is None else f", AUROC {_short(summary['auroc'])}.")
            )
    st.caption(
        "The less the two overlap, the better low confidence warns of errors. KL and Jensen-Shannon compare the two"
        f" histograms in {look.bins} bins; AUROC is the chance that a right pixel is more confident than a wrong one."
    )
    twin(
        [
            {
                "network": name,
                "from": number / len(right),
                "to": (number + 1) / len(right),
                "right pixels": int(a),
                "wrong pixels": int(b),
            }
            for _, name, _, (right, wrong) in known
            for number, (a, b) in enumerate(zip(right, wrong, strict=True))
        ],
        "confidence-of-right-and-wrong",
    )


def _short(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
