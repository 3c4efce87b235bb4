"""What is known of merging a set, measured or from the weights alone: one line with the way to Diagnose."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.studio import Comparison
from pages.widgets.problems import plain
from pages.widgets.server import studio


def outlook_line(comparison: Comparison, names: Sequence[str]) -> None:
    """The gravest verdict among the pairs of a comparison, whose workspace names are `names`; weights are read in the
    background, once.
    """
    if studio().outlooks.soon(comparison.checkpoints) is None:
        st.fragment(_waiting, run_every=1.0)(comparison.checkpoints)
        return
    if found := comparison.outlook():
        st.page_link(
            "diagnostics.py",
            label=f"{'Measured' if found['measured'] else 'From the weights alone'}: {plain(found['line'])}",
            icon=":material/stethoscope:",
            help=plain(found["sentence"]),
            query_params=[("set", name) for name in names],
        )


def _waiting(checkpoints: Sequence[Checkpoint]) -> None:
    if studio().outlooks.soon(checkpoints, 0) is not None:
        st.rerun(scope="app")
    st.caption("Comparing weights")
