"""Diagnostics in a real Chromium: the set and the pair are in the URL, and one click is one step of Back."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.waits import comes_to, expect

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(browser) -> Iterator:
    """A page of the app that collects what goes wrong."""
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    assert problems == []
    expect(page.locator('[data-testid="stException"]')).to_have_count(0)
    page.close()


def open_diagnostics(tab, address: str, query: str = "") -> None:
    tab.goto(f"{address}diagnostics{query}")
    tab.locator(".st-key-diagnostics-pairs .scatterlayer path.point").first.wait_for(timeout=60000)


def unfold(tab, label: str) -> None:
    tab.locator("summary").filter(has_text=label).click(timeout=60000)


def words(tab) -> int:
    """Words that are seen: what is folded does not count."""
    tab.locator('[data-testid="stStatusWidget"]').wait_for(state="hidden", timeout=60000)
    tab.wait_for_timeout(1500)
    return len(tab.get_by_test_id("stMain").inner_text().split())


@pytest.mark.parametrize("state", ["address", "measured"])
def test_both_tabs_say_their_answer_in_under_two_hundred_words(tab, state: str, request) -> None:
    """With nothing measured of the demo's ten checkpoints, and with all measured of a pair."""
    at = request.getfixturevalue(state)
    open_diagnostics(tab, at)
    comes_to(tab, lambda: words(tab), lambda count: 30 < count < 200)
    expect(tab.locator("details[open]:visible")).to_have_count(0)
    tab.locator(".st-key-tab button").filter(has_text="Calibration").click()
    tab.get_by_role("heading", name="How far can its confidence be trusted?").wait_for()
    if state == "measured":
        tab.locator(".st-key-calibration-reliability .main-svg").first.wait_for(timeout=60000)
    comes_to(tab, lambda: words(tab), lambda count: 30 < count < 200)
    expect(tab.locator("details[open]:visible")).to_have_count(0)


def test_the_tab_is_in_the_address_and_earlier_links_open_theirs(tab, address: str) -> None:
    tab.goto(f"{address}calibration?bins=20")
    question = tab.get_by_role("heading", name="How far can its confidence be trusted?")
    question.wait_for(timeout=60000)
    tab.wait_for_function("() => location.search.includes('tab=calibration') && location.search.includes('bins=20')")
    tab.locator(".st-key-tab button").filter(has_text="Will it work?").click()
    tab.wait_for_function("() => location.search.includes('tab=verdict')")
    tab.locator(".st-key-diagnostics-pairs .scatterlayer path.point").first.wait_for(timeout=60000)
    tab.go_back()
    question.wait_for(timeout=30000)
    tab.wait_for_url(re.compile("tab=calibration"))
    tab.wait_for_url(re.compile("bins=20"))


def test_a_link_restores_set_and_pair_and_a_reload_keeps_them(tab, address: str) -> None:
    open_diagnostics(tab, address, "?set=cycle-1&set=night&set=start&set=nonsense&pair=cycle-1+%2B+night")
    expect(tab.get_by_test_id("stMultiSelect").get_by_text("night")).to_have_count(1)
    unfold(tab, "Along the path")
    tab.get_by_role("heading", name="From night to cycle-1").wait_for()
    tab.reload()
    unfold(tab, "Along the path")
    tab.get_by_role("heading", name="From night to cycle-1").wait_for(timeout=30000)
    comes_to(tab, lambda: ("nonsense" in tab.url, tab.url.count("set=")), (False, 3))


def test_a_click_on_a_pair_is_one_step_of_back(tab, address: str) -> None:
    open_diagnostics(tab, address, "?set=cycle-1&set=night&set=start")
    before, length = tab.url, tab.evaluate("history.length")
    tab.locator(".st-key-diagnostics-pairs .scatterlayer path.point").nth(1).click(force=True)
    tab.wait_for_selector('[data-testid="canvas-m"][data-alpha]', timeout=60000)
    comes_to(tab, lambda: tab.evaluate("history.length"), lambda now: now > length)
    tab.wait_for_timeout(1500)
    steps = tab.evaluate("history.length")
    assert steps == length + 1, "and not a second a moment later"
    tab.go_back()
    tab.locator(".st-key-diagnostics-pairs").wait_for(timeout=30000)
    tab.wait_for_url(before)
