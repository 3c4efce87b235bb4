"""What is measured on which domains: choice, cost, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import streamlit as st

from fusionlib.data.corrupt import KINDS, NAME, WORST
from fusionlib.errors import FusionError
from fusionlib.studies.choices import DOMAIN_ROWS
from fusionlib.studio import Selection
from fusionlib.studio.domains import DomainsWork
from fusionlib.studio.domains_plan import DomainChoices, Named
from pages.widgets.diagnostics_controls import keep, kept
from pages.widgets.link import only_of
from pages.widgets.problems import show_problem
from pages.widgets.progress import running
from pages.widgets.server import studio

EXPERTS, BESIDE, BASELINE, ON, COUNT, ROWS, PATH = "experts", "beside", "baseline", "on", "count", "networks", "path"
"""Names in the session state and in the URL."""

COUNTS = ("8", "16", "50", "200", "all")
LABELS = {"mean": "mean", "buffers": "statistics", "heads": "own heads", "subsets": "subsets", "path": "path"}
FIRST_ROWS = ("mean", "buffers", "heads", "subsets", "path")
MOST_AT_FIRST = 5
"""Domains that are chosen where nobody has said anything."""


def choose(chosen: Selection) -> tuple[list[str], list[str], DomainChoices]:
    """Names of the checkpoints, experts first, of the domains, and what is measured."""
    names, begin = [item.name for item in studio().workspace.usable()], studio().domains.first()
    left, middle, right, count = st.columns([5, 6, 2.6, 1.6], vertical_alignment="bottom")
    experts = _several(
        left, "Experts", names, EXPERTS, list(begin.experts) or [chosen.a, chosen.b],
        "Networks that are merged with one another; each is measured alone too",
    )  # fmt: skip
    offered = _offered()
    domains = _several(
        middle, "Domains", offered, ON, [name for name in begin.domains if name in offered][:MOST_AT_FIRST],
        "Labelled data. Type a damage to find more: blur, noise, jpeg, brightness, contrast, fog, rain, snow; 1 to 5",
    )  # fmt: skip
    beside = _several(
        right, "Beside", names, BESIDE, list(begin.beside),
        "Measured alone and merged with nothing, as the common start",
    )  # fmt: skip
    _one(count, "Pictures", COUNTS, COUNT, begin.count, "The first ones of every domain")
    members = [name for name in names if name in experts]
    rows, pair, combined = _further(members, [name for name in names if name not in members])
    aside = [name for name in names if name in beside and name not in (*members, *combined)]
    choices = DomainChoices(chosen.buffers, rows, pair=pair, beside=len(aside), baselines=len(combined))
    return [*members, *aside, *combined], domains, choices


def _further(members: Sequence[str], others: list[str]) -> tuple[tuple[str, ...], tuple[int, int], list[str]]:
    """Which networks, the ends of the path, and the baselines."""
    with st.expander("What is measured", icon=":material/tune:"):
        left, right, third = st.columns([3.7, 2, 1.8], vertical_alignment="bottom")
        if not set(st.session_state.get(PATH) or kept(PATH, None) or ()) <= set(members):
            st.session_state.pop(PATH, None)  # an end is no expert any more
            st.session_state[f"kept/{PATH}"] = None
        rows = _begin(ROWS, list(FIRST_ROWS), list(LABELS))
        left.pills(
            "Networks",
            list(LABELS),
            selection_mode="multi",
            key=ROWS,
            on_change=keep,
            args=(ROWS,),
            format_func=LABELS.__getitem__,
            help="; ".join(f"{LABELS[name]}: {what}" for name, what in DOMAIN_ROWS.items()),
        )
        _several(
            right, "Path between", list(members), PATH, list(members[:2]), "Two experts; the first has alpha",
            most=2,
        )  # fmt: skip
        combined = _several(
            third, "Data combination", others, BASELINE, [],
            "Trained on the data of all domains together: what merging without any data is held against",
        )  # fmt: skip
    rows, ends = st.session_state.get(ROWS) or [], st.session_state.get(PATH) or []
    pair = tuple(members.index(name) for name in ends) if len(ends) == 2 else (0, 1)
    found = tuple(name for name in LABELS if name in rows and (name != "path" or len(ends) == 2))
    return found, pair, combined  # type: ignore[return-value]


def _begin(key: str, default: list[str], options: Sequence[str]) -> list[str]:
    """The choice of a link or of the last visit, as far as it is among the options, else the default."""
    only_of(key, options)
    if key not in st.session_state:
        before = kept(key, None)
        there = [name for name in before if name in options] if isinstance(before, list) else []
        emptied = isinstance(before, list) and not before
        st.session_state[key] = there if there or emptied else [name for name in default if name in options]
    return st.session_state[key]


def _several(
    place: Any,
    label: str,
    options: list[str],
    key: str,
    default: list[str],
    help: str,
    most: int | None = None,
) -> list[str]:
    _begin(key, default, options)
    if most:
        st.session_state[key] = st.session_state[key][:most]
    return place.multiselect(label, options, key=key, on_change=keep, args=(key,), help=help, max_selections=most)


def _one(place: Any, label: str, options: Sequence[str], key: str, default: str, help: str) -> None:
    if st.session_state.get(key) not in options:
        before = kept(key, None)
        st.session_state[key] = before if before in options else default
    place.selectbox(label, list(options), key=key, on_change=keep, args=(key,), help=help)


def _offered() -> list[str]:
    """Data of the workspace, then every damage of it."""
    plain = [source.name for source in studio().workspace.sources if source.problem is None]
    return [*plain, *(f"{name}, {kind} {step}" for name in plain for kind in KINDS for step in range(1, WORST + 1))]


def opened(domains: Sequence[str], chosen: Selection) -> list[Named]:
    """The pictures of domains; what cannot be opened, or has no masks, is said and left out."""
    return list(_opened(domains, chosen))


def _opened(domains: Sequence[str], chosen: Selection) -> Iterator[Named]:
    workspace, text = studio().workspace, st.session_state[COUNT]
    limit = None if text == "all" else int(text)
    for domain in domains:
        source = source_of(domain)
        if source is None:
            continue
        split = chosen.split if chosen.split in source.splits else workspace.first_split(source.name)
        damage = domain[len(source.name) :].removeprefix(", ").split()
        spec = f"{NAME}:{damage[0]}:{damage[1]}:{source.spec}" if damage else source.spec
        try:
            with st.spinner(f"Opening {domain}"):
                pictures = workspace.open_pictures(spec, split, limit)
            studio().runner.need_masks(pictures)
            yield Named(domain, pictures)
        except FusionError as error:
            show_problem(error)


def source_of(domain: str) -> Any:
    """The data of the workspace that a domain is, damaged or not."""
    there = (one for one in studio().workspace.sources if domain == one.name or domain.startswith(f"{one.name}, "))
    return max(there, key=lambda one: len(one.name), default=None)


def run_panel(work: DomainsWork, draw: Callable[[dict[str, Any]], None]) -> bool:
    """The one button with its cost, or the progress with the table that fills; whether it is running."""
    if running(work, "domains", lambda: work.current or "Domains", draw=lambda: draw(work.snapshot())):
        return True
    cost = work.cost()
    if work.settled:
        return False
    label = f"{'Go on' if work.known else 'Measure'}: {cost:,} forward passes"
    if st.button(label, key="domains-run", icon=":material/play_arrow:", type="primary"):
        work.begin()
        st.rerun()
    return False
