"""A row of the Compare page in a real Chromium, and a cell of a map: both open the same merge in Explore."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from pages.widgets.diagnostics_tables import name_width
from tests.measured_app import PAIR
from tests.waits import expect

pytestmark = pytest.mark.browser

PRESENTED = """[...document.querySelectorAll(".js-plotly-plot")].find(one => one.offsetParent)
  .querySelector(".main-svg").getBoundingClientRect().height"""

HEADER, ROW = 36, 35
"""How high the lines of the table are, in pixels."""


def beside_names(table) -> int:
    """Where the column of buttons lies: the grid is a canvas, and says its texts to screen readers."""
    names = table.locator('td[aria-colindex="1"]')
    names.first.wait_for(state="attached")
    return name_width(names.all_text_contents()) + 62


def test_a_click_in_the_table_opens_the_merge_in_explore(browser, measured: str) -> None:
    from playwright.sync_api import TimeoutError as TooLate

    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(f"{measured}compare?a={PAIR[1]}&b={PAIR[0]}")
    table = tab.locator('[data-testid="stDataFrame"]:visible').first
    table.wait_for(timeout=60000)
    tab.get_by_text("Gain over the best single network").wait_for(timeout=60000)
    tab.wait_for_url(re.compile(r"compare\?.*rows="))
    tab.evaluate("document.querySelector('[data-testid=stDataFrame]').scrollIntoView({block: 'center'})")
    place, before = table.bounding_box(), tab.url
    expect(tab.get_by_role("combobox", name="Checkpoint A")).to_have_count(0)
    for _ in range(20):  # the canvas of the table hears of clicks only once it is drawn
        tab.mouse.click(
            place["x"] + beside_names(table), place["y"] + HEADER + 6.5 * ROW
        )  # after four that are measured: a merge
        with suppress(TooLate):
            tab.wait_for_url(lambda url: "/compare" not in url, timeout=3000)
            break
    tab.wait_for_selector('[data-testid="canvas-m"]', timeout=60000)
    tab.wait_for_url(re.compile(r"/\?.*mix="))
    assert "/compare" not in tab.url
    expect(tab.get_by_role("combobox", name="Checkpoint A")).to_have_count(1)
    tab.go_back()
    tab.wait_for_url(before)
    tab.close()


def test_a_click_on_a_map_opens_its_merge(browser, measured: str) -> None:
    span = quote(json.dumps({"from": 0.25, "to": 0.75, "step": 0.5, "second": {"from": 0.9, "to": 1.0, "step": 0.1}}))
    pair = f"a={PAIR[0]}&b={PAIR[1]}&compare={PAIR[0]}&compare={PAIR[1]}"
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(f"{measured}compare?part=vary&{pair}&method=slerp&second=threshold&vary={span}")
    tab.get_by_role("button", name="4 points of alpha and threshold (2 x 2)").click(timeout=60000)
    tab.get_by_text("Star: the best").wait_for(timeout=60000)
    drawn = tab.locator(".js-plotly-plot:visible .main-svg").first
    height = drawn.bounding_box()["height"]
    tab.keyboard.press("f")
    tab.wait_for_function(f"() => innerHeight && {PRESENTED} > {1.5 * height}")
    tab.wait_for_timeout(600)  # a chart that measures itself zoomed grows once more, out of its frame
    grown = tab.evaluate(f"() => {PRESENTED}")
    assert grown < 1.8 * height, "no more than the screen's zoom: its axes are seen"
    tab.keyboard.press("f")
    tab.wait_for_function(f"() => {PRESENTED} < {1.1 * height}")
    plot = tab.locator(".js-plotly-plot:visible .nsewdrag").first
    plot.scroll_into_view_if_needed()
    place = plot.bounding_box()
    tab.mouse.click(place["x"] + 0.9 * place["width"], place["y"] + 0.6 * place["height"])  # the cell below, right
    tab.wait_for_url(re.compile(r"mix=slerp"), timeout=60000)
    opened = json.loads(parse_qs(urlsplit(tab.url).query)["parameters"][0])
    assert (opened["alpha"], opened["threshold"]) == (0.75, 0.9)
    tab.close()
