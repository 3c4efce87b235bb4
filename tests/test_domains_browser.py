"""The Domains page and Compare's Search in a real Chromium: found, seen, opened in Explore, and Back returns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from app_server import App

from tests.test_compare_browser import HEADER, ROW, beside_names
from tests.waits import expect, still

pytestmark = pytest.mark.browser


DOMAINS = [("experts", "fog"), ("experts", "night"), ("on", "streets fog"), ("on", "streets night"), ("count", "16")]
"""What the demo knows all figures of."""

SEARCH = {
    **{"a": "start", "b": "fog", "data": "streets rain", "split": "val", "buffers": "average", "part": "search"},
    **{"strategy": "grid", "select": "streets rain, val", "report": "streets rain, val", "settings": '{"step":0.5}'},
}
"""A search of three points on the two pictures that the operator names."""


MIDDLES = """nodes => nodes.map((node) => {
  const { x, y, width, height } = node.getBoundingClientRect();
  return [x + width / 2, y + height / 2];
})"""
"""Where points lie, all read at once: a chart that is drawn anew has others."""


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
    expect(tab.get_by_text("over the best expert alone")).to_have_text(re.compile(r"95 %: \+\d.* to \+\d"))
    tab.get_by_role("radio", name="Path").click()
    tab.get_by_text("alpha: weight of fog").wait_for()
    tab.get_by_role("radio", name="Networks").click()
    tab.locator(".js-plotly-plot").get_by_text("mean, pooled statistics").wait_for()
    tab.wait_for_url(re.compile("chart=networks"))
    table = tab.locator('[data-testid="stDataFrame"]:visible').first
    table.evaluate("element => element.scrollIntoView({block: 'center'})")
    table.locator("canvas").first.wait_for()
    place, before = table.bounding_box(), tab.url
    tab.mouse.click(place["x"] + beside_names(table), place["y"] + HEADER + 0.5 * ROW)
    explored_and_back(tab, before)
    tab.get_by_text("over the best expert alone").wait_for(timeout=60000)


def test_a_search_finds_its_best_and_a_point_opens_in_explore(tab, small: App) -> None:
    tab.goto(f"{small.address}compare?{urlencode([*SEARCH.items(), ('compare', 'start'), ('compare', 'fog')])}")
    tab.get_by_role("button", name="forward passes").click(timeout=60000)
    gain = tab.get_by_test_id("stMetric").filter(has_text="mIoU gain")
    gain.wait_for(timeout=60000)
    expect(gain).to_contain_text("+")
    expect(tab.get_by_text("start 0.5, fog 0.5")).to_be_visible()
    points = tab.locator(".js-plotly-plot .scatterlayer path.point")
    points.first.wait_for()
    points.first.scroll_into_view_if_needed()
    spots = still(tab, lambda: points.evaluate_all(MIDDLES))
    before = tab.url
    tab.mouse.click(*min(spots, key=lambda spot: spot[1]))  # the best
    explored_and_back(tab, before)
    gain.wait_for(timeout=60000)
