"""Tables of the Workspace page: checkpoints and the preflight report."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fusionlib.architectures.facts import classes_text
from fusionlib.studio import Item, Workspace
from fusionlib.studio.provenance import FILE
from fusionlib.studio.rows import Row
from pages.widgets import link
from pages.widgets.problems import plain, problems_shown
from pages.widgets.rows import option_texts, rows
from pages.widgets.sidebar import choose

SCORE = "mIoU %"
GROUPS, PREFLIGHT = "further-groups", "preflight"
_LEVELS = {"error": "Cannot be merged", "warning": "Look at this", "info": "Good to know"}

ROW_PIXELS = 35
"""Of a table, its head too."""


def checkpoint_table(workspace: Workspace) -> None:
    """All checkpoints, readable or not, as their files and their networks' code are now."""
    with problems_shown():
        workspace.refresh_models()
    workspace.refresh_checkpoints()
    st.markdown("### Checkpoints")
    if empty := workspace.empty_folders():
        below = ", ".join(plain(name) for name in workspace.folders_below())
        st.warning(
            f"No checkpoint file in {', '.join(plain(name) for name in empty)}. Name the folder that holds the files:"
            f" folders below it are not searched{f' ({below} would do)' if below else ''}.",
            icon=":material/folder_off:",
        )
    if not workspace.items:
        upload = "Upload checkpoints below, or start" if workspace.options.uploads else "Start"
        st.info(f"Nothing is loaded. {upload} the app with --checkpoints FOLDER.", icon=":material/info:")
        return
    table = [_row(item, row) for item, row in zip(workspace.items, rows(workspace.items), strict=True)]
    if all(line.get(SCORE) is None for line in table):
        table = [{name: value for name, value in line.items() if name != SCORE} for line in table]
    # The table is drawn a moment later: its place is kept, or what lies below would be pushed down.
    with st.container(height=min(400, ROW_PIXELS * (len(table) + 1) + 16), border=False):
        st.dataframe(
            table,
            hide_index=True,
            key="checkpoints",
            placeholder="–",
            column_config={
                SCORE: st.column_config.NumberColumn(
                    SCORE, format="%.1f", help="Its own on the data that the sidebar names, where it is measured"
                ),
                "parameters": st.column_config.NumberColumn("parameters", format="localized"),
                "MB": st.column_config.NumberColumn("MB", format="%.1f"),
            },
        )
    for note in workspace.skipped():
        st.caption(f"{plain(note)}.")
    broken = [item for item in workspace.items if item.problem is not None]
    if broken:
        st.error(
            f"{len(broken)} file{'s' if len(broken) > 1 else ''} cannot be used: "
            + ", ".join(plain(item.name) for item in broken),
            icon=":material/error:",
        )
        with st.expander("Why, and what to do"):
            st.dataframe(
                [
                    {"file": item.name, "got": item.problem.got, "needs": item.problem.needs, "do": item.problem.do}
                    for item in broken
                    if item.problem
                ],
                hide_index=True,
                key="broken",
                row_height=44,
            )
    _further_groups(workspace)
    if st.button("Look at the folders again", icon=":material/refresh:", key="refresh"):
        workspace.refresh()
        st.rerun()


def _further_groups(workspace: Workspace) -> None:
    """Files that hold several networks: which of the others are checkpoints of their own, for everybody who uses this
    server.
    """
    offers = workspace.offered_groups()
    if not offers:
        return
    # What the server shows and not what this page showed last: others may have chosen meanwhile.
    st.session_state[GROUPS] = [text for text, (_, _, shown) in offers.items() if shown]
    st.multiselect(
        "Averages, teachers and copies in these files",
        list(offers),
        key=GROUPS,
        placeholder="None is shown",
        on_change=lambda: workspace.show_groups(st.session_state[GROUPS]),
        help=(
            "A file with several networks stands for the trained one; others that you choose here become checkpoints of"
            " their own, for everybody who uses this server"
        ),
    )


def preflight_section(workspace: Workspace) -> None:
    """Choose a set and read whether it can be merged."""
    st.markdown("### Do they fit together?")
    items = workspace.usable()
    names = [item.name for item in items]
    if not names:
        st.caption("The report appears once a checkpoint is loaded.")
        return
    pair = [name for name in (st.session_state.get("a"), st.session_state.get("b")) if name in names]
    link.only_of(PREFLIGHT, names)
    st.session_state.setdefault(PREFLIGHT, list(dict.fromkeys(pair)) or names[:2])
    chosen = st.multiselect("Checkpoints to compare", names, key=PREFLIGHT, format_func=option_texts(PREFLIGHT, items))
    if not chosen:
        st.caption("Choose at least one checkpoint.")
        return
    report = workspace.preflight(chosen)
    with st.spinner("Looking for NaN and infinity"):
        not_finite = workspace.finite_problems(chosen)
    for problem in not_finite:
        st.error(f"{plain(problem)}. A merge would have them too: use an earlier epoch.", icon=":material/error:")
    if len(chosen) > 1:
        if report.compatible and not not_finite:
            st.success(
                f"These {len(chosen)} checkpoints share all {len(report.shared)} tensors: a merge can be computed. "
                "Whether it works, the Diagnose page says.",
                icon=":material/check_circle:",
            )
        elif not report.compatible:
            alike = sum(name not in report.mismatched for name in report.shared)
            st.warning(
                f"These {len(chosen)} checkpoints cannot be merged tensor by tensor: {alike} tensors are "
                f"shared, {len(report.missing)} missing somewhere, {len(report.mismatched)} of different shapes."
                + (" The Compare page merges what they share." if alike else ""),
                icon=":material/block:",
            )
    findings = [item for item in report.findings if item.level != "info" or item.do]
    if findings:
        st.dataframe(
            [
                {"kind": _LEVELS.get(item.level, item.level), "what": item.title, "what to do": item.do}
                for item in findings
            ],
            hide_index=True,
            key="findings",
            row_height=44,
        )
    _differences(report)
    if (
        len(chosen) == 2
        and report.compatible
        and st.button(
            "Explore these two",
            key="open-merge",
            icon=":material/merge:",
            on_click=choose,
            args=tuple(chosen),
        )
    ):
        st.switch_page(
            "explore.py", query_params={}
        )  # else it would clear the URL, which the sidebar's widgets are bound to


def _differences(report: Any) -> None:
    names = [item.name for item in report.checkpoints]
    rows = [
        {"tensor": name, **{owner: _shape(shape) for owner, shape in zip(names, shapes, strict=True)}}
        for name, shapes in report.mismatched.items()
    ]
    rows += [
        {"tensor": name, **{owner: "missing" if owner in lacking else "there" for owner in names}}
        for name, lacking in report.missing.items()
    ]
    if rows:
        with st.expander(f"{len(rows)} tensors that differ"):
            st.dataframe(rows, hide_index=True, key="differences")


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(str(side) for side in shape) or "scalar"


def _row(item: Item, row: Row) -> dict[str, Any]:
    checkpoint, network = item.checkpoint, item.architecture
    origin = item.given if item.given != FILE else f"{FILE} ({item.origin})"
    if checkpoint is None:
        return {
            "name": item.name,
            "from": origin,
            "network": "unreadable",
            "notes": item.problem.got if item.problem else "",
        }
    return {
        "name": item.name,
        SCORE: None if row.miou is None else 100 * row.miou,
        "role": row.role,
        "from": origin,
        "network": f"{network[0].title}, {classes_text(*network)}" if network else "unknown",
        "parameters": checkpoint.parameters,
        "tensors": len(checkpoint.tensors),
        "MB": checkpoint.size_bytes / 1e6,
        "fingerprint": checkpoint.fingerprint[:12],
        "notes": "; ".join(filter(None, (item.made.about, *checkpoint.notes))).replace("`", ""),  # a cell has no code
    }
