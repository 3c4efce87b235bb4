"""What the weights alone say of merging a set: one line with the way to Diagnose."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.studio import gravest
from pages.widgets.problems import plain
from pages.widgets.server import studio


def outlook_line(checkpoints: Sequence[Checkpoint], names: Sequence[str]) -> None:
    """The gravest verdict among the pairs of `checkpoints`, whose workspace names are `names`; read in the background,
    once.
    """
    if studio().outlooks.soon(checkpoints) is None:
        st.fragment(_waiting, run_every=1.0)(checkpoints)
        return
    judged = studio().outlooks.of_files(checkpoints)
    if judged:
        found = gravest(judged)
        st.page_link(
            "diagnostics.py",
            label=f"From the weights alone: {plain(found['line'])}",
            icon=":material/stethoscope:",
            help=plain(found["sentence"]),
            query_params=[("set", name) for name in names],
        )


def _waiting(checkpoints: Sequence[Checkpoint]) -> None:
    if studio().outlooks.soon(checkpoints, 0) is not None:
        st.rerun(scope="app")
    st.caption("Comparing weights")
