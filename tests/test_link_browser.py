"""A view is its link, in a real Chromium: Back and Forward show what was there, and a second browser shows the same."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.waits import comes_to, expect

pytestmark = pytest.mark.browser

CHANGES = (
    ("Checkpoint B", "b", "rain"),
    ("Checkpoint A", "a", "start"),
    ("Data", "data", "streets night"),
    ("Buffer policy", "buffers", "gaussian"),
    ("Mixture", "mix", "SLERP"),
)


def shown(tab) -> dict[str, str]:
    """The names that the selectors of the page have; what a list says of each checkpoint follows its name."""
    return {label: tab.get_by_role("combobox", name=label).input_value().split(" · ")[0] for label, _, _ in CHANGES}


def stands(tab, url: str) -> None:
    """The address is this one, and the page has followed it."""
    tab.wait_for_url(url)
    wanted = parse_qs(urlsplit(url).query)
    for label, name, _ in CHANGES:
        value = {"alpha": "Weighted average (alpha)", "slerp": "SLERP"}.get(wanted[name][0], wanted[name][0])
        tab.wait_for_function(
            "([label, value]) => [...document.querySelectorAll('input[role=combobox]')]"
            ".some((one) => (one.getAttribute('aria-label') ?? '').includes(label)"
            " && one.value.split(' · ')[0] === value)",
            arg=[label, value],
        )


def choose(tab, label: str, name: str, value: str) -> str:
    """Change one selector; the address that the page then has."""
    tab.get_by_role("combobox", name=label).click()
    tab.get_by_role("option", name=re.compile(rf"^{re.escape(value)}( · .*)?$")).click()
    wanted = {"SLERP": "slerp"}.get(value, value)
    tab.wait_for_function(
        "([name, value]) => new URLSearchParams(location.search).get(name) === value", arg=[name, wanted]
    )
    tab.wait_for_timeout(500)
    return tab.url


def test_five_changes_five_backs_five_forwards_and_a_second_browser(browser, address: str) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.goto(address)
    tab.wait_for_selector('[data-testid="canvas-m"][data-alpha]', timeout=60000)
    tab.wait_for_function("() => location.search.includes('picture=')")
    seen = [tab.url, *(choose(tab, *change) for change in CHANGES)]
    assert len(set(seen)) == 6
    for url in seen[-2::-1]:
        tab.go_back()
        stands(tab, url)
    for url in seen[1:]:
        tab.go_forward()
        stands(tab, url)
    other = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    other.goto(seen[3])
    stands(other, seen[3])
    comes_to(other, lambda: shown(other)["Data"], "streets night")
    assert problems == []


def test_a_choice_stays_when_its_score_becomes_known(browser, address: str) -> None:
    """A browser knows an option by its text, which has changed by then."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(f"{address}?a=start&b=fog&data=streets+all&split=val&alpha=1")
    tab.wait_for_selector('[data-testid="canvas-m"][data-alpha]', timeout=60000)
    tab.wait_for_function("() => location.search.includes('picture=')")
    choose(tab, "Checkpoint A", "a", "seed-12")
    tab.get_by_test_id("measure").click()
    box = tab.get_by_role("combobox", name="Checkpoint A")
    expect(box).to_have_value(re.compile(r"^seed-12 · \d+\.\d % · fine-tuned · demo$"), timeout=60000)
    choose(tab, "Buffer policy", "buffers", "gaussian")
    comes_to(tab, lambda: shown(tab)["Checkpoint A"], "seed-12")
    assert "a=seed-12" in tab.url
    expect(tab.get_by_text("Not here")).to_have_count(0)


def test_how_pictures_are_looked_at_is_in_the_link_and_back_takes_it_back(browser, address: str) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(address)
    tab.wait_for_selector('[data-testid="canvas-m"][data-alpha]', timeout=60000)
    tab.wait_for_function("() => location.search.includes('picture=')")
    tab.wait_for_timeout(500)
    first, before = tab.url, tab.evaluate("history.length")
    tab.get_by_test_id("lens").select_option("outline")
    tab.get_by_test_id("zoom-in").click()
    tab.get_by_test_id("class-0").click()
    tab.wait_for_function("() => location.search.includes('lens-outline')")
    parts = ("zoom-1.5_", "hidden-0~", "layout-grid")  # defaults are said too
    comes_to(tab, lambda: [one in parse_qs(urlsplit(tab.url).query)["look"][0] for one in parts], [True] * 3)
    other = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    other.goto(tab.url)
    other.wait_for_selector('[data-testid="canvas-m"][data-alpha]', timeout=60000)
    tab.mouse.move(0, 0)
    shows = "canvas => canvas.toDataURL()"
    for pane in ("a", "m", "t"):
        canvas = f"canvas-{pane}"
        wanted = tab.get_by_test_id(canvas).evaluate(shows)
        comes_to(other, lambda canvas=canvas: other.get_by_test_id(canvas).evaluate(shows), wanted)
    other.context.close()
    steps = tab.evaluate("history.length") - before  # one, or as many as the machine had time for
    assert 1 <= steps <= 3
    tab.evaluate("(steps) => history.go(-steps)", steps)
    tab.wait_for_url(first)
    expect(tab.get_by_test_id("zoom-text")).to_have_text("1.0\u00d7")
    expect(tab.get_by_test_id("lens")).to_have_value("mask")
    tab.close()
