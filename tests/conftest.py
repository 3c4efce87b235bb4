"""What several test modules share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import fusionlib  # noqa: F401 - before torch, whose threads it tells how to wait
from fusionlib.contracts import ARCHITECTURES

ROOT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file stays on one worker, and so do all browsers: two at once on two cores keep each other waiting."""
    for item in items:
        group = "browser" if item.get_closest_marker("browser") else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real checkpoints and pictures: `FUSION_DATA`, or ../shared/data beside the project."""
    folder = Path(os.environ.get("FUSION_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set FUSION_DATA to its folder")
    return folder


@pytest.fixture
def architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    ARCHITECTURES.names()
    monkeypatch.setattr(ARCHITECTURES, "_items", dict(ARCHITECTURES._items))


# --- in a browser -----------------------------------------------------------------------------------------------------

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def driver() -> Iterator:
    """What drives browsers. It ends with the module: while it is there asyncio runs nothing else on this thread."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e .[test]"
    )
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM}: apt-get install chromium, or set CHROMIUM")
    with playwright.sync_playwright() as driving:
        yield driving


@pytest.fixture(scope="module")
def browser(driver) -> Iterator:
    """A Chromium for the tests of a module; pages of its contexts know nothing of one another."""
    opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as the README starts it, on an empty home folder."""
    from app_server import running_app

    with running_app(tmp_path_factory.mktemp("app")) as app:
        yield app.address
