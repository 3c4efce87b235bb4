"""A report in a real Chromium, from disk: no request, an empty console, a curve, wipes by mouse and by key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusionlib.report.gather import gather
from fusionlib.report.write import write_html
from tests.helpers import tiny_world
from tests.waits import comes_to, expect

pytestmark = pytest.mark.browser
NAME = "<img src=http://127.0.0.1:9/x onerror=window.hit=1>"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a merge with a hostile name."""
    folder = tmp_path_factory.mktemp("report")
    with tiny_world(folder, count=4) as world:
        work = world.studio.reports.of_view(world.view(), 0.5, NAME)
        work.measure()
        write_html(gather(work, NAME, NAME), folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module", params=["light", "dark"])
def opened(request: pytest.FixtureRequest, browser, report: Path) -> Iterator[tuple]:
    """The page, what it asked for and what its console said; every request but for the file itself is refused."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme=request.param)
    asked, said = [], []
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda one: asked.append(one.url))
    context.route("**/*", lambda route: route.continue_() if route.request.url == report.as_uri() else route.abort())
    page.goto(report.as_uri())
    page.wait_for_selector("#curve-chart .main-svg")
    yield page, asked, said
    context.close()


def test_it_asks_for_nothing_and_says_nothing(opened, report: Path) -> None:
    page, asked, said = opened
    page.wait_for_function("[...document.images].every((one) => one.complete && one.naturalWidth)")
    page.hover("#curve-chart .nsewdrag >> nth=0")
    page.wait_for_timeout(200)
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [report.as_uri()]
    hit = page.evaluate("window.hit")
    assert said == [] and hit is None
    expect(page.locator("h1")).to_have_text(NAME)
    # Nothing to scroll sideways.
    comes_to(page, lambda: page.evaluate("document.documentElement.scrollWidth"), 1280)


def test_the_curve_is_drawn_in_the_ink_of_the_theme(opened) -> None:
    page, _, _ = opened
    comes_to(page, page.locator("#curve-chart .scatterlayer .js-line").count, lambda lines: lines >= 2)
    comes_to(page, page.locator("#class-chart .barlayer .point").count, lambda bars: bars >= 1)
    ink = page.evaluate("getComputedStyle(document.body).color")
    drawn = page.evaluate("getComputedStyle(document.querySelector('#curve-chart .xtick text')).fill")
    assert drawn == ink


def test_a_picture_of_a_chart_can_be_taken(opened) -> None:
    page, _, said = opened
    made = page.evaluate(
        "Plotly.toImage('curve-chart', {format: 'png', width: 300, height: 200}).then((one) => one.slice(0, 22))"
    )
    assert made == "data:image/png;base64," and said == []


def test_the_wipe_moves_by_mouse_and_by_key_and_shows_what_is_chosen(opened) -> None:
    page, _, said = opened
    wipe = page.locator(".wipe").first
    wipe.scroll_into_view_if_needed()
    box = wipe.bounding_box()
    expect(wipe).to_have_attribute("aria-valuenow", "50")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    comes_to(page, lambda: abs(int(wipe.get_attribute("aria-valuenow")) - 25), lambda off: off <= 1)
    edge = wipe.locator(".edge").bounding_box()
    assert abs(edge["x"] + edge["width"] / 2 - box["x"] - box["width"] * 0.25) < 3
    wipe.focus()
    for key, value in (
        ("Home", "0"),
        ("ArrowRight", "2"),
        ("Shift+ArrowRight", "12"),
        ("End", "100"),
        ("ArrowLeft", "98"),
    ):
        page.keyboard.press(key)
        expect(wipe).to_have_attribute("aria-valuenow", value)
    card = page.locator(".card").first
    card.locator("select").first.select_option("truth")
    truth = card.locator("[data-layer=truth]").get_attribute("src")
    expect(card.locator(".wipe .over")).to_have_attribute("src", truth)
    assert said == []


def test_the_recipe_can_be_taken_away(opened) -> None:
    page, asked, said = opened
    with page.expect_download() as waiting:
        page.get_by_text("Download recipe.json").click()
    assert waiting.value.suggested_filename == "recipe.json"
    assert '"alpha": 0.5' in Path(waiting.value.path()).read_text()
    assert said == [] and not any(url.startswith("http") for url in asked)


def test_without_scripts_the_pictures_are_there(browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    comes_to(page, page.locator(".layers img").count, lambda pictures: pictures >= 5)
    expect(page.locator(".verdict")).not_to_be_empty()
    context.close()
