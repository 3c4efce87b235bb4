"""Presenting in a real Chromium, on an app whose worker raises: what is shown comes from prepared frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import numpy as np
import pytest
from app_server import ROOT, running_app
from PIL import Image

from fusionlib.options import Options
from fusionlib.runs.story import Step
from fusionlib.studio import Studio
from tests.waits import comes_to, expect

pytestmark = pytest.mark.browser

STOPPED = """
import fusionlib.engine.worker as worker
from fusionlib.errors import UsageError


def stopped(*_, **__):
    raise UsageError("The worker is stopped", "a worker", "Prepare the story")


worker.Worker.submit = worker.Worker.run = stopped
"""
"""Carried out by the app's Python before the app."""

LINK = "?a=night&b=fog&data=streets%20all&split=val&buffers=average&mix=alpha&alpha={}&picture={}&dtype=same"
STEPS = (
    Step(LINK.format(0.5, 24), "Half and half", "In rain, which neither has seen"),
    Step(LINK.format(0.3, 3), "More fog"),
    Step("compare?a=night&b=fog&data=streets%20all&split=val&buffers=average&compare=night&compare=fog", "The table"),
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, driver) -> Iterator[SimpleNamespace]:
    """An app with a prepared story whose worker raises, and the studio that prepared it."""
    folder = tmp_path_factory.mktemp("present")
    studio = Studio(Options(home=folder / "home", device="cpu"))
    for step in STEPS:
        studio.looked.story.add(step)
    studio.preparation.begin(STEPS)
    studio.preparation.wait(120)
    assert studio.preparation.state == "done" and not studio.preparation.problems
    (folder / "sitecustomize.py").write_text(STOPPED)
    environment = {"PYTHONPATH": f"{folder}:{ROOT}", "FUSION_TOUR": "1"}
    with running_app(folder, environment=environment) as app:
        yield SimpleNamespace(app=app, studio=studio)


def opened(browser, stage: SimpleNamespace, link: str = STEPS[0].link, **size: int):
    tab = browser.new_page(viewport={"width": 1280, "height": 720, **size})
    tab.problems = []
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))
    tab.goto(stage.app.address + link)
    shows(tab, *parse_of(link))
    return tab


def parse_of(link: str) -> tuple[float, int]:
    found = parse_qs(urlsplit(link).query)
    return float(found["alpha"][0]), int(found["picture"][0])


def shows(tab, alpha: float, picture: int) -> None:
    """All panes show this picture, the merge at this alpha, and nothing waits."""
    wanted = {pane: (f"{alpha:.3f}" if pane == "m" else pane, str(picture - 1), None) for pane in "amb"}
    comes_to(tab, lambda: {pane: shown_by(tab, pane) for pane in "amb"}, wanted, seconds=60)
    tab.get_by_test_id("banner").wait_for(state="hidden", timeout=20000)


def shown_by(tab, pane: str) -> tuple[str | None, ...]:
    """Mixture and picture of a pane, and whether it waits or has failed; nothing before it is there."""
    canvas, root = tab.get_by_test_id(f"canvas-{pane}"), tab.get_by_test_id(f"pane-{pane}")
    if not canvas.count():
        return ()
    read = [canvas.get_attribute(f"data-{name}") for name in ("alpha", "picture")]
    late = [root.get_attribute(f"data-{name}") for name in ("waits", "failed")]
    return (*read, next((one for one in late if one is not None), None))


FULL = "document.fullscreenElement === document.documentElement"


def on_stage(tab) -> bool:
    return tab.evaluate("document.documentElement.classList.contains('presenting')")


def counts(tab, said: str) -> None:
    """The line of the presenter says which step this is."""
    expect(tab.locator('[data-testid="present-count"]')).to_have_text(said)


def test_the_first_steps_lie_over_no_picture_move_nothing_and_stay_away_once_dismissed(browser, stage) -> None:
    tab = opened(browser, stage)
    card = tab.locator('[data-testid="tour"]')
    card.wait_for()
    before = tab.locator('[data-testid="viewport-m"]').bounding_box()
    sidebar = tab.locator('[data-testid="stSidebar"]').bounding_box()
    box = card.bounding_box()
    assert box["x"] + box["width"] <= sidebar["x"] + sidebar["width"] <= before["x"]
    for said in ("Look here", "Open that"):
        tab.get_by_test_id("tour-next").click()
        expect(card).to_contain_text(said)
    tab.get_by_test_id("tour-next").click()
    card.wait_for(state="detached")
    comes_to(tab, tab.locator('[data-testid="viewport-m"]').bounding_box, before)
    comes_to(tab, lambda: stage.studio.looked.flags.raised("tour"))
    tab.reload()
    shows(tab, 0.5, 24)
    expect(card).to_have_count(0)
    assert tab.problems == []


def test_the_story_is_played_by_a_clicker_while_the_worker_raises(browser, stage) -> None:
    tab = opened(browser, stage)
    tab.keyboard.press("f")
    tab.wait_for_function("document.documentElement.classList.contains('presenting')")
    tab.wait_for_function(FULL)
    counts(tab, "1 / 3")
    expect(tab.get_by_test_id("presenter")).to_contain_text("In rain")
    for hidden in ("stSidebar", "stHeader"):
        expect(tab.get_by_test_id(hidden)).to_be_hidden()
    seen = pixels(tab)
    tab.keyboard.press("PageDown")
    shows(tab, 0.3, 3)
    counts(tab, "2 / 3")
    comes_to(tab, lambda: pixels(tab), lambda now: now != seen)
    assert on_stage(tab)
    tab.keyboard.press(" ")
    tab.locator('[data-testid="stDataFrame"]:visible').first.wait_for(timeout=30000)
    counts(tab, "3 / 3")
    assert "/compare?" in tab.url and on_stage(tab)
    tab.keyboard.press("ArrowRight")
    counts(tab, "3 / 3")  # the last step is the last
    tab.keyboard.press("Home")
    shows(tab, 0.5, 24)
    counts(tab, "1 / 3")
    comes_to(tab, lambda: pixels(tab), seen)
    tab.keyboard.press("2")
    shows(tab, 0.3, 3)
    tab.keyboard.press("PageUp")
    shows(tab, 0.5, 24)
    tab.wait_for_function(FULL)  # over a change of page
    tab.keyboard.press("Escape")
    tab.wait_for_function("!document.documentElement.classList.contains('presenting')")
    expect(tab.get_by_test_id("stSidebar")).to_be_visible()
    assert tab.problems == []


def pixels(tab) -> str:
    """What the merge's canvas shows."""
    return tab.evaluate(
        """() => {
  for (const host of document.querySelectorAll("*")) {
    const canvas = host.shadowRoot?.querySelector('[data-testid="canvas-m"]');
    if (canvas) return canvas.toDataURL();
  }
}"""
    )


def test_the_screen_is_filled_with_type_of_24_pixels_and_f_ends_it_where_full_screen_is_refused(browser, stage) -> None:
    tab = opened(browser, stage)
    tab.evaluate("() => { document.documentElement.requestFullscreen = () => Promise.reject(new Error('refused')); }")
    tab.keyboard.press("f")
    height = 720 - 88
    comes_to(tab, tab.get_by_test_id("viewer").bounding_box, {"x": 0, "y": 0, "width": 1280, "height": height})
    for name in ("viewport-a", "viewport-m", "viewport-b", "viewport-t", "alpha-slider", "curve"):
        place = tab.get_by_test_id(name).bounding_box
        comes_to(tab, place, lambda inner: inner["y"] >= 0 and inner["y"] + inner["height"] <= height)
    comes_to(tab, lambda: tab.evaluate(SMALL), [])
    tab.keyboard.press("f")
    comes_to(tab, lambda: on_stage(tab), False)
    assert tab.problems == []


SMALL = """() => {
  const found = [];
  const look = (root) => {
    for (const node of root.querySelectorAll("*")) {
      if (node.shadowRoot) look(node.shadowRoot);
      const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
      const box = node.getBoundingClientRect();
      if (!own || !box.width || !node.checkVisibility({ visibilityProperty: true })) continue;
      const inside = node.getRootNode().host ? node.closest(".viewer") : node.closest(".presenter");
      const size = Number.parseFloat(getComputedStyle(node).fontSize) * (node.currentCSSZoom ?? 1);
      if (inside && size < 23.99) found.push(`${node.textContent.trim().slice(0, 30)}: ${size}`);
    }
  };
  look(document);
  return found;
}"""
"""Texts of the stage that are smaller than 24 pixels."""


def test_arrows_are_the_sliders_while_it_has_the_focus_and_an_unprepared_alpha_is_none_of_the_prepared(
    browser, stage
) -> None:
    tab = opened(browser, stage)
    tab.keyboard.press("f")
    tab.get_by_test_id("alpha-slider").focus()
    tab.keyboard.press("ArrowRight")
    expect(tab.get_by_test_id("banner")).to_contain_text("The worker is stopped")
    counts(tab, "1 / 3")
    expect(tab.get_by_test_id("alpha-slider")).to_have_attribute("data-alpha", "0.510")
    expect(tab.locator('[data-testid="pane-m"][data-failed]')).to_have_count(1)  # what is seen is said to be another
    tab.wait_for_url(re.compile("alpha=0.51"))
    tab.keyboard.press("1")
    shows(tab, 0.5, 24)
    tab.get_by_test_id("alpha-slider").focus()
    tab.keyboard.press("PageDown")
    shows(tab, 0.3, 3)
    assert tab.problems == []


def saved(tab, button: str) -> tuple[str, bytes]:
    """The name and the bytes of what a button of the Look panel saves."""
    if not tab.get_by_test_id(button).is_visible():
        tab.get_by_test_id("look-open").click()
    with tab.expect_download(timeout=30000) as waiting:
        tab.get_by_test_id(button).click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def blended(studio: Studio, alpha: float, pane: str) -> np.ndarray:
    """Picture and mask of a pane, as the default look has them: (H, W, 3) float."""
    found = studio.preparation.shown(STEPS[0])
    assert found is not None
    view = found.view
    picture = np.asarray(Image.open(BytesIO(view.picture(23))).convert("RGB"), float)
    labels = np.asarray(Image.open(BytesIO(view.frame(23, alpha, pane).png)))[..., 0]
    colours = np.asarray([view.space.palette[number] for number in range(view.space.count)], float)
    mask = colours[np.minimum(labels, view.space.count - 1)]
    return np.where((labels < view.space.count)[..., None], 0.35 * picture + 0.65 * mask, picture)


def test_pictures_are_taken_away_as_they_are_seen(browser, stage) -> None:
    tab = opened(browser, stage, width=1600, height=900)
    for button, pane in (("save-m", "m"), ("save-a", "a")):
        name, png = saved(tab, button)
        image = np.asarray(Image.open(BytesIO(png)).convert("RGB"), float)
        wanted = blended(stage.studio, 0.5, pane)
        assert image.shape == wanted.shape and np.abs(image - wanted).max() <= 2, pane
        assert re.fullmatch(r"[\w.+-]+\.png", name) and "picture24" in name
    name, film = saved(tab, "save-drag")
    opened_film = Image.open(BytesIO(film))
    assert name.endswith("drag-mask.webp") and opened_film.n_frames == 40  # type: ignore[attr-defined]
    for number, alpha in ((0, 0.0), (7, 0.35), (20, 1.0)):
        opened_film.seek(number)
        shown = np.asarray(opened_film.convert("RGB"), float)
        assert np.abs(shown - blended(stage.studio, alpha, "m")).max() <= 2, alpha
    name, chart = saved(tab, "save-curve-svg")
    root = ElementTree.fromstring(chart)
    assert name == "night+fog-curve-miou.svg" and b"alpha (weight of A)" in chart and b"class=" not in chart
    assert root.find(".//{*}path").get("stroke").startswith("rgb") and float(root.get("width")) > 200  # type: ignore[union-attr]
    name, png = saved(tab, "save-curve-png")
    image = Image.open(BytesIO(png))
    assert image.size == (2 * int(root.get("width", 0)), 2 * int(root.get("height", 0)))
    assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 10 and tab.problems == []


def test_back_undoes_a_lens_a_hidden_class_and_a_zoom_by_the_wheel(browser, stage) -> None:
    tab = opened(browser, stage)
    tab.keyboard.press("3")
    tab.wait_for_url(re.compile("lens-confidence"))
    row = tab.locator(".legend-row[aria-pressed]").first
    row.click()
    tab.wait_for_url(re.compile("hidden-0"))
    tab.get_by_test_id("viewport-m").hover()
    tab.mouse.wheel(0, -600)
    tab.wait_for_url(re.compile(r"zoom-(?!1_)"))
    tab.wait_for_timeout(600)
    tab.go_back()
    tab.wait_for_url(re.compile(r"hidden-0~.*zoom-1_"))
    tab.get_by_text("1.0×").wait_for(timeout=20000)
    expect(row).to_have_attribute("aria-pressed", "false")
    tab.go_back()
    tab.wait_for_url(re.compile(r"lens-confidence~.*hidden-~"))
    tab.locator('.legend-row[aria-pressed="false"]').first.wait_for(state="detached")
    expect(row).to_have_attribute("aria-pressed", "true")
    expect(tab.get_by_test_id("lens")).to_have_value("confidence")
    tab.go_back()
    tab.wait_for_url(lambda url: "lens-confidence" not in url)
    tab.get_by_test_id("lens-key").wait_for(state="hidden")
    expect(tab.get_by_test_id("lens")).to_have_value("mask")
    assert tab.problems == []
