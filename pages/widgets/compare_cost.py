"""Latency and memory of the rows of a comparison: the button that measures them, and the run."""

from __future__ import annotations

import streamlit as st

from fusionlib.studio import Comparison
from pages.widgets.progress import running


def cost_panel(comparison: Comparison) -> None:
    """The button, while something that is measured has no cost yet; or the progress."""
    costs, recipes = comparison.costs, comparison.measured()
    if not recipes or running(costs, "compare-cost", "Latency and memory"):
        return
    passes = costs.passes(recipes)
    if passes and st.button(
        f"Measure latency and memory: {passes} forward passes",
        key="compare-cost",
        icon=":material/timer:",
        help="On the first picture. Equal architectures share a measurement; an ensemble is measured as it runs",
    ):
        costs.want(recipes)
        st.rerun()


def cost_words(comparison: Comparison) -> str:
    """On what it is measured."""
    about = comparison.costs.about
    return f"On {about['device']}, {about['precision']}, {about['width']}x{about['height']}"
