"""What came out on the domains: the answer in one line, the chart, the ranked table, classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from fusionlib.charts.domains import networks_figure, path_figure
from fusionlib.diagnostics.bootstrap import in_points
from fusionlib.studies.choices import CLASS_SETS
from fusionlib.studies.domains import BASELINE
from fusionlib.studio.domains import ALONE, DomainsWork
from fusionlib.studio.domains_chance import inside_noise
from pages.widgets.compare_open import ASKED, explored
from pages.widgets.compare_table import ALONE as TINT
from pages.widgets.compare_table import MARK, show_remarks
from pages.widgets.diagnostics_tables import csv_button, name_width, percent
from pages.widgets.domains_controls import source_of
from pages.widgets.link import only_of
from pages.widgets.problems import plain
from pages.widgets.style import CHART

OVER, CHART_OF = "over", "chart"
"""Names in the session state and in the URL."""

CHARTS = {"networks": "Networks", "path": "Path"}
FEW = 50
"""Pictures of a domain below which its mIoU moves by points with the choice of them."""

COMBINED = "background-color: rgba(217, 164, 65, 0.2)"
"""Of a row of data combination."""

MOST_DRAWN = 8
"""Networks in the chart; the table has all of them."""

H, GAIN = "harmonic mean (%)", "gain (points)"
_CLICKED = "domains-open"
ALL = "all"


def class_sets(domains: Sequence[Any]) -> list[str]:
    """The class sets that every domain has all classes of."""
    return [
        name
        for name, classes in CLASS_SETS.items()
        if all(set(classes) <= set(one.pictures.label_space.names) for one in domains)
    ]


def over_choice(place: Any, sets: Sequence[str]) -> str:
    """Title of the classes that mIoU is over; empty for all."""
    options = [ALL, *sets]
    only_of(OVER, options)
    st.session_state.setdefault(OVER, ALL)
    if sets:
        place.segmented_control(
            "mIoU over",
            options,
            key=OVER,
            required=True,
            format_func=lambda name: "all classes" if name == ALL else f"{name} classes",
            label_visibility="collapsed",
            help="16 and 13: the classes of Cityscapes that networks trained on SYNTHIA are scored on (mIoU*)",
        )
    chosen = st.session_state[OVER]
    return "" if chosen in (None, ALL) else f"{chosen} classes"


def show_answer(rows: Sequence[dict[str, Any]], interval: Sequence[float] | None = None) -> None:
    """Which network serves all domains best, by how much, with the interval of that gain, and where it is weakest."""
    best = next((row for row in rows if row["harmonic"] is not None), None)
    if best is None:
        st.caption("The networks measured so far are listed below; a harmonic mean needs all domains.")
        return
    weakest = min(best["domains"], key=lambda name: best["domains"][name])
    single = max(
        (row for row in rows if any(one["group"] == "single" for one in row["same"]) and row["harmonic"] is not None),
        key=lambda row: row["harmonic"],
        default=None,
    )
    gain = ""
    if single is not None and single is not best:
        gain = f", **{_points(best['gain'])}**{_between(interval)} over the best expert alone ({plain(single['name'])})"
    st.markdown(
        f"**{plain(best['same'][0]['name'])}**: harmonic mean **{100 * best['harmonic']:.1f} %**{gain}. Weakest on"
        f" {plain(weakest)}, {100 * best['domains'][weakest]:.1f} %.{_combined(rows, best)}"
    )


def _combined(rows: Sequence[dict[str, Any]], best: dict[str, Any]) -> str:
    """What the best network is against data combination, where that is measured and is not the best itself."""
    baseline = next((row for row in rows if row["group"] == BASELINE and row["harmonic"] is not None), None)
    if baseline is None or baseline is best:
        return ""
    points = _points(best["harmonic"] - baseline["harmonic"])
    return f" **{points}** over data combination ({plain(baseline['members'][0])})."


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f} points".replace("-", "−")


def _between(interval: Sequence[float] | None) -> str:
    if interval is None:
        return ""
    return f" (95 %: {in_points(interval)}{', **inside the noise**' if inside_noise(interval) else ''})"


def chart_choice(place: Any, found: dict[str, Any]) -> str:
    """Which chart; that of a path where one is measured."""
    only_of(CHART_OF, list(CHARTS))
    st.session_state.setdefault(CHART_OF, "networks")
    if not found["path"]:
        return "networks"
    place.segmented_control(
        "Chart", list(CHARTS), key=CHART_OF, format_func=CHARTS.__getitem__, required=True, label_visibility="collapsed"
    )
    return st.session_state[CHART_OF] or "networks"


def show_chart(found: dict[str, Any], rows: Sequence[dict[str, Any]], over: str, chart: str) -> None:
    """The networks, or the path between two."""
    domains, path = list(found["images"]), found["path"]
    if chart == "path":
        points = [{**point, **(point["class_sets"][over] if over else {})} for point in path["points"]]
        st.plotly_chart(path_figure({**path, "points": points}, domains), key="domains-path", config=CHART)
    elif drawn := [row for row in rows if row["state"] == "measured"]:
        st.plotly_chart(networks_figure(_drawn(drawn), domains), key="domains-networks", config=CHART)
    if found["interval"] is None and any(row["group"] == "mean" for row in rows):
        st.caption("No 95 % interval of the gain: it needs five groups of pictures in every domain.")
    least = min(found["images"].values())
    if least < FEW:
        st.caption(f"{least} pictures in the smallest domain: differences of a point or two are not a ranking.")


def _drawn(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best, and every network alone: what a gain is held against is in the chart."""
    alone = [row for row in rows if row["group"] in ALONE]
    room = max(1, MOST_DRAWN - len(alone))
    merges = [row for row in rows if row not in alone][:room]
    return [row for row in rows if row in alone or row in merges]


def show_table(work: DomainsWork, rows: Sequence[dict[str, Any]], *, opens: bool = True) -> None:
    """Networks by domains, the best first; single ones are tinted, data combination otherwise, and the best of each
    column is marked.
    """
    if not rows:
        return
    listed = [_listed(row) for row in rows]
    frame = pd.DataFrame(listed)
    figures = [name for name in frame.columns if name.endswith("(%)") or name == GAIN]
    frame[figures] = frame[figures].apply(pd.to_numeric)
    tints = [COMBINED if row["group"] == BASELINE else TINT if row["group"] in ALONE else "" for row in rows]
    states = openings(work, rows) if opens else []
    if opens:
        frame.insert(1, "Explore", ["Open in Explore" if state else None for state in states])
    known = [name for name in figures if any(row[name] is not None for row in listed)]
    styled: Any = frame.style
    styled = styled.apply(lambda _: tints)
    formats = {name: "{:+.2f}" if name == GAIN else "{:.2f}" for name in figures}
    styled = styled.format(formats, na_rep="").highlight_max(subset=known, props=MARK)
    st.dataframe(
        styled,
        hide_index=True,
        key="domains-table",
        height=min(38 + 35 * len(rows), 760),
        placeholder="n/a",
        column_config={
            "network": st.column_config.TextColumn(pinned=True, width=name_width(row["name"] for row in rows)),
            "Explore": st.column_config.ButtonColumn(
                "", type="tertiary", key=_CLICKED, on_click=partial(_open, states)
            ),
        },
    )


def _listed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "network": row["name"],
        H: percent(row["harmonic"]),
        GAIN: percent(row["gain"]),
        "gain, 95 % (points)": _chance(row.get("interval")),
        **{f"{name} (%)": percent(score) for name, score in row["domains"].items()},
        "mean (%)": percent(row["arithmetic"]),
        "worst (%)": percent(row["worst"]),
        "statistics": row["buffers"],
        "remark": row["reason"] or "; ".join(row["notes"]) or ("" if row["state"] == "measured" else row["state"]),
    }


def _chance(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{in_points(interval)}{', noise' if inside_noise(interval) else ''}"


def openings(work: DomainsWork, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any] | None]:
    """For each row the state of Explore with its network, on the data where it is weakest."""
    return [_opening(work, row) for row in rows]


def _opening(work: DomainsWork, row: dict[str, Any]) -> dict[str, Any] | None:
    members, known = row["members"], {name: score for name, score in row["domains"].items() if score is not None}
    if len(members) == 1:
        other = next((name for name in work.names if name != members[0]), None)
        state = other and explored({"method": "linear", "parameters": {"alpha": 1.0}, "buffers": ""}, [*members, other])
    else:
        parameters = {"anchor": 0} if row["group"] == "heads" else {}
        about = {"method": row["method"], "parameters": parameters, "buffers": row["buffers"]}
        state = explored(about, members)
    if not state:
        return None
    source = source_of(min(known, key=lambda name: known[name])) if known else None
    return {**state, **({"data": source.name} if source else {})}


def _open(found: Sequence[dict[str, Any] | None]) -> None:
    """Callback of the column of buttons."""
    click = st.session_state[_CLICKED]
    state = None if click is None else found[click["row"]]
    if state is not None:
        st.session_state[ASKED] = "", state


def show_left_out(rows: Sequence[dict[str, Any]]) -> None:
    """What cannot be measured on any domain, and why."""
    show_remarks("Left out", [(row["name"], row["reason"] or row["state"]) for row in rows])


def show_details(found: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Classes of one network, whose heads are kept, and the table as CSV."""
    measured = [row for row in rows if row["classes"]]
    if measured:
        with st.expander("By class", icon=":material/category:"):
            names = [row["name"] for row in measured]
            only_of("domains-class", names)
            name = st.selectbox("Network", names, key="domains-class")
            row = next(row for row in measured if row["name"] == name)
            st.dataframe(_classes(row), hide_index=True, key="domains-classes", placeholder="n/a")
            st.caption(
                "Harmonic mean of the IoU over the domains: n/a where a domain lacks the class, 0 where one is 0."
            )
    if any(row["group"] == "heads" for row in rows):
        heads = ", ".join(f"{plain(name)}: {plain(expert or 'n/a')}" for name, expert in found["own"].items())
        st.caption(
            f"Own heads: {heads}. The expert called like the domain, else the one that is best there on these very"
            " pictures, which flatters it."
        )
    csv_button([_listed(row) for row in rows], "domains", "domains-csv")


def _classes(row: Mapping[str, Any]) -> pd.DataFrame:
    lines = [
        {
            "class": name,
            H: percent(one["harmonic"]),
            **{f"{domain} (%)": percent(score) for domain, score in one["domains"].items()},
        }
        for name, one in row["classes"].items()
    ]
    frame = pd.DataFrame(lines)
    figures = list(frame.columns[1:])
    frame[figures] = frame[figures].apply(pd.to_numeric).round(2)
    return frame
