"""The live viewer: masks that follow alpha, or any other mixture, while it is dragged, without script reruns."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import streamlit as st
import streamlit.components.v2  # type: ignore[import-not-found]

from pages.widgets import link
from pages.widgets.browser_files import ASSETS, stub

LOOK = "viewer-look"
"""Name in the session state."""

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
    control: dict[str, Any] | None = None
    """The method that takes the place of alpha, with its parameters: see `pages.widgets.method_viewer`."""


@dataclass(frozen=True)
class ViewerState:
    """Where the user has left alpha and the picture; never an in-between value of a drag."""

    alpha: float
    index: int


mount = st.components.v2.component(  # pyright: ignore[reportAttributeAccessIssue]
    "fusion_viewer",
    css="\n".join((ASSETS / "viewer" / name).read_text(encoding="utf-8") for name in ("viewer.css", "present.css")),
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
        on_look_change=taking(key, "look", LOOK),
        on_measured_change=nothing,  # a sweep has ended: the run that this causes shows its figures
    )
    keep_look(key, reported.look)
    return ViewerState(
        alpha=float(newest(key, "alpha", reported.alpha, view.alpha)),
        index=int(newest(key, "index", reported.index, view.index)),
    )


def look() -> str:
    """How the pictures are looked at, on every page alike: as the session has it, else as the link says."""
    given = st.session_state.get(LOOK) or link.asked("look") or ""
    return given if _LOOK.fullmatch(given) else ""


def keep_look(key: str, reported: Any) -> None:
    """Take over how the user looks at the pictures now, and put it into the link."""
    text = newest(key, "look", reported, look())
    st.session_state[LOOK] = text if isinstance(text, str) and _LOOK.fullmatch(text) else ""
    link.put("look", st.session_state[LOOK] or None)


def newest(key: str, field: str, reported: Any, given: Any) -> Any:
    """The browser's value in the run that it has caused, else the given one."""
    # Component state is sticky: an old report must not win over a value that Python has set since, and a report of
    # the value that was returned last only says that the browser follows.
    slot = f"{key}/{field}/seen"
    seen, standing = st.session_state.get(slot, (None, given))
    value = given if reported is None or reported in (seen, standing) else reported
    st.session_state[slot] = (reported, value)
    return value


def taking(key: str, field: str, name: str, offset: int | None = None) -> Callable[[], None]:
    """A callback that puts what the browser reports where the session has it, before the run that it causes.

    So the run tells the browser what that has said. Did it tell what was before, Back to just that would be no news.
    With `offset` it is a number, to which that is added.
    """

    def take() -> None:
        reported = getattr(st.session_state[key], field)
        if isinstance(reported, str) if offset is None else isinstance(reported, int | float):
            st.session_state[name] = reported if offset is None else int(reported) + offset

    return take


def nothing() -> None:
    """Streamlit reports a component's values only where a callback is named for each."""
