"""Layers: the address of earlier links to a mixture by layer; it is the Explore page."""

from pages.widgets.explore import LAYERS, explore_view
from pages.widgets.style import heading

heading(
    "Explore",
    "Mix checkpoints and watch: masks, curve and classes follow the hand.",
    "merging#a-weight-for-every-layer",
)
explore_view(LAYERS)
