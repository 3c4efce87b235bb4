"""A registered method in the place of alpha, in a real Chromium: it moves the picture, and says what it needs first."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.waits import comes_to, expect

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(browser, address: str) -> Iterator:
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    tab.messages, tab.problems = [], []
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))
    tab.on("websocket", lambda socket: socket.on("framereceived", lambda _: tab.messages.append(time.monotonic())))
    tab.goto(f"{address}?mix=slerp")
    tab.wait_for_selector('[data-testid="canvas-m"][data-alpha]', timeout=60000)
    tab.wait_for_timeout(1500)
    yield tab
    assert tab.problems == []


def merge(page) -> str:
    """The merge that the pane shows, by what was asked for."""
    return page.get_by_test_id("canvas-m").get_attribute("data-alpha") or ""


def test_a_parameter_moves_the_picture_without_a_run_of_the_script(page) -> None:
    slider = page.get_by_test_id("parameter-alpha").bounding_box()
    pixels = "canvas => canvas.toDataURL()"
    mask = page.get_by_test_id("canvas-m").evaluate(pixels)
    page.mouse.move(slider["x"] + slider["width"] / 2, slider["y"] + slider["height"] / 2)
    page.mouse.down()
    began = len(page.messages)
    for step in range(1, 21):
        page.mouse.move(slider["x"] + slider["width"] * (0.5 + 0.01 * step), slider["y"] + slider["height"] / 2)
        page.wait_for_timeout(30)
    comes_to(page, lambda: merge(page), lambda said: '"alpha":0.7' in said and '"method":"slerp"' in said)
    comes_to(page, lambda: page.get_by_test_id("canvas-m").evaluate(pixels), lambda now: now != mask)
    assert len(page.messages) == began, "no message while it is dragged"
    page.mouse.up()
    page.wait_for_function("() => new URLSearchParams(location.search).get('parameters')?.includes('0.7')")


def test_a_link_opens_on_the_parameters_that_it_says(browser, address: str) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    tab.goto(f'{address}?mix=slerp&parameters={{"alpha":0.25}}')
    tab.wait_for_selector('[data-testid="canvas-m"][data-alpha]', timeout=60000)
    comes_to(tab, lambda: merge(tab), lambda said: '"alpha":0.25' in said)
    tab.close()


def test_what_looks_at_pictures_first_says_so_and_shows_no_result(page) -> None:
    page.get_by_role("combobox", name="Mixture").fill("Fisher")
    page.get_by_role("option", name="Fisher", exact=False).first.click()
    page.get_by_role("button", name="Measure this merge", exact=False).wait_for(timeout=30000)
    slerp = page.locator('[data-testid="canvas-m"][data-alpha]')  # of the viewer before, which goes a moment later
    slerp.wait_for(state="detached", timeout=30000)
    page.get_by_test_id("viewer").nth(1).wait_for(state="detached")
    expect(page.locator('[data-testid="pane-m"][data-unready]')).to_have_count(1)
    expect(page.get_by_test_id("method-note")).to_contain_text("Measure it below first")
    expect(page.get_by_test_id("pane-m")).to_be_visible()
    expect(page.get_by_test_id("canvas-a")).to_have_attribute("data-alpha", "a")
    assert merge(page) == ""
