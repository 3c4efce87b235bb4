"""Explore: one mixture of two or more checkpoints, live."""

from pages.widgets.explore import explore_view
from pages.widgets.style import heading

heading("Explore", "Mix checkpoints and watch: masks, curve and classes follow the hand.", "merging")
explore_view()
