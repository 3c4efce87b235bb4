"""Pictures in the order that was asked for, as thumbnails: 24 a page, filtered by the chosen pixels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import streamlit as st
import streamlit.components.v2  # type: ignore[import-not-found]

from fusionlib.charts.errors import WORDS, counted
from fusionlib.data.attributes import attributes_of, choices_of, having
from fusionlib.errors import FusionError
from fusionlib.measures.error_stack import Pixels
from fusionlib.measures.strata import SIZES
from fusionlib.studio import ErrorAnalysis, MergeView
from fusionlib.studio.error_table import SORTS
from pages.widgets.browser_files import stub, styles
from pages.widgets.errors_selection import BANDS, COUNT, GALLERY, ORDERS, SORT, choose
from pages.widgets.link import only_of
from pages.widgets.live import PICTURE, SESSION
from pages.widgets.problems import problems_shown

PAGE = 24
OF, DOMAIN, WHERE = "of", "domain", "where"
"""Names in the session state and in the URL."""

_COMPONENT = "errors-gallery"
_BAND_WORDS = {None: "anywhere", **BANDS}

_mount = st.components.v2.component(  # pyright: ignore[reportAttributeAccessIssue]
    "fusion_gallery",
    css=styles("viewer/viewer.css", "errors/gallery.css"),
    js=stub("errors/gallery.js"),
)


def ordered(analysis: ErrorAnalysis, pixels: Pixels) -> list[dict[str, Any]]:
    """The pictures as sort, filters and choice say."""
    names, state = analysis.pictures.label_space.names, st.session_state
    only_of(SORT, [one for one in ORDERS if one != COUNT or not pixels.everything])
    only_of(OF, names)
    sort = state.setdefault(SORT, "gain")
    domains = domains_of(analysis)
    only_of(DOMAIN, domains)
    number = names.index(state.setdefault(OF, names[0])) if sort == "class_gain" else None
    rows = analysis.rows(
        "gain" if sort == COUNT else sort, pixels, domains=state.get(DOMAIN) or (), number=number, among=among(analysis)
    )
    return sorted(rows, key=lambda row: -row["pixels"]) if sort == COUNT else rows


def domains_of(analysis: ErrorAnalysis) -> list[str]:
    """Groups of the pictures; none where every picture is one of its own."""
    groups = list(dict.fromkeys(analysis.table_of_pictures.domains))
    return groups if 1 < len(groups) < len(analysis.pictures) else []


def gallery(view: MergeView, rows: Sequence[dict[str, Any]], pixels: Pixels, *, strip: bool) -> None:
    """Thumbnails of one page; a click shows its picture. `strip`: in one row."""
    pages = max(1, -(-len(rows) // PAGE))
    page = min(pages, max(1, _whole(st.session_state.get(GALLERY))))
    st.session_state[GALLERY] = page
    part = rows[PAGE * (page - 1) : PAGE * page]
    _mount(
        key=_COMPONENT,
        data={
            "base": f"live/{st.session_state[SESSION].key}/{view.id}",
            "rows": [_entry(row, pixels) for row in part],
            "open": int(st.session_state.get(PICTURE, 1)) - 1,
            "page": page,
            "pages": pages,
            "strip": strip,
            "words": f"{len(rows):,} picture{'s' * (len(rows) != 1)}, change of mIoU over the classes in each",
            "empty": "No picture has such pixels: clear the choice or a filter.",
        },
        on_open_change=_open,
        on_page_change=_turn,
    )


def _entry(row: dict[str, Any], pixels: Pixels) -> dict[str, Any]:
    gain = "n/a" if row["gain"] is None else f"{100 * row['gain']:+.1f}".replace("-", "−")
    changes = f"{counted(row['fixed'])} fixed, {counted(row['broken'])} broken"
    chosen = "" if pixels.everything else f"{counted(row['pixels'])} px chosen"
    tone = "better" if (row["gain"] or 0) > 0.0005 else "worse" if (row["gain"] or 0) < -0.0005 else "same"
    return {"number": row["number"], "name": row["name"], "gain": gain, "tone": tone, "text": chosen or changes}


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 1


def _open() -> None:
    number = st.session_state[_COMPONENT].open
    if isinstance(number, int | float) and number >= 0:
        st.session_state[PICTURE] = int(number) + 1


def _turn() -> None:
    page = st.session_state[_COMPONENT].page
    if isinstance(page, int | float):
        st.session_state[GALLERY] = int(page)


def among(analysis: ErrorAnalysis) -> list[int] | None:
    """The pictures that the columns of `attributes.csv` leave; None: all. A file that is no table is named."""
    with problems_shown():
        found = attributes_of(analysis.pictures)
        only_of(WHERE, choices_of(found))
        return having(found, st.session_state.get(WHERE) or ())
    return None


def filters(analysis: ErrorAnalysis, pixels: Pixels) -> None:
    """Sort and filters."""
    names, state = list(analysis.pictures.label_space.names), st.session_state
    columns = st.columns([3, 2, 2], vertical_alignment="bottom")
    columns[0].selectbox(
        "Sort by",
        [one for one in ORDERS if one != COUNT or not pixels.everything],
        key=SORT,
        format_func=ORDERS.__getitem__,
        help="; ".join(f"{ORDERS[name]}: {what}" for name, what in SORTS.items()),
        label_visibility="collapsed",
    )
    if state[SORT] == "class_gain":
        columns[1].selectbox("Class", names, key=OF, label_visibility="collapsed")
    else:
        columns[1].empty()
    with columns[2].popover("Filters", icon=":material/filter_list:", width="stretch"):
        _pixel_filters(names, pixels)
        if domains := domains_of(analysis):
            st.multiselect("Domain", domains, key=DOMAIN, placeholder="All", on_change=_first_page)
        with suppress(FusionError):  # `among` has said why
            if choices := choices_of(attributes_of(analysis.pictures)):
                st.multiselect("Attributes", choices, key=WHERE, placeholder="All", on_change=_first_page)


def _first_page() -> None:
    st.session_state[GALLERY] = 1


def _pixel_filters(names: list[str], pixels: Pixels) -> None:
    state = st.session_state
    state["errors-truths"] = [one for one in pixels.truths if one < len(names)]
    state["errors-transitions"] = list(pixels.transitions)
    state["errors-sizes"] = list(pixels.sizes)
    state["errors-band"] = pixels.band
    common: dict[str, Any] = {"on_change": _filter, "args": (pixels,)}
    st.multiselect(
        "Class of the truth", range(len(names)), key="errors-truths", format_func=names.__getitem__, **common
    )
    st.multiselect("Transition", list(WORDS), key="errors-transitions", format_func=lambda one: WORDS[one][0], **common)
    st.multiselect("Object size", list(SIZES), key="errors-sizes", **common)
    st.segmented_control(
        "Where in objects", list(_BAND_WORDS), key="errors-band", format_func=_BAND_WORDS.__getitem__, **common
    )


def _filter(pixels: Pixels) -> None:
    state = st.session_state
    choose(
        replace(
            pixels,
            truths=tuple(state["errors-truths"]),
            transitions=tuple(state["errors-transitions"]),
            sizes=tuple(state["errors-sizes"]),
            band=state["errors-band"],
            bin=None,
        )
    )
