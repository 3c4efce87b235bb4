"""The sidebar: what is compared and what the workspace holds, the same on all pages; its state is in the URL."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from fusionlib.merging.choices import POLICIES
from fusionlib.studio import Selection, Source, Workspace
from fusionlib.studio.provenance import DEMO_FILE
from pages.widgets import link
from pages.widgets.copy_link import copy_link
from pages.widgets.link import only_of
from pages.widgets.link_notes import dropped
from pages.widgets.present import presenting
from pages.widgets.problems import plain
from pages.widgets.rows import option_texts
from pages.widgets.runs_drawer import runs_drawer
from pages.widgets.server import studio

WITH_SETS = ("compare", "domains", "diagnostics", "lab")
"""Pages with a set of their own: the pair stays as it is, and is not shown."""


def sidebar() -> None:
    """Draw the selectors into the sidebar; pages read the choice with `selection`."""
    workspace = studio().workspace
    with st.sidebar:
        _home_notice()
        names = [item.name for item in workspace.usable()]
        if len(names) < 2:
            st.info("Load at least two checkpoints on the Workspace page.", icon=":material/info:")
        else:
            _selectors(workspace, names)
        copy_link()
        presenting()
        _summary(workspace)
    runs_drawer()


def selection() -> Selection | None:
    """What the sidebar says, or None while fewer than two checkpoints are loaded."""
    state = st.session_state
    if not state.get("a") or not state.get("b"):
        return None
    source = next((source for source in studio().workspace.sources if source.name == state.get("data")), None)
    splits = source.splits if source else ()
    split = (
        state.get("split") if state.get("split") in splits else None
    )  # the URL may still hold the split of other data
    return Selection(state["a"], state["b"], source.name if source else "", split, state.get("buffers", "average"))


def choose(a: str, b: str) -> None:
    """Set the two checkpoints (as a callback, before the widgets are drawn)."""
    st.session_state["a"], st.session_state["b"] = a, b


def use_as(end: str, name: str) -> None:
    """Make a checkpoint A or B (as a callback)."""
    st.session_state[end] = name


def _selectors(workspace: Workspace, names: list[str]) -> None:
    _begin_pair(workspace, names)
    sources = [source for source in workspace.sources if source.problem is None]
    if sources:  # before the checkpoints, whose lists say the scores on it
        _begin("data", [source.name for source in sources], _default_data(workspace, sources))
    if link.page() not in WITH_SETS:
        _pair(workspace, names)
    else:  # what no widget holds would be lost with the last one's
        choose(st.session_state["a"], st.session_state["b"])
    if sources:
        st.selectbox(
            "Data",
            [source.name for source in sources],
            key="data",
            help="Pictures to look at and, with masks, to measure on",
        )
        chosen = next((source for source in sources if source.name == st.session_state.get("data")), sources[0])
        splits = list(chosen.splits)
        if splits:
            only_of("split", splits)
            st.session_state.setdefault("split", workspace.first_split(chosen.name))
            st.selectbox("Split", splits, key="split")
    only_of("buffers", POLICIES)
    st.selectbox(
        "Buffer policy",
        list(POLICIES),
        key="buffers",
        help="What happens to batch-norm statistics: "
        + "; ".join(f"{name}: {what}" for name, what in POLICIES.items()),
    )


def _pair(workspace: Workspace, names: list[str]) -> None:
    items = workspace.usable()
    st.selectbox(
        "Checkpoint A",
        names,
        key="a",
        format_func=option_texts("a", items),
        help="Alpha is the weight of A: alpha 1 is A alone",
    )
    st.selectbox(
        "Checkpoint B",
        names,
        key="b",
        format_func=option_texts("b", items),
        help="Gets 1 - alpha: alpha 0 is B alone",
    )
    st.button("Swap A and B", key="swap", icon=":material/swap_vert:", width="stretch", on_click=_swap)


def _begin_pair(workspace: Workspace, names: list[str]) -> None:
    """A and B: as the session or a link says, and for whatever is not here the pair that the app opens with.

    A link that names one of two keeps it: the other is then that of the pair which is not the same.
    """
    pair = _default_pair(workspace, names)
    asked = {end: value for end in "ab" if (value := st.session_state.get(end)) in names}
    for end, other, default in (("a", "b", pair[0]), ("b", "a", pair[1])):
        taken = asked.get(other)
        _begin(end, names, next(one for one in (default, *pair) if one != taken))


def _default_data(workspace: Workspace, sources: Sequence[Source]) -> str:
    """The first data; of two checkpoints of the demo that of the demo."""
    if all(workspace.get(st.session_state[end]).given == DEMO_FILE for end in "ab"):
        of_demo = [source.name for source in sources if source.origin == "demo"]
        return of_demo[0] if of_demo else sources[0].name
    return sources[0].name


def _begin(key: str, names: list[str], default: str) -> None:
    """The default, unless the session or a link says otherwise; a name that is not here is said above the page.

    Set as a value and not as the widget's own default, of which Streamlit warns as soon as a callback sets another one.
    """
    asked = st.session_state.get(key)
    if asked in names:
        return
    st.session_state[key] = default
    if asked is not None:
        dropped(key, asked)


def _swap() -> None:
    choose(st.session_state["b"], st.session_state["a"])


def _default_pair(workspace: Workspace, names: list[str]) -> tuple[str, str]:
    """The pair that the workspace recommends, else the first two names."""
    return workspace.default_pair() or (names[0], names[1])


def _home_notice() -> None:
    """What the home folder could not keep, above everything else, because whoever goes on measuring loses that too."""
    if text := "; ".join(studio().notes):
        st.warning(f"{plain(text[:1].upper() + text[1:])}.", icon=":material/save:")


def _summary(workspace: Workspace) -> None:
    broken = sum(item.problem is not None for item in workspace.items)
    lines = [_count(len(workspace.usable()), "checkpoint"), _count(len(workspace.sources), "dataset")]
    if broken:
        lines.append(f"{broken} unreadable")
    st.caption("Workspace: " + ", ".join(lines) + f". Device: {studio().device}.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
