"""Every text of every page, in light and in dark, stands out from what lies behind it: a contrast of 4.5 or more."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
LEAST = 4.5
AUDIT = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")
PAGES = {
    "": '[data-testid="canvas-m"][data-alpha]',
    "layers": '[data-testid="canvas-m"][data-alpha]',
    "errors?show=confusion&pixels=truths%3D0%3Bmerges%3D1": '[data-testid="gallery"]',
    "compare": '[data-testid="stDataFrame"]',
    "diagnostics": ".js-plotly-plot .main-svg",
    "calibration": ".js-plotly-plot .main-svg",
    "workspace": '[data-testid="stDataFrame"]',
    "guide?chapter=networks": ".st-key-guide table",
    "guide?chapter=start": ".st-key-guide pre",
    "?data=nowhere": '[data-testid="stAlert"]',
}
BANNER = """() => { for (const one of document.querySelectorAll("*")) {
  const banner = one.shadowRoot?.querySelector(".banner");
  if (banner) { banner.hidden = false; banner.querySelector("p").textContent = "Got this. Needs that."; }
} }"""
"""Shows what stands over the pictures when a frame cannot be had."""


OPEN_ALL = """() => {
  const closed = [...document.querySelectorAll("details:not([open]) > summary")];
  for (const one of closed) one.click();
  return closed.length === 0 && document.getAnimations().every((one) => one.playState !== "running");
}"""
"""Unfolds what is folded; a rerun may fold a part again, so that it is asked until all is open and still."""
STILL = "() => document.getAnimations().every((one) => one.playState !== 'running')"


def test_text_stands_out_from_what_lies_behind_it(browser, measured: str) -> None:
    weak: dict[tuple[str, ...], str] = {}
    tab = browser.new_page(viewport={"width": 1440, "height": 1000}, color_scheme="light")
    schemes = ["light", "dark"]
    for page, ready in PAGES.items():
        tab.goto(measured + page)
        tab.locator(f"{ready}:visible").first.wait_for(timeout=60000)
        tab.locator('[data-testid="stStatusWidget"]').wait_for(state="hidden", timeout=60000)
        tab.wait_for_function(OPEN_ALL, polling=400)
        if page in ("", "layers"):
            tab.evaluate(BANNER)
            tab.get_by_test_id("help").click()
        if page == "compare":
            tab.get_by_test_id("stSelectbox").first.click()  # the list of choices stays open
        grounds = set()
        for scheme in schemes:
            tab.emulate_media(color_scheme=scheme)
            grounds.add(repainted(tab, grounds))
            tab.wait_for_function(STILL)
            found = tab.evaluate(AUDIT, LEAST)
            assert found["seen"] > 40, page
            for *what, text in found["found"]:
                weak.setdefault((scheme, *what), f"{scheme}: {'  '.join(what)}  {text!r} on {page or 'merge'}")
        schemes.reverse()  # the next page opens in the scheme of this one: a change of it draws all anew
    tab.close()
    assert not weak, "\n" + "\n".join(weak.values())


def repainted(tab, grounds: set[str]) -> str:
    """The colour of the page once it is none of these."""
    ground = "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
    tab.wait_for_function(f"seen => !seen.includes({ground})", arg=list(grounds))
    return tab.evaluate(ground)
