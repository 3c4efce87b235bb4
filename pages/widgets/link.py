"""A view is its link: what a page shows stands in its address, defaults included.

Before the widgets the state follows the address, where that is not what was written last: a link was opened, or Back or
Forward pressed. After them the whole state is written at once, so that one gesture is one step of Back. Widgets are not
bound to the address by Streamlit: it leaves defaults out, and Back then takes the first option for them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from fusionlib.runs.links import PAGES, written
from pages.widgets import link_notes

SHARED = ("a", "b", "data", "split", "buffers")
"""What every page shows in its sidebar."""

_DIAGNOSE = ("tab", "set", "pair", "alpha", "picture", "bins", "class", "inside")
_EXPLORE = ("mix", "more", "alpha", "picture", "parameters", "profile", "look", "dtype")
_MATRIX = ("matrix", "share", "cells", "flow")
_SEARCH = ("strategy", "score", "select", "report", "policy", "calibrate", "settings")
_SETS = ("reference", "across")
_VARY = ("method", "parameter", "second", "target", "also", "vary")
OWN = {
    "": _EXPLORE,
    "errors": (*_EXPLORE, "against", "sort", "of", "pixels", "domain", "where", "gallery", "show", *_MATRIX),
    "layers": ("more", "picture", "profile", "look", "dtype"),
    "compare": ("part", "compare", "anchor", "base", "rows", "own", "cost", "dtype", *_SEARCH, *_VARY, *_SETS),
    "domains": ("experts", "beside", "baseline", "on", "count", "networks", "path", "over", "chart"),
    "diagnostics": _DIAGNOSE,
    "lab": ("regime", "start", "train", "validate"),
    "guide": ("chapter",),
    "story": (),
    "calibration": _DIAGNOSE,
}
"""What else a page shows, by its address."""

KNOWN = tuple(dict.fromkeys((*SHARED, *(name for names in OWN.values() for name in names))))
"""All that a link may say, on whichever page."""

APART = {"guide", "story"}
"""Pages that show nothing of the pair; links to their sections stay as they are."""

EMPTY = {"beside", "baseline", "networks", "path"}
LISTS = {"more", "compare", "rows", "set", "domain", "where", "experts", "on", "select", "report", "reference", *EMPTY}
WHOLE = {"bins", "gallery"}
"""Values that are several texts, those of them that may be emptied (`beside=`), and those that are whole numbers."""

TEXTS = {
    "parameters": "method/",
    "profile": "layer-profile",
    "look": "viewer-look",
    "own": "kept/compare-own",
    "settings": "search/",
    "vary": "vary/",
}
"""What travels as a text that its page makes, with the beginning of the names under which the session has it."""

MOST_TOLD = 16
"""Of how many addresses is remembered that the browser had them, or was told them, before the last one."""

_WRITTEN, _PAGE, _KEPT, _ONCE, _BROUGHT = "link/written", "link/page", "link/kept", "link/asked", "link/brought"
_TOLD, _BEHIND, _SHOWN = "link/told", "link/behind", "link/shown"


def follow(page: str) -> None:
    """Take the state from the address where it is another than what was written last. Before any widget."""
    st.session_state[_PAGE] = page
    before = st.session_state.get(_WRITTEN)
    if before is not None and page != before[0]:
        st.session_state.pop(_TOLD, None)
    now = _current()
    st.session_state[_ONCE] = dict(now)
    kept: dict[str, Any] = st.session_state.setdefault(_KEPT, {})
    if before is None or now != before[1]:
        link_notes.arrives(now)
    if before is not None and now != before[1]:
        # A page that is opened from another one brings nothing, or a part: the rest stays as it is; but the data does
        # not, where the link names checkpoints of its own.
        elsewhere = page != before[0] and not set(SHARED) <= set(now)
        anew = ("data", "split") if {"a", "b"} & set(now) else ()
        for name in _names(page):
            if name in TEXTS and now.get(name) == before[1].get(name):
                continue  # neither says anything of it, or both the same: one that is too long for a link stays
            if name in now or not elsewhere or name in anew:
                _take(name, now.get(name), kept)
    elif before is None:
        for name in _names(page):
            if name in now:
                _take(name, now[name], kept)
    # A run that the next step of Back cuts short must not leave one address in the state and another in mind.
    st.session_state[_WRITTEN] = (page, now)
    target, brought = st.session_state.pop(_BROUGHT, (page, {}))
    for name, value in brought.items() if target == page else ():
        st.session_state[name] = kept[name] = value
    # What a widget holds is lost on the way to another page, also to one whose address says nothing of it.
    for name in dict.fromkeys((*SHARED, *_names(page))):
        if name in st.session_state and (before is None or page == before[0]):
            continue
        value = st.session_state.get(name, kept.get(name))
        if value is not None:
            st.session_state[name] = value


def bring(page: str, state: Mapping[str, Any]) -> None:
    """What a page that is opened next begins with: set here, widgets of the present one would not have it changed, and
    what a widget of that page has held before would be dropped with it.
    """
    st.session_state[_BROUGHT] = page, dict(state)


def present() -> str | None:
    """The link of the view that is shown; None of a page that shows none, or has not been drawn to its end."""
    page, state = st.session_state.get(_SHOWN, (None, {}))
    return written(page, state) if page in PAGES and page == st.session_state.get(_PAGE) else None


def page() -> str | None:
    """The address of the page that is shown, without what follows the question mark."""
    return st.session_state.get(_PAGE)


def asked(name: str) -> str | None:
    """What the address said of this at the beginning of the run."""
    return next(iter(st.session_state.get(_ONCE, {}).get(name, ())), None)


def only_of(name: str, options: Collection[Any]) -> None:
    """Before a widget: forget what is none of its options, or is there twice, as a link may say."""
    value = st.session_state.get(name)
    if isinstance(value, list):
        there = [one for one in dict.fromkeys(value) if one in options]
        if set(there) != set(value):
            link_notes.dropped(name, ", ".join(str(one) for one in value if one not in options))
        if value and not there:
            del st.session_state[name]
        elif there != value:
            st.session_state[name] = there
    elif name in st.session_state and value not in options:
        link_notes.dropped(name, value)
        del st.session_state[name]


def put(name: str, text: str | None) -> None:
    """What stands in the address for one of `TEXTS`."""
    st.session_state[f"link/text/{name}"] = text


def write() -> None:
    """Put the whole state into the address, at once; nothing happens where it is there already. After all widgets."""
    page = st.session_state.get(_PAGE)
    if page is None:
        return
    kept = st.session_state.setdefault(_KEPT, {})
    wanted: dict[str, list[str]] = {}
    for name in _names(page):
        value = st.session_state.get(f"link/text/{name}") if name in TEXTS else st.session_state.get(name)
        if name not in TEXTS and value is not None:
            kept[name] = value
        value = [""] if value == [] and name in EMPTY else value
        texts = [value] if not isinstance(value, list | tuple) else list(value)
        if value is not None and texts:
            wanted[name] = [f"{one:g}" if isinstance(one, float) else str(one) for one in texts]
    if wanted != _address() or st.session_state.get(_BEHIND):
        st.session_state[_TOLD] = [*st.session_state.get(_TOLD, ()), _address(), wanted][-MOST_TOLD:]
        st.query_params.from_dict(wanted)
    st.session_state[_WRITTEN] = st.session_state[_SHOWN] = (page, wanted)


def settle() -> None:
    """After `write`, once the whole page is drawn: what of its link was not understood is known now."""
    page, state = st.session_state.get(_SHOWN, (None, {}))
    if page is not None and page == st.session_state.get(_PAGE):
        link_notes.settle(state, KNOWN)


def _current() -> dict[str, list[str]]:
    """The address; the one that was written last where the browser has not heard of it yet.

    A slider that is let go while a page is drawn asks with an older address, and where several were written meanwhile,
    with one in between. A step of the history leads to such a one too, and says so; where a widget is moved before its
    run has begun, Streamlit takes both for one, and the widget wins.
    """
    now, written = _address(), st.session_state.get(_WRITTEN, ("", None))[1]
    if stepped():
        st.session_state.pop(_TOLD, None)
    behind = now != written and now in st.session_state.get(_TOLD, ())
    st.session_state[_BEHIND] = behind
    return written if behind and written is not None else now


def stepped() -> bool:
    """Whether this run is because of a step of the browser's history."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def _names(page: str) -> tuple[str, ...]:
    return OWN[page] if page in APART else (*SHARED, *OWN.get(page, ()))


def _address() -> dict[str, list[str]]:
    return {name: st.query_params.get_all(name) for name in st.query_params}


def _take(name: str, values: Sequence[str] | None, kept: dict[str, Any]) -> None:
    """The state becomes what the address says; what it does not say begins anew."""
    if name in TEXTS:
        for key in [key for key in st.session_state if str(key).startswith(TEXTS[name])]:
            del st.session_state[key]
        st.session_state.pop(f"link/text/{name}", None)
        return
    for key in (name, f"kept/{name}"):
        st.session_state.pop(key, None)
    kept.pop(name, None)
    if values:
        values = [] if name in EMPTY and list(values) == [""] else values
        value = list(dict.fromkeys(values)) if name in LISTS else _whole(values[0]) if name in WHOLE else values[0]
        if value is not None:
            st.session_state[name] = st.session_state[f"kept/{name}"] = value


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None
