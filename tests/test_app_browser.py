"""The whole app in a real Chromium, as a user has it: drag, see the mask change without a script rerun, export, reload the file."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.merging.average import weighted_average

ROOT = Path(__file__).parents[1]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as the README starts it, on an empty home folder."""
    folder = tmp_path_factory.mktemp("app")
    environment = {**os.environ, "FUSION_HOME": str(folder / "home")}
    environment.pop("FUSION_ARGS", None)
    with serving(folder, environment) as url:
        yield url


@contextmanager
def serving(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """The app on a port of its own; its log in `folder` must have no traceback in the end."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM}: apt-get install chromium, or set CHROMIUM")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), "--server.headless", "true"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(f"http://127.0.0.1:{port}/_stcore/health", process)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            process.wait(20)
    assert "Traceback" not in (folder / "log").read_text()


def _wait_for(url: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the app did not start")


@pytest.fixture
def page(address: str) -> Iterator:
    """The Merge page, once the merge has been painted."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e .[test]")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_page(viewport={"width": 1440, "height": 1000})
        tab.problems = []
        tab.on("pageerror", lambda error: tab.problems.append(str(error)))
        tab.on("request", lambda request: None if "127.0.0.1" in request.url or request.url.startswith(("data:", "blob:"))
               else tab.problems.append(f"request to {request.url}"))
        tab.messages = []
        tab.on("websocket", lambda socket: socket.on("framereceived", lambda _: tab.messages.append(time.monotonic())))
        tab.goto(address)
        tab.wait_for_selector('[data-testid="canvas-m"][data-alpha]', timeout=60000)
        tab.wait_for_timeout(1000)
        yield tab
        assert tab.problems == []
        browser.close()


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
    page.wait_for_timeout(1500)
    assert _mask(page) != before
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
    for name, info in merged.tensors.items():
        if info.dtype.is_floating_point:
            rows = [item.read(name).reshape(-1) for item in (first, second)]
            expected = weighted_average(rows, (alpha, 1 - alpha), torch.empty_like(rows[0]))
            assert torch.equal(merged.read(name).reshape(-1), expected), name


def test_the_curve_fills_in_survives_a_reload_and_stops_on_demand(page) -> None:
    page.get_by_test_id("sweep-start").click()
    page.get_by_test_id("progress-text").filter(has_text=re.compile(r"^[2-9]")).wait_for(timeout=30000)
    page.reload()
    cancel = page.get_by_test_id("sweep-cancel")
    cancel.wait_for(timeout=30000)
    cancel.click()
    cancel.wait_for(state="hidden", timeout=10000)
    assert page.get_by_test_id("sweep-start").is_visible()


def test_both_pages_open_in_dark_without_errors(page, address: str) -> None:
    page.emulate_media(color_scheme="dark")
    page.get_by_role("link", name="Workspace").click()
    page.get_by_text("Do they fit together?").wait_for(timeout=30000)
    assert page.locator('[data-testid="stException"]').count() == 0
