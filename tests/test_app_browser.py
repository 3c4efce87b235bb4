"""The whole app in a real Chromium, as a user has it: drag, see the mask change without a script rerun, export, reload
the file.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from app_server import ROOT, outside_address

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.merging.average import weighted_average
from tests.waits import comes_to, expect

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser, address: str) -> Iterator:
    """The Explore page, once the merge has been painted."""
    tab = browser.new_page(viewport={"width": 1440, "height": 1000})
    tab.problems = []
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))
    tab.on("console", lambda message: tab.problems.append(message.text) if wrong(message) else None)
    tab.on(
        "request",
        lambda request: (
            None
            if "127.0.0.1" in request.url or request.url.startswith(("data:", "blob:"))
            else tab.problems.append(f"request to {request.url}")
        ),
    )
    tab.messages = []
    tab.on("websocket", lambda socket: socket.on("framereceived", lambda _: tab.messages.append(time.monotonic())))
    tab.goto(address)
    tab.wait_for_selector('[data-testid="canvas-m"][data-alpha]', timeout=60000)
    tab.wait_for_timeout(1000)
    yield tab
    assert tab.problems == []
    tab.close()


def wrong(message) -> bool:
    """Whether a line of the browser's console is an error, a breach of the content policy among them."""
    # Streamlit asks below a page's own address first where it is: two of its questions are answered 404 there.
    own_probe = message.location["url"].endswith(("/_stcore/health", "/_stcore/host-config")) and "404" in message.text
    return message.type == "error" and not own_probe


def _mask(tab) -> str:
    return tab.locator('[data-testid="canvas-m"]').evaluate("canvas => canvas.toDataURL()")


def _drag(tab, start: float, end: float) -> None:
    track = tab.get_by_test_id("alpha-slider").bounding_box()
    y = track["y"] + track["height"] / 2
    tab.mouse.move(track["x"] + start * track["width"], y)
    tab.mouse.down()
    for step in range(1, 11):
        tab.mouse.move(track["x"] + (start + (end - start) * step / 10) * track["width"], y)
        tab.wait_for_timeout(60)


def test_dragging_changes_the_mask_without_a_rerun_and_the_export_is_what_was_seen(page, tmp_path: Path) -> None:
    before, messages = _mask(page), len(page.messages)
    _drag(page, 0.5, 0.2)
    comes_to(page, lambda: _mask(page), lambda mask: mask != before)
    page.wait_for_timeout(1500)
    assert len(page.messages) == messages, "the script ran while the slider was dragged"
    page.mouse.up()
    page.wait_for_function("() => new URL(location.href).searchParams.get('alpha') !== '0.5'", timeout=20000)
    alpha = float(page.evaluate("new URL(location.href).searchParams.get('alpha')"))
    assert 0.1 < alpha < 0.3
    page.get_by_role("button", name="Write merged checkpoint").click()
    button = page.locator('[data-testid="stDownloadButton"] button').filter(has_text="MB")
    button.wait_for(timeout=20000)
    with page.expect_download() as download:
        button.click()
    download.value.save_as(tmp_path / "merged.safetensors")
    _is_the_average(tmp_path / "merged.safetensors", alpha)


def _is_the_average(path: Path, alpha: float) -> None:
    merged = open_checkpoint(path)
    recipe = merged.metadata["recipe"]
    names = [line.split(": ")[1] for line in recipe.splitlines() if line.strip().startswith("- path")]
    first, second = (open_checkpoint(ROOT / "assets" / "demo" / name) for name in names)
    assert f"alpha: {alpha:g}" in recipe
    members = sorted(((first, alpha), (second, 1 - alpha)), key=lambda member: member[0].fingerprint)
    for name, info in merged.tensors.items():
        if info.dtype.is_floating_point:
            rows = [item.read(name).reshape(-1) for item, _ in members]
            expected = weighted_average(rows, [share for _, share in members], torch.empty_like(rows[0]))
            assert torch.equal(merged.read(name).reshape(-1), expected), name


def test_the_curve_fills_in_survives_a_reload_and_stops_on_demand(page, address: str) -> None:
    page.get_by_test_id("progress-text").filter(has_text="11 of 11 points").wait_for(timeout=30000)  # shipped
    page.goto(f"{address}?data=streets+clear")
    page.get_by_test_id("progress-text").filter(has_text="11 of 11 points").wait_for(state="detached", timeout=30000)
    page.get_by_test_id("sweep-start").click()
    page.get_by_test_id("progress-text").filter(has_text=re.compile(r"^[2-9]")).wait_for(timeout=120000)
    page.reload()
    cancel = page.get_by_test_id("sweep-cancel")
    cancel.wait_for(timeout=30000)
    cancel.click()
    cancel.wait_for(state="hidden", timeout=10000)
    expect(page.get_by_test_id("sweep-start")).to_be_visible()


def test_it_listens_on_this_machine_alone(address: str) -> None:
    outside, port = (
        outside_address() or pytest.skip("this machine has no address but loopback"),
        int(address.split(":")[2].strip("/")),
    )
    socket.create_connection(("127.0.0.1", port), 5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((outside, port), 5)


SHOWN = {
    "Errors": ".st-key-errors-measure button",
    "Compare": ".stDataFrame, .stAlert, [data-testid=stMultiSelect]",
    "Diagnose": ".st-key-diagnostics-pairs .scatterlayer path.point",
    "Workspace": ".stDataFrame",
    "Guide": ".st-key-guide h3",
    "Explore": '[data-testid="canvas-m"][data-alpha]',
}
"""What each page has drawn when it is there."""


GROUND = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"


def test_every_page_is_drawn_in_both_themes_under_the_content_policy(page) -> None:
    schemes = ["light", "dark"]
    for name, drawn in SHOWN.items():
        page.get_by_role("link", name=name, exact=True).click()
        page.get_by_role("heading", name=name, exact=True).wait_for(timeout=120000)
        before = []
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme)
            page.locator(drawn).first.wait_for(timeout=120000)
            page.wait_for_function(f"seen => !seen.includes({GROUND})", arg=before)  # it repaints a little later
            before = [page.evaluate(GROUND)]
        schemes.reverse()  # a change draws all anew
        expect(page.locator('[data-testid="stException"]')).to_have_count(0)


def test_a_heading_opens_its_chapter_beside_the_page(page) -> None:
    """A link to a section scrolls to it, tables above it notwithstanding."""
    with page.context.expect_page() as opened:
        page.locator("a[href^='guide?']").first.click()
    guide = opened.value
    guide.locator("h3#what-alpha-means").wait_for(timeout=30000)
    assert guide.url.endswith("/guide?chapter=merging")
    with guide.context.expect_page() as opened:
        guide.locator("a[href='guide?chapter=networks#model-code']").click()
    other = opened.value
    other.locator("h3#model-code").wait_for(timeout=30000)
    other.wait_for_function("() => Math.abs(document.querySelector('#model-code').getBoundingClientRect().top) < 300")
    other.locator(".st-key-chapter button").filter(has_text="serving").click()
    other.locator("h3#access-by-others").wait_for(timeout=30000)
    other.wait_for_function("() => location.search.includes('chapter=serving')")
