"""A link of a view as something to press: it opens without a reload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fusionlib.runs.links import parsed
from pages.widgets.problems import plain

PAGES_FOLDER = Path(__file__).parents[1]

FILES = {
    "": "explore.py",
    "layers": "layers.py",
    "compare": "compare.py",
    "domains": "domains.py",
    "lab": "lab.py",
    "diagnostics": "diagnostics.py",
    "calibration": "calibration.py",
    "errors": "errors.py",
}
"""Where the pages of links are."""


def view_link(place: Any, wanted: str, label: str) -> None:
    """Draw it; a view of a page that this app does not have is only named."""
    page, state = parsed(wanted)
    pairs = [(name, text) for name, texts in state.items() for text in texts]
    if (PAGES_FOLDER / FILES[page]).exists():
        place.page_link(FILES[page], label=plain(label), query_params=pairs)
    else:
        place.markdown(plain(label))
