"""What a search found: one number, one chart, and behind them the details."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from fusionlib.candidate import HARMONIC
from fusionlib.charts.colours import QUIET, A, B
from fusionlib.charts.found import subset_rows, told_figure
from fusionlib.charts.search import axis_title, score_of, search_figure, words_of
from fusionlib.studio import SearchWork, Selection
from fusionlib.studio.exports import is_merge, members_of
from fusionlib.studio.found import class_rows, view_of
from fusionlib.studio.hub_export import hub_obstacle
from pages.widgets.compare_classes import class_table
from pages.widgets.compare_export import take_away
from pages.widgets.compare_open import ASKED, explored
from pages.widgets.compare_parts import Data, data_name
from pages.widgets.diagnostics_tables import as_csv, percent
from pages.widgets.problems import plain, problems_shown
from pages.widgets.server import studio
from pages.widgets.style import CHART

_CHART, _TOLD = "search-chart", "search-told"

State = dict[str, Any]


def live_chart(work: SearchWork, names: Sequence[str], chosen: Selection) -> None:
    """What is evaluated so far, while it runs."""
    found = work.snapshot()
    if found["evaluations"]:
        st.plotly_chart(search_figure(found, colours(names, chosen)), key=f"{_CHART}-live", config=CHART)


def show_found(
    work: SearchWork,
    names: Sequence[str],
    chosen: Selection,
    data: tuple[Sequence[Data], Sequence[Data]],
    looked_at: Data,
) -> None:
    """The answer, the chart and the details; `data` are chosen by and reported on, statistics are of `looked_at`."""
    found = work.snapshot()

    def opened(number: int) -> State | None:
        one = found["evaluations"][number]
        anew = view_of(work, one)["buffers"] == "recalibrate"
        return state_of(work, one, names, looked_at if anew else data[0][0])

    best = found["best"]
    left, right = st.columns([2, 5], gap="large")
    with left:
        if best is None:
            st.caption("What is known of these so far; the search is not measured to its end.")
        else:
            _answer(found, names, data[1])
            view = view_of(work, best)
            # Explore measures statistics on the pictures that it shows, so those that the search looked at are opened.
            place = looked_at if view["buffers"] == "recalibrate" else data[1][0]
            _buttons(state_of(work, best, names, place), exact=view["exact"])
    told, whole = told_figure(found), search_figure(found, colours(names, chosen))
    with right:
        reported = any(getattr(one, "name", None) == "report" for one in whole.data)
        diamonds = " Diamonds: pictures of the report." if reported else ""
        figure, marks = told or (whole, f"Star: the best.{diamonds}")
        _drawn(figure, _TOLD if told else _CHART, opened)
        st.caption(f"Click a point to open it in Explore. {marks}")
    with st.expander("Details", icon=":material/table_rows:"):
        if found.get("subsets"):
            _subset_table(found)
        if told:
            _drawn(whole, _CHART, opened)
        _details(work, found, names)
    if best is not None and work.best is not None:
        st.markdown("### Take it away")
        recipe = work.best
        merges = is_merge(recipe)
        write = (lambda progress, hub: studio().exports.found(work, progress, hub)) if merges else None
        with problems_shown():
            why = hub_obstacle(recipe, members_of(work, recipe)) if merges else ""
            take_away("search", recipe, f"{found['strategy']}-{recipe.method}", write, why)


def _drawn(figure: Any, key: str, opened: Callable[[int], State | None]) -> None:
    """A chart whose points are evaluations that open in Explore."""
    st.plotly_chart(
        figure,
        key=key,
        on_select=lambda: open_point(key, lambda value: opened(int(value))),
        selection_mode="points",
        config=CHART,
    )


def _subset_table(found: State) -> None:
    """WF_n and DE_n of every subset; bold: the best of its size by the pictures to choose by."""
    rows, title = subset_rows(found), axis_title(found["score"])
    cells = {(kind, where): f"{kind} {where}: {title}" for kind in ("DE_n", "WF_n") for where in ("select", "report")}
    frame = pd.DataFrame(
        {
            "n": [row["n"] for row in rows],
            "checkpoints": [", ".join(row["checkpoints"]) for row in rows],
            **{cells[kind, where]: [row[kind][where] for row in rows] for kind, where in cells},
        }
    )
    bold = pd.DataFrame("", frame.index, frame.columns)
    for place, row in enumerate(rows):
        for (kind, _), name in cells.items():
            bold.loc[place, name] = "font-weight: 700" if row[kind]["best"] else ""
    styled = frame.style.apply(lambda _: bold, axis=None).format(dict.fromkeys(cells.values(), "{:.2f}"), na_rep="n/a")
    st.dataframe(styled, hide_index=True, key="search-subsets", placeholder="")
    st.caption("Bold: the best of its size on the pictures to choose by.")


def colours(names: Sequence[str], chosen: Selection) -> list[str]:
    """Of two the first is blue and the second orange, as in the view that a click opens; of more, A and B are."""
    if len(names) == 2:
        return [A, B]
    return [{chosen.a: A, chosen.b: B}.get(name, QUIET) for name in names]


def _answer(found: State, names: Sequence[str], report: Sequence[Data]) -> None:
    best, figures = found["best"], found["best"]["report"]
    gain = None if figures is None else figures.get("gain")
    on = plain("; ".join(map(data_name, report)))
    st.metric(
        "Gain of the harmonic mean" if found["score"] == HARMONIC else "mIoU gain",
        "n/a" if gain is None else f"{100 * gain:+.2f} points",
        help=f"Over the best checkpoint alone, on {on}",
    )
    where = f"over the best alone, on {on}"
    words = [where, f"**{plain(words_of(best, names))}**", _noise(found), _earned(found)]
    if found["optimistic"]:
        words.append("Optimistic: pictures that chose it also report it.")
    st.markdown("  \n".join(filter(None, words)))


def _noise(found: State) -> str:
    """Whether the gain is more than chance, in words."""
    best = found["best"]
    if best["report"] is None:
        return "Not measured on the pictures of the report yet."
    if sum(share > 0 for share in best["weights"]) == 1 and not best.get("anew") and "units" not in best:
        return "No mixture was better than this checkpoint alone."
    if best["interval"] is None:
        return "No 95 % interval: it needs five groups of pictures, and mIoU picture by picture."
    low, high = (100 * end for end in best["interval"])
    told = "inside the noise" if found["inside_noise"] else "more than chance" if low > 0 else "worse, beyond chance"
    return f"95 %: {low:+.2f} to {high:+.2f}: **{told}**."


def _earned(found: State) -> str:
    """Whether a profile is better than one alpha for all layers, on the pictures of the report."""
    rival, best = found.get("rival"), found["best"]
    if rival is None or rival["report"] is None or rival["report"].get("gain") is None:
        return ""
    if "units" not in best:
        return "One alpha for all layers was the best."
    over = f"{100 * rival['report']['gain']:+.2f} points over the best single alpha ({rival['weights'][0]:.3g})"
    if rival["interval"] is None:
        return f"{over}; no interval."
    low, high = (100 * end for end in rival["interval"])
    told = "the layers earned it" if low > 0 else "worse for it, beyond chance" if high < 0 else "inside the noise"
    return f"{over}, 95 % {low:+.2f} to {high:+.2f}: **{told}**."


def _buttons(state: State | None, *, exact: bool) -> None:
    for label, page, icon in (
        ("Open in Explore", "", "merge"),
        ("Which pictures", "errors", "troubleshoot"),
    ):
        st.button(
            label,
            key=f"search-open-{page}",
            icon=f":material/{icon}:",
            width="stretch",
            disabled=state is None,
            on_click=_ask,
            args=(page, state),
        )
    if not exact:
        st.caption("There its statistics are measured on fewer pictures; the recipe below is exact.")


def _details(work: SearchWork, found: State, names: Sequence[str]) -> None:
    st.caption(
        f"{found['forward_passes_search']:,} forward passes to choose and {found['forward_passes_beside']:,} to report;"
        f" the full grid of step 0.05 takes {found['forward_passes_full_grid']:,}."
    )
    rows = [_row(one, found, names) for one in found["evaluations"]]
    st.dataframe(rows, hide_index=True, key="search-evaluations", placeholder="")
    st.download_button(
        "CSV", as_csv(rows), "search.csv", "text/csv", key="search-csv", icon=":material/download:", on_click="ignore"
    )
    classes = class_rows(work)
    if not classes:
        return
    st.caption("IoU class by class on the pictures of the report: the best checkpoint alone, and what was found.")
    class_table(classes, "best", "alone", "found")


def _row(one: State, found: State, names: Sequence[str]) -> State:
    kind = "ensemble" if one["ensemble"] else "profile" if "units" in one else "merge"
    title = axis_title(found["score"])
    return {
        **{name: round(share, 4) for name, share in zip(names, one["weights"], strict=True)},
        "kind": kind,
        "pictures": "all" if one["part"] is None else f"part {one['part'] + 1}",
        f"chosen by: {title}": score_of(one["select"], found["score"]),
        f"report: {title}": score_of(one["report"], found["score"]),
        **_by_domain(one["report"], found["report"]),
    }


def _by_domain(figures: State | None, report: State) -> State:
    """mIoU on each domain of the report, where there are several."""
    specs = report.get("domains", ())
    each = [None] * len(specs) if figures is None else figures.get("domains", ())
    return {
        f"report: mIoU (%) on {spec}": None if one is None else percent(one["miou"])
        for spec, one in zip(specs, each, strict=False)
    }


def state_of(work: SearchWork, one: State, names: Sequence[str], data: Data) -> State | None:
    """The state of Explore with an evaluation on these pictures; None where that page has none."""
    view = view_of(work, one)
    members = [names[int(number)] for number in view["members"]]
    if len(members) == 1:
        other = next(name for name in names if name not in members)
        state: State | None = {"a": members[0], "b": other, "more": [], "mix": "alpha", "alpha": 1.0}
    else:
        state = explored(view, members)
    if state is None:
        return None
    state |= {"data": data[0], **({"split": data[1]} if data[1] else {})}
    return state | ({"dtype": work.wanted.dtype} if work.wanted.dtype else {})


def open_point(key: str, state: Callable[[float], State | None]) -> None:
    """Callback of a chart whose points begin their `customdata` with what `state` is asked for."""
    points = st.session_state[key].selection.points
    about = next((point["customdata"] for point in points if point.get("customdata")), None)
    if about is not None and (found := state(float(about[0]))) is not None:
        _ask("", found)


def _ask(page: str, state: State) -> None:
    st.session_state[ASKED] = page, state
