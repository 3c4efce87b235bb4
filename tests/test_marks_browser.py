"""Marked regions in a real Chromium: drag one, write a note, find it again after a reload, delete it and undo that."""

from __future__ import annotations

import re
from fnmatch import fnmatch

import pytest
from app_server import App

from tests.waits import comes_to, expect

pytestmark = pytest.mark.browser

VIEW = "?a=night&b=fog&mix=alpha&alpha=0.5&picture=2&data=streets%20clear"
ZOOM = "**zoom-1.5_0.166667_0.166667**"
NOTE = "<b>the pole</b> is lost"
BRIGHT = """async canvas => {
  await new Promise(requestAnimationFrame);
  const { width, height } = canvas, { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  let found = 0;
  for (let i = 0; i < data.length; i += 4) found += data[i] === 255 && data[i + 1] === 214 && data[i + 2] === 10;
  return found;
}"""


@pytest.fixture
def tab(browser, small: App):
    tab, problems = browser.new_page(viewport={"width": 1440, "height": 900}), []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.goto(small.address + VIEW)
    ready(tab)
    yield tab
    assert problems == []
    tab.close()


def ready(tab) -> None:
    tab.get_by_test_id("canvas-m").and_(tab.locator("[data-alpha]")).wait_for(timeout=60000)


def drag(tab, pane: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    box = tab.get_by_test_id(f"viewport-{pane}").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    tab.mouse.move(*at[0])
    tab.mouse.down()
    tab.mouse.move((at[0][0] + at[1][0]) / 2, (at[0][1] + at[1][1]) / 2)
    tab.mouse.move(*at[1])
    tab.mouse.up()


def click(tab, pane: str, x: float, y: float) -> None:
    box = tab.get_by_test_id(f"viewport-{pane}").bounding_box()
    tab.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def layout(tab) -> list[dict]:
    """Where things lie that a hint, a card or a line would push away."""
    return [tab.get_by_test_id(name).bounding_box() for name in ("viewport-a", "viewport-m", "alpha-input")]


def drawn(tab, pane: str) -> int:
    return tab.get_by_test_id(f"canvas-{pane}").evaluate(BRIGHT)


def becomes(tab, count: str) -> None:
    tab.get_by_test_id("marks-count").and_(tab.get_by_text(count, exact=True)).wait_for(state="attached", timeout=20000)


def test_a_dragged_region_with_a_note_is_there_after_a_reload_and_after_an_undo(tab) -> None:
    becomes(tab, "none in this picture")
    tab.get_by_test_id("zoom-in").click()
    tab.wait_for_url(ZOOM, timeout=20000)
    tab.get_by_test_id("viewport-m").focus()
    before = layout(tab)
    comes_to(tab, lambda: (drawn(tab, "a"), drawn(tab, "m")), (0, 0))
    tab.keyboard.press("n")
    tab.get_by_test_id("mark-line").wait_for()
    drag(tab, "m", (0.25, 0.25), (0.5, 0.75))
    comes_to(tab, lambda: layout(tab), before)
    tab.get_by_test_id("mark-note").fill(NOTE)
    tab.keyboard.press("Enter")
    becomes(tab, "1 mark")
    expect(tab.get_by_test_id("mark-card")).to_be_hidden()
    comes_to(tab, lambda: layout(tab), before)
    comes_to(tab, lambda: min(drawn(tab, "a"), drawn(tab, "m")), lambda least: least > 100)  # over all panes
    tab.get_by_test_id("masks").evaluate("one => one.click()")  # the look is said anew
    tab.wait_for_url("**masks-0**", timeout=20000)
    assert fnmatch(tab.url, ZOOM), "a drag that marks does not move the picture"
    tab.reload()
    ready(tab)
    becomes(tab, "1 mark")
    comes_to(tab, lambda: drawn(tab, "a"), lambda count: count > 100)
    click(tab, "a", 0.3, 0.5)
    expect(tab.get_by_test_id("mark-note")).to_have_value(NOTE)
    expect(tab.get_by_test_id("mark-link")).to_have_attribute("href", re.compile(r"^\./\?"))
    tab.get_by_test_id("mark-delete").click()
    becomes(tab, "none in this picture")
    comes_to(tab, lambda: drawn(tab, "a"), 0)
    tab.get_by_test_id("mark-undo").click()
    becomes(tab, "1 mark")
    comes_to(tab, lambda: (drawn(tab, "a") > 100, layout(tab)), (True, before))
    click(tab, "m", 0.3, 0.5)
    tab.get_by_test_id("mark-note").fill("another note")
    tab.get_by_test_id("mark-save").click()
    tab.get_by_test_id("mark-card").wait_for(state="hidden")
    tab.get_by_test_id("look-open").click()
    expect(tab.get_by_test_id("mark-1")).to_have_text("1 another note")
    tab.get_by_test_id("marks-shown").click()
    comes_to(tab, lambda: drawn(tab, "a"), 0)
    tab.wait_for_url("**marks-0**", timeout=20000)
    tab.get_by_test_id("next").click()
    becomes(tab, "none in this picture")


def test_from_the_keyboard_and_given_up(tab) -> None:
    tab.get_by_test_id("jump").fill("3")
    tab.get_by_test_id("jump").press("Enter")
    becomes(tab, "none in this picture")
    tab.get_by_test_id("viewport-a").focus()
    for keys in ("n", "Enter", *["ArrowRight"] * 9, *["ArrowDown"] * 9, "Shift+Enter"):
        tab.keyboard.press(keys)
    tab.get_by_test_id("mark-note").wait_for()
    comes_to(tab, lambda: drawn(tab, "b"), lambda count: count > 50)  # the draft is seen while the note is written
    tab.keyboard.press("Escape")
    tab.get_by_test_id("mark-card").wait_for(state="hidden")
    comes_to(tab, lambda: drawn(tab, "b"), 0)
    for keys in ("n", "Enter", *["ArrowRight"] * 9, *["ArrowDown"] * 9, "Shift+Enter"):
        tab.keyboard.press(keys)
    tab.keyboard.type("round")
    tab.keyboard.press("Enter")
    becomes(tab, "1 mark")
    expect(tab.locator(".viewport:focus")).to_have_count(1)  # the focus is back on the picture
    tab.get_by_test_id("look-open").click()
    tab.get_by_test_id("mark-1").focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_test_id("mark-note")).to_have_value("round")
