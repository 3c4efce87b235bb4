"""The live viewer: masks that follow alpha, or any other mixture, while it is dragged, without script reruns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import streamlit as st
import streamlit.components.v2  # type: ignore[import-not-found]

from pages.widgets import link
from pages.widgets.browser_files import stub, styles

LOOK = "viewer-look"
"""Name in the session state."""

_MEASURED = "viewer/measured"
_LOOK = re.compile(r"[a-z0-9_.~-]{0,2000}")


@dataclass(frozen=True)
class CheckpointEntry:
    """A checkpoint's name and its own scores on the whole split (fractions and nats), None when not measured."""

    name: str
    miou: float | None = None
    loss: float | None = None


@dataclass(frozen=True)
class ClassEntry:
    """A class of the label space: ``id`` as in the label maps, ``color`` as ``#rrggbb``."""

    id: int
    name: str
    color: str


@dataclass(frozen=True)
class ViewerData:
    """What the viewer shows; ``alpha`` is the weight of A, and checkpoints after B are ``more``.

    ``base`` is the prefix of the live routes, relative to the page: whatever ``server.baseUrlPath`` or a proxy has put
    in front of the page's address is then in front of theirs too.
    """

    base: str
    size: tuple[int, int]
    count: int
    index: int
    name: str
    names: Sequence[str]
    alpha: float
    a: CheckpointEntry
    b: CheckpointEntry
    more: tuple[CheckpointEntry, ...] = field(default=(), kw_only=True)
    labelled: bool
    classes: Sequence[ClassEntry]
    step: float = 0.01
    buffers: str = "average"
    metric: str = "miou"
    live: bool = True
    message: str | None = None
    look: str = ""
    """How the pictures are looked at, as assets/viewer/look.js writes it; nothing is how one begins."""
    outside: bool = False
    """Whether the network has classes that the annotation has not."""
    first: Mapping[str, Any] | None = None
    """What a first look has found, by alpha; None where there was none or more is known."""
    inside: Mapping[str, Any] | None = None
    """Learners inside the network, see `fusionlib.studio.inside.offered`; None where there are none."""
    control: dict[str, Any] | None = None
    """The method that takes the place of alpha, with its parameters: see `pages.widgets.method_viewer`."""
    errors: Mapping[str, Any] | None = None
    """What the page of errors has chosen, see `pages.widgets.errors_page`; None on any other page."""


@dataclass(frozen=True)
class ViewerState:
    """Where the user has left alpha and the picture; never an in-between value of a drag."""

    alpha: float
    index: int


mount = st.components.v2.component(  # pyright: ignore[reportAttributeAccessIssue]
    "fusion_viewer",
    css=styles("viewer/viewer.css", "viewer/errors.css", "viewer/marks.css", "viewer/present.css"),
    js=stub("viewer/main.js"),
)


def viewer(
    view: ViewerData,
    key: str,
    on_alpha: Callable[[], None] | None = None,
    on_index: Callable[[], None] | None = None,
) -> ViewerState:
    """Mount the viewer and return the newest alpha and picture.

    The browser's value counts in the run that it has caused, else the view's own: keep what is returned and pass it in
    the next run. The callbacks run before the script, when the user has settled on a new value
    (``st.session_state[key].alpha`` or ``.index``).
    """
    reported = mount(
        key=key,
        data={**asdict(view), "key": key},
        on_alpha_change=on_alpha or nothing,
        on_index_change=on_index or nothing,
        on_look_change=told(key, "look", take_look),
        on_measured_change=_note_measured,
    )
    link.put("look", look() or None)
    return ViewerState(
        alpha=float(newest(key, "alpha", reported.alpha, view.alpha)),
        index=int(newest(key, "index", reported.index, view.index)),
    )


def look() -> str:
    """How the pictures are looked at, on every page alike: as the session has it, else as the link says."""
    given = st.session_state.get(LOOK) or link.asked("look") or ""
    return given if _LOOK.fullmatch(given) else ""


def take_look(text: Any) -> None:
    """How the user looks at the pictures now."""
    st.session_state[LOOK] = text if isinstance(text, str) and _LOOK.fullmatch(text) else ""


def told(key: str, field: str, take: Callable[[Any], None]) -> Callable[[], None]:
    """A callback that hands on what the browser reports before the script runs.

    What the run then tells the browser is the echo of it: without that, a Back to what was there before looks to the
    browser like a run that has not heard of its report yet.
    """

    def callback() -> None:
        value = getattr(st.session_state[key], field)
        if value is not None:
            take(value)

    return callback


def newest(key: str, field: str, reported: Any, given: Any) -> Any:
    """The browser's value in the run that it has caused, else the given one."""
    # Component state is sticky: an old report must not win over a value that Python has set since, and a report of
    # the value that was returned last only says that the browser follows.
    slot = f"{key}/{field}/seen"
    seen, standing = st.session_state.get(slot, (None, given))
    value = given if reported is None or reported in (seen, standing) else reported
    st.session_state[slot] = (reported, value)
    return value


def _note_measured() -> None:
    st.session_state[_MEASURED] = True


def newly_measured() -> bool:
    """Whether this run is because the browser saw a sweep end: its figures stand outside of the viewer's part too."""
    return st.session_state.pop(_MEASURED, False)


def nothing() -> None:
    """Streamlit reports a component's values only where a callback is named for each."""
