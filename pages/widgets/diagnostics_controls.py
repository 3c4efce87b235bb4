"""What is diagnosed, and the background run of the networks: choice, progress, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from fusionlib.studies.diagnose import Unmeasured
from fusionlib.studies.grid import FINE, closer_points
from fusionlib.studio import Diagnosis, Selection
from pages.widgets.link import only_of
from pages.widgets.problems import plain
from pages.widgets.progress import running
from pages.widgets.rows import option_texts
from pages.widgets.server import studio

SET, PAIR = "set", "pair"
"""Names in the session state and in the URL."""

MOST = 6
"""Checkpoints of a set at first: 15 pairs."""

TAU, STEP, SCOPE = "diagnostics-tau", "diagnostics-step", "diagnostics-scope"
JUDGED, ALL, NONE = "path of the pair judged", "paths of all pairs", "no paths"
STEPS = (0.5, 0.25, 0.1, 0.05)


def kept(name: str, default):
    """A widget's value that survives a look at another page: the widget's own state does not."""
    return st.session_state.setdefault(f"kept/{name}", default)


def keep(name: str) -> None:
    """Callback of such a widget; of one that a run which was cut short has put away it may still be told."""
    if name in st.session_state:
        st.session_state[f"kept/{name}"] = st.session_state[name]


def choose_set(chosen: Selection) -> tuple[list[str], float]:
    """The checkpoints to diagnose (at first A, B and others of A's family, `MOST` in all) and tau.

    The set is in the URL where it is not the first one.
    """
    items = studio().workspace.usable()
    names = [item.name for item in items]
    family = next((item.signature for item in items if item.name == chosen.a), "")
    fitting = [item.name for item in items if item.signature == family]
    wanted = list(dict.fromkeys((chosen.a, chosen.b, *(fitting if len(fitting) > 1 else ()))))[:MOST]
    default = [name for name in names if name in wanted]
    if _changed("diagnostics-set-of", (chosen.a, chosen.b)) and not {chosen.a, chosen.b} <= set(
        st.session_state.get(SET, names)
    ):
        st.session_state[SET] = default
    only_of(SET, names)
    st.session_state.setdefault(SET, default)
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    picked = left.multiselect(
        "Checkpoints",
        names,
        key=SET,
        format_func=option_texts(SET, items),
        help=f"Every pair of them is compared. At first: A, B and others with the same tensors as A, {MOST} in all",
    )
    tau = right.number_input(
        "tau",
        0.1,
        1e6,
        kept(TAU, 10.0),
        step=1.0,
        key=TAU,
        on_change=keep,
        args=(TAU,),
        help="Layer discrepancy counts an element as moved when |difference| >= |weight| / tau",
    )
    return [item for item in names if item in picked], float(tau or 10.0)


def choose_pair(pairs: Sequence[tuple[str, str]], chosen: Selection, first: int) -> int:
    """The number of the pair that the verdict is about: at first A and B, whose number is `first`.

    In the URL where it is another.
    """
    names, turned = ([" + ".join(pair[::order]) for pair in pairs] for order in (1, -1))
    if (linked := st.session_state.get(PAIR)) in turned and linked not in names:
        st.session_state[PAIR] = names[turned.index(linked)]  # a link from another page has its own order
    if _changed("diagnostics-pair-of", (chosen.a, chosen.b)) or st.session_state.get(PAIR, names[first]) not in names:
        st.session_state[PAIR] = names[first]
    st.session_state.setdefault(PAIR, names[first])
    return names.index(st.selectbox("Verdict on", names, key=PAIR))


def _changed(name: str, value: object) -> bool:
    """Whether this differs from what the last run of this page saw; not at the first run, which may follow a shared
    link.
    """
    before = st.session_state.get(name, value)
    st.session_state[name] = value
    return before != value


def run_panel(diagnosis: Diagnosis, chosen: Selection, judged: tuple[int, int], seen: int, settings: Any) -> None:
    """Run the networks on the chosen data in the background; the run goes on when the user looks at another page.

    `judged` is the pair that the verdict is about, `seen` the diagnosis' count of known parts before the page was
    drawn, `settings` the place for what is to be measured.
    """
    for note in diagnosis.notes():
        st.info(
            f"{plain(note)}.{'' if diagnosis.obstacle else ' The others can run without it.'}", icon=":material/info:"
        )
    if diagnosis.obstacle:
        return
    if running(diagnosis, "diagnostics", "Diagnosis", lambda: diagnosis.parts_known, seen):
        return
    _start_row(diagnosis, chosen, judged, settings)


def _start_row(diagnosis: Diagnosis, chosen: Selection, judged: tuple[int, int], settings: Any) -> None:
    assert diagnosis.pictures is not None
    lack = diagnosis.lacking()
    paths = any(diagnosis.path_obstacle(*pair) is None for pair in diagnosis.pairs)
    if not lack.networks and not paths:
        settings.caption("All measured: there is nothing left that these networks could tell on these pictures.")
        return
    columns = settings.columns([2, 1, 3], vertical_alignment="bottom")
    scopes = [JUDGED, ALL, NONE] if paths else [NONE]
    wanted = kept(SCOPE, scopes[0])
    scope = columns[0].selectbox(
        "Measure also",
        scopes,
        index=scopes.index(wanted) if wanted in scopes else 0,
        key=SCOPE,
        on_change=keep,
        args=(SCOPE,),
        help="Loss and mIoU between two networks, for barriers and gains",
    )
    step = columns[1].selectbox(
        "Step of alpha",
        STEPS,
        index=STEPS.index(kept(STEP, 0.25)),
        key=STEP,
        on_change=keep,
        args=(STEP,),
        disabled=scope == NONE,
        help=f"The best merge of a path gets neighbours within {FINE:g} before it is judged",
    )
    left = diagnosis.unmeasured(step)
    asked = [pair for pair in left if scope == ALL or (scope == JUDGED and pair == judged)]
    where = f"on {len(diagnosis.pictures)} pictures"
    many = len(lack.networks)
    label = f"Run {many} network{'' if many == 1 else 's'} {where}" if many else f"Measure {_paths(len(asked))} {where}"
    if (many or asked) and st.button(
        label,
        key="diagnostics-run",
        icon=":material/play_arrow:",
        type="primary" if many else "secondary",
        help=plain(f"{chosen.source} {chosen.split or ''}".strip()),
    ):
        diagnosis.want(None if scope == NONE else step, diagnosis.pairs if scope == ALL else [judged])
        st.rerun()
    more = closer_points(step)
    around = f" A path with this step takes up to {more} more points around its best merge." if more and asked else ""
    settings.caption(_what_is_known(diagnosis, lack, len(left), scope == JUDGED and not asked) + around)


def _what_is_known(diagnosis: Diagnosis, lack: Unmeasured, paths: int, others: bool) -> str:
    """`paths` are not measured with the step chosen; `others`: the judged pair's is not among them."""
    if diagnosis.functions() is None:
        return (
            "Weights are compared at once. Oracle, disagreement, activations and barriers appear once the networks have"
            " run; results are kept, and known ones are not measured again."
        )
    if lack.networks and not lack.pairs:
        return "Every pair is known; what is missing needs these networks to run once more."
    if lack.networks:
        return (
            f"{len(lack.pairs)} of {len(diagnosis.pairs)} pairs are not measured yet; what is known is shown and kept."
        )
    if not paths:
        return "All measured: every network, every pair and every path with this step."
    return (
        "Every network and pair has been measured on these pictures; with this step"
        f" {_paths(paths)}{' of other pairs' * others} {'is' if paths == 1 else 'are'} not."
    )


def _paths(count: int) -> str:
    return f"{count} path{'' if count == 1 else 's'}"
