"""The Domains page and Compare's Search in a real Chromium: found, seen, opened in Explore, and Back returns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from app_server import App

pytestmark = pytest.mark.browser

BUTTON, HEADER, ROW = 250, 36, 35
"""Where the column of buttons lies in the table, and how high its lines are, in pixels."""

DOMAINS = [("experts", "fog"), ("experts", "night"), ("on", "streets fog"), ("on", "streets night"), ("count", "16")]
"""What the demo knows all figures of."""

SEARCH = {
    **{"a": "start", "b": "fog", "data": "streets rain", "split": "val", "buffers": "average", "part": "search"},
    **{"strategy": "grid", "select": "streets rain, val", "report": "streets rain, val", "settings": '{"step":0.5}'},
}
"""A search of three points on the two pictures that the operator names."""


@pytest.fixture
def tab(browser) -> Iterator:
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    yield opened
    opened.close()
    assert problems == []


def explored_and_back(tab, before: str) -> None:
    """Explore shows its merge, and Back returns to where it came from."""
    tab.wait_for_selector('[data-testid="canvas-m"]', timeout=60000)
    tab.wait_for_url(re.compile(r"/\?.*mix="))
    tab.go_back()
    tab.wait_for_url(before)


def test_a_network_of_the_domains_opens_in_explore_and_back_returns(tab, small: App) -> None:
    tab.goto(f"{small.address}domains?{urlencode(DOMAINS)}")
    tab.get_by_text("over the best expert alone").wait_for(timeout=60000)
    assert re.search(r"95 %: \+\d.* to \+\d", tab.get_by_text("over the best expert alone").inner_text())
    tab.get_by_role("radio", name="Path").click()
    tab.get_by_text("alpha: weight of fog").wait_for()
    tab.get_by_role("radio", name="Networks").click()
    tab.locator(".js-plotly-plot").get_by_text("mean, pooled statistics").wait_for()
    tab.wait_for_url(re.compile("chart=networks"))
    table = tab.locator('[data-testid="stDataFrame"]:visible').first
    table.evaluate("element => element.scrollIntoView({block: 'center'})")
    table.locator("canvas").first.wait_for()
    place, before = table.bounding_box(), tab.url
    tab.mouse.click(place["x"] + BUTTON, place["y"] + HEADER + 0.5 * ROW)
    explored_and_back(tab, before)
    tab.get_by_text("over the best expert alone").wait_for(timeout=60000)


def test_a_search_finds_its_best_and_a_point_opens_in_explore(tab, small: App) -> None:
    tab.goto(f"{small.address}compare?{urlencode([*SEARCH.items(), ('compare', 'start'), ('compare', 'fog')])}")
    tab.get_by_role("button", name="forward passes").click(timeout=60000)
    gain = tab.get_by_test_id("stMetric").filter(has_text="mIoU gain")
    gain.wait_for(timeout=60000)
    assert "+" in gain.inner_text() and tab.get_by_text("start 0.5, fog 0.5").is_visible()
    points = tab.locator(".js-plotly-plot .scatterlayer path.point")
    points.first.wait_for()
    points.first.scroll_into_view_if_needed()
    spots = [points.nth(number).bounding_box() for number in range(points.count())]
    spot, before = min(spots, key=lambda one: one["y"]), tab.url  # the best
    tab.mouse.click(spot["x"] + spot["width"] / 2, spot["y"] + spot["height"] / 2)
    explored_and_back(tab, before)
    gain.wait_for(timeout=60000)
