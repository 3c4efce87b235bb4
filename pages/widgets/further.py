"""More of the demo: a button for each family that may join the workspace."""

from __future__ import annotations

import streamlit as st

from fusionlib.errors import FusionError
from fusionlib.studio.further import further, open_further
from pages.widgets.problems import plain, show_problem
from pages.widgets.server import studio


def further_section(key: str) -> None:
    """Nothing where all of it is open, and on servers without the demo."""
    workspace = studio().workspace
    left = [one for one in further() if not one.opened(workspace.trained)] if workspace.options.demo else []
    for one in left:
        button, about = st.columns([2, 5], vertical_alignment="center")
        clicked = button.button(plain(f"Add {one.title}"), key=f"{key}-{one.name}", icon=":material/add:")
        about.caption(plain(f"{one.about} ({one.bytes() / 1e6:.0f} MB)"))
        if clicked:
            try:
                open_further(one.name, workspace.trained)
            except FusionError as error:
                show_problem(error)
                return
            workspace.refresh_checkpoints()
            st.rerun()
