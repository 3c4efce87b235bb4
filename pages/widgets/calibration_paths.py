"""Calibration along alpha, over all pairs of a set, and temperature scaling beside it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fusionlib.charts.calibration import band_figure, curves_figure, temperature_figure
from fusionlib.charts.calibration_terms import TERMS, best_alpha, curve_rows, figure_rows
from fusionlib.errors import FusionError
from fusionlib.studio import Selection, band
from pages.widgets.calibration_controls import Shown, keep, kept, start_row
from pages.widgets.diagnostics_tables import twin
from pages.widgets.link import only_of
from pages.widgets.problems import show_problem
from pages.widgets.progress import running
from pages.widgets.rows import option_texts
from pages.widgets.server import studio
from pages.widgets.style import CHART

HALVES = ("every other picture", None)
"""Fit on pictures 1, 3, 5, ... and report on the rest: for data with one split."""

HALF_REPORTED = "pictures 2, 4, 6, ... of {}"
DEFAULT = ("ece_sample_weighted", "ece_unweighted", "nll", "brier", "kl", "auroc")
_OTHERS = [key for key in TERMS if key != "miou"]


def curve_section(look: Shown) -> list[str]:
    """All figures against alpha under the mIoU curve, which fills in while it is measured.

    Returns the figures chosen.
    """
    sweep = look.sweep
    points = [point for point in sweep.curve(look.bins) if point.get("miou") is not None]
    if look.missing() and sweep.state == "running":
        st.caption("Measuring: progress is shown at the top.")
    elif not running(sweep, "curve", "Along alpha", lambda: len(sweep.points)):
        start_row("curve", "Measure along alpha", sweep.want, primary=len(points) < 3)
    name = "calibration-figures-shown"
    keys = st.multiselect(
        "Figures under mIoU",
        _OTHERS,
        kept(name, list(DEFAULT)),
        key=name,
        on_change=keep,
        args=(name,),
        format_func=lambda key: TERMS[key].title,
    )
    _curves(look, points, keys)
    return keys


def _curves(look: Shown, points: list[dict[str, Any]], keys: list[str]) -> None:
    if len(points) < 3:
        st.caption("The curves appear here, coarse to fine, once three alphas are measured.")
        return
    st.plotly_chart(curves_figure(points, keys), key="calibration-curves", config=CHART)
    best = best_alpha(points, "miou")
    own = "; ".join(
        f"{TERMS[key].title} at {best_alpha(points, key):g}" for key in keys if best_alpha(points, key) is not None
    )
    st.caption(
        f"Each point is one merged network on the whole split; best means the best of these {len(points)} measured"
        f" points. Dashed: alpha {best:g}, the best mIoU. Stars: each figure's own best ({own}). Stars on the dashed"
        " line mean that the best merge is also the best calibrated."
    )
    twin(curve_rows(points), "calibration-along-alpha")


def pairs_section(look: Shown, keys: list[str]) -> None:
    """Mean with min-max band over all pairs of a chosen set, mirrored at 0.5."""
    chosen = look.sweep.view.selection
    items = studio().workspace.usable()
    family = next((item.signature for item in items if item.name == chosen.a), "")
    fitting = [item.name for item in items if item.signature == family]
    name = f"calibration-set-{family[:12]}"
    only_of(name, fitting)
    st.session_state.setdefault(name, [one for one in kept(name, [chosen.a, chosen.b]) if one in fitting])
    picked = st.multiselect(
        "Checkpoints",
        fitting,
        key=name,
        format_func=option_texts(name, items),
        on_change=keep,
        args=(name,),
        help="Checkpoints with the same tensors as A; every pair of them is measured along alpha",
    )
    if len(picked) < 2:
        st.caption("Choose two or more checkpoints.")
        return
    pairs = studio().calibration.pairs(picked, chosen.source, chosen.split, chosen.buffers)
    step = kept("calibration-step-pairs", 0.1)
    count = len(pairs.paths)
    if not running(pairs, "pairs", f"{count} pair{'' if count == 1 else 's'}"):
        step = start_row(
            "pairs", f"Measure {count} pair{'' if count == 1 else 's'} along alpha", pairs.want, primary=False
        )
    curves = list(pairs.curves(step, look.bins).values())
    if not curves:
        st.caption("The mean and its band appear here once a pair is measured with this step.")
        return
    mirrored = st.toggle(
        "Mirror at 0.5",
        kept("calibration-mirror", True),
        key="calibration-mirror",
        on_change=keep,
        args=("calibration-mirror",),
        help="Average alpha and 1 - alpha: which checkpoint is called A is arbitrary",
    )
    bands = {key: band(curves, key, mirrored) for key in ("miou", *keys)}
    st.plotly_chart(band_figure(bands, len(curves)), key="calibration-band", config=CHART)
    st.caption(
        f"Line: mean over {len(curves)} of {count} pairs; band: lowest to highest pair"
        + ("; each pair averaged with itself turned round, so both halves are alike." if mirrored else ".")
    )
    twin(
        [
            {
                "figure": TERMS[key].axis,
                "alpha": row["alpha"],
                **{side: TERMS[key].shown(row[side]) for side in ("mean", "low", "high")},
            }
            for key, rows in bands.items()
            for row in rows
        ],
        "calibration-over-pairs",
    )


def temperature_section(look: Shown) -> None:
    """Temperature scaling of one network: fitted on some pictures, reported on others."""
    st.caption(
        "The rival of merging: one number T divides all logits of a single network. It changes how sure the network is,"
        " not what it says. T is fitted by likelihood on some pictures and judged on others."
    )
    view, chosen = look.sweep.view, look.sweep.view.selection
    single = [(name, point) for role, name, point in look.networks if role != "e"]
    left, middle, right = st.columns([2, 2, 2], vertical_alignment="bottom")
    names = [name for name, _ in single]
    network = left.selectbox("Network", names, key="calibration-temperature-network")
    data, reported = (chosen.source, chosen.split), _data_name((chosen.source, chosen.split))
    split = middle.selectbox(
        "Fit on",
        _splits(chosen, len(view.need_pictures())),
        key="calibration-temperature-fit",
        format_func=lambda one: f"{_data_name(one)}, the same pictures" if one == data else _data_name(one),
    )
    if split is None:
        st.info("No labelled data to fit on.", icon=":material/info:")
        return
    where = HALF_REPORTED.format(reported) if split == HALVES else reported
    try:
        fit_on = None if split == HALVES else studio().workspace.pictures(*split)
        job = studio().calibration.temperature(view, dict(single)[network], fit_on)
    except FusionError as error:
        show_problem(error)
        return
    if (
        not running(job, "temperature", "Temperature")
        and job.summaries(look.bins) is None
        and right.button(
            "Fit T and report" if split == HALVES else f"Fit T, report on {reported}",
            key="calibration-temperature-run",
            icon=":material/thermostat:",
        )
    ):
        job.want()
        st.rerun()
    found = job.summaries(look.bins)
    _say_what_is_what(split, data, where, found is not None)
    if found is not None and job.fit is not None:
        _temperature_result(job.fit, found, network, where)


def _say_what_is_what(split: tuple[str, str | None], data: tuple[str, str | None], where: str, done: bool) -> None:
    begin = "Fitted" if done else "Will be fitted"
    if split == data:
        st.warning(
            f"{begin} and reported on the same pictures ({_data_name(data)}): the figures after scaling flatter it. "
            "Fit on other pictures for a fair comparison.",
            icon=":material/warning:",
        )
    elif split == HALVES:
        st.caption(
            f"{begin} on pictures 1, 3, 5, ... and reported on {where}: no picture is in both. Neighbours of a video"
            " are nearly the same picture, so for videos another split is the better test."
        )
    else:
        st.caption(f"{begin} on {_data_name(split)}, reported on {where}.")


def _data_name(pair: tuple[str, str | None]) -> str:
    return " ".join(filter(None, pair))


def _splits(chosen: Selection, pictures: int) -> list[tuple[str, str | None]]:
    """The other splits of the same data first, then halves of the reported one where it has two pictures, itself
    last.
    """
    source = next(source for source in studio().workspace.sources if source.name == chosen.source)
    own = [(source.name, split) for split in source.splits or (None,)]
    order = {"val": 0, "train": 1}
    others = sorted((pair for pair in own if pair[1] != chosen.split), key=lambda pair: order.get(pair[1] or "", 2))
    return [*others, *([HALVES] if pictures > 1 else []), (chosen.source, chosen.split)]


def _temperature_result(
    result: dict[str, Any], found: tuple[dict[str, Any], dict[str, Any]], network: str, reported: str
) -> None:
    value = result["temperature"]
    rows = figure_rows([(f"{network}, T = 1", found[0]), (f"{network}, T = {value:.3f}", found[1])])
    better = {term.axis: "higher" if term.higher else "lower" for term in TERMS.values()}
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.plotly_chart(temperature_figure(result["losses"], value), key="calibration-temperature", config=CHART)
        word = "too sure" if value > 1.02 else "not sure enough" if value < 0.98 else "about as sure as it should be"
        st.caption(
            f"The lowest point is the fitted T = {value:.3f}: on the pictures that it was fitted on the network is"
            f" {word}." + (" It lies at the end of the range from 0.25 to 8." if result["at_limit"] else "")
        )
        twin([{"T": t, "NLL (nats)": loss} for t, loss in result["losses"]], "temperature-fit")
    with right:
        table = [
            {
                "figure": name,
                "before": rows[0][name],
                "after": rows[1][name],
                "change": None if rows[0][name] is None or rows[1][name] is None else rows[1][name] - rows[0][name],
                "better": better[name],
            }
            for name in rows[0]
            if name in better
        ]
        st.dataframe(
            table,
            hide_index=True,
            placeholder="n/a",
            key="calibration-temperature-table",
            height=35 * (len(table) + 1) + 3,
            column_config={
                name: st.column_config.NumberColumn(name, format="%+.4f" if name == "change" else "%.4f")
                for name in ("before", "after", "change")
            },
        )
        st.caption(
            f"{network} on {reported}, before and after. mIoU cannot change: the argmax is the same at every pixel."
        )
        twin(table, "temperature-report")
