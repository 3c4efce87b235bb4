"""The page of errors in a real Chromium: from a number to its pixels, and the copied link in another context."""

from __future__ import annotations

import re

import numpy as np
import pytest
from app_server import SMALL, App

from fusionlib.options import Options
from fusionlib.studio import Selection, Studio
from tests.waits import comes_to, expect

pytestmark = pytest.mark.browser

VIEW = "errors?a=night&b=fog&mix=alpha&alpha=0.5&show=confusion&picture=2"
WHITE = """async canvas => {
  await new Promise(requestAnimationFrame);
  const { width, height } = canvas, { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  let found = 0;
  for (let i = 0; i < data.length; i += 4) found += data[i] === 255 && data[i + 1] === 255 && data[i + 2] === 255;
  return found;
}"""


def white(tab) -> int:
    """White pixels of the merge's pane: the outline's, as nothing else draws them."""
    return tab.get_by_test_id("canvas-m").evaluate(WHITE)


def outline_of(tab) -> int:
    """Its pixels, once it is said to be there."""
    tab.get_by_test_id("overlay-note").filter(has_text=re.compile("outlined|no such pixel")).wait_for(timeout=30000)
    return white(tab)


def counts_of(tab) -> list[int]:
    texts = tab.locator(".gallery-text").all_inner_texts()
    return [int(re.sub(r"\D", "", text.split(" ")[0])) for text in texts]


def settled_counts(tab) -> list[int]:
    """Those of the gallery once it is that of the address, which is written first: largest first, and staying so."""
    before: list[int] = []
    for _ in range(30):
        tab.wait_for_timeout(300)
        counts = counts_of(tab)
        if counts and counts == before == sorted(counts, reverse=True):
            return counts
        before = counts
    raise AssertionError(f"the gallery holds {before}")


def test_from_a_cell_to_its_pixels_and_the_link_shows_the_same(browser, small: App) -> None:
    tab, problems = browser.new_page(viewport={"width": 1440, "height": 1000}), []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.goto(f"{small.address}{VIEW}&data=streets+clear")
    tab.get_by_role("button", name=re.compile("^Look into it: 9 forward passes")).click(timeout=60000)
    tab.locator(".scatterlayer path.point").first.wait_for(state="attached", timeout=60000)
    expect(tab.get_by_test_id("overlay-note")).to_have_text("")
    tab.get_by_test_id("canvas-m").and_(tab.locator("[data-alpha]")).wait_for()
    comes_to(tab, lambda: white(tab), 0)
    _click_cell(tab)
    tab.wait_for_url(re.compile(r"pixels=truths%3D\d+%3Bmerges%3D\d+"), timeout=30000)
    counts = settled_counts(tab)
    comes_to(tab, lambda: outline_of(tab), lambda count: count > 0)  # a picture that has such pixels is opened
    tab.locator(".gallery-item").first.focus()
    tab.keyboard.press("Enter")
    tab.locator('.gallery-item[aria-current="true"]').wait_for(timeout=30000)
    outlined = comes_to(tab, lambda: outline_of(tab), lambda count: count > 0)
    words = tab.get_by_test_id("overlay-note").inner_text()
    _same_elsewhere(browser, tab.url, words, counts, outlined)
    tab.locator(".st-key-errors-clear button").first.click()
    tab.wait_for_url(re.compile(r"^((?!pixels=).)*$"), timeout=30000)
    tab.get_by_test_id("overlay-note").filter(has_text=re.compile(r"^$")).wait_for(state="attached", timeout=30000)
    comes_to(tab, lambda: white(tab), 0)
    _presented(tab)
    assert problems == []
    tab.close()


def test_the_read_out_is_the_stored_label(browser, small: App) -> None:
    studio = Studio(Options(home=small.home, device="cpu", data=SMALL))
    view = studio.view(Selection("night", "fog", "streets clear", "val"))
    assert len(view.need_pictures()) == 3, "the data of the app"
    analysis = studio.errors.of_view(view, 0.5)
    analysis.measure()  # known from the test before, where that ran
    names, labels = view.space.names, analysis.maps(1).merge
    tab = browser.new_page(viewport={"width": 1440, "height": 1000})
    tab.goto(f"{small.address}{VIEW}&data=streets+clear")
    tab.get_by_test_id("canvas-m").and_(tab.locator('[data-alpha="0.500"]')).wait_for(timeout=60000)
    box, (height, width) = tab.get_by_test_id("viewport-m").bounding_box(), labels.shape
    even = [(x, y) for y in range(20, height, 23) for x in range(20, width, 31) if _even(labels, x, y)]
    said = tab.get_by_test_id("readout-m").locator(".read-class")
    assert len({labels[y, x] for x, y in even}) >= 3, "several classes are read out"
    for x, y in even[:: max(1, len(even) // 12)]:
        tab.mouse.move(box["x"] + (x + 0.5) / width * box["width"], box["y"] + (y + 0.5) / height * box["height"])
        said.filter(has_text=re.compile(f"^{re.escape(names[labels[y, x]])}$")).wait_for(timeout=20000)
    tab.close()


def _even(labels: np.ndarray, x: int, y: int) -> bool:
    """Whether the pixels around have one label: a pane is smaller than its map, and places are rounded."""
    around = labels[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5]
    return bool((around == labels[y, x]).all()) and labels[y, x] < 19


def _presented(tab) -> None:
    """The sentence and the bar stay in sight, above the slider, and nothing else of the page does."""
    tab.get_by_test_id("canvas-m").click()
    tab.keyboard.press("f")
    tab.locator(".viewer.presenting").wait_for()
    head, viewer = tab.locator(".st-key-errors-head"), tab.locator(".viewer.presenting")
    expect(head).to_contain_text("of the labelled pixels")
    expect(head.locator(".js-plotly-plot").first).to_be_visible()
    expect(tab.locator(".gallery-item").first).to_be_hidden()
    comes_to(tab, lambda: (head.bounding_box(), viewer.bounding_box()), stacked)


def stacked(places: tuple[dict, dict]) -> bool:
    """Whether the first begins at the top and the second below it."""
    above, below = places
    return above["y"] == 0 and above["y"] + above["height"] <= below["y"] + 1


def _click_cell(tab) -> None:
    """The cell with most pixels of those that lie within the window."""
    tab.locator(".js-plotly-plot .scatterlayer").scroll_into_view_if_needed()
    tab.wait_for_timeout(300)
    place = tab.locator(".scatterlayer path.point").nth(2).bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    tab.mouse.move(x, y)
    tab.wait_for_timeout(200)
    tab.mouse.click(x, y)


def _same_elsewhere(browser, link: str, words: str, counts: list[int], outlined: int) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    tab = context.new_page()
    tab.goto(link)
    tab.get_by_test_id("overlay-note").filter(has_text=words).wait_for(timeout=60000)
    comes_to(tab, lambda: (outline_of(tab), counts_of(tab)), (outlined, counts))
    context.close()
