"""A row of the Compare page in a real Chromium: its button opens the same merge in Explore, and Back returns."""

from __future__ import annotations

import re

import pytest

from tests.test_contrast_browser import PAIR, address

__all__ = ["address"]
pytestmark = pytest.mark.browser

BUTTON, HEADER, ROW = 262, 36, 35
"""Where the column of buttons lies in the table, and how high its lines are, in pixels."""


def test_a_click_in_the_table_opens_the_merge_in_explore(browser, address: str) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(f"{address}compare?a={PAIR[1]}&b={PAIR[0]}")
    table = tab.locator('[data-testid="stDataFrame"]:visible').first
    table.wait_for(timeout=60000)
    tab.get_by_text("Gain over the best single network").wait_for(timeout=60000)
    tab.evaluate("document.querySelector('[data-testid=stDataFrame]').scrollIntoView({block: 'center'})")
    place, before = table.bounding_box(), tab.url
    assert tab.get_by_role("combobox", name="Checkpoint A").count() == 0
    for _ in range(20):  # the canvas of the table hears of clicks only once it is drawn
        tab.mouse.click(place["x"] + BUTTON, place["y"] + HEADER + 6.5 * ROW)  # after four that are measured: a merge
        tab.wait_for_timeout(3000)
        if "/compare" not in tab.url:
            break
    tab.wait_for_selector('[data-testid="canvas-m"]', timeout=60000)
    tab.wait_for_url(re.compile(r"/\?.*mix="))
    assert "/compare" not in tab.url and tab.get_by_role("combobox", name="Checkpoint A").count() == 1
    tab.go_back()
    tab.wait_for_url(before)
    tab.close()
