"""What several test modules share."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import fusionlib  # noqa: F401 - before torch, whose threads it tells how to wait
from fusionlib.contracts import ARCHITECTURES

# Both workers, and the processes that tests start, would compile all code anew. Those processes write none.
sys.dont_write_bytecode = False
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"

# Every home folder has a table that is flushed to the disk (0.1 s a test): in memory there is nothing to wait for.
SHM = Path("/dev/shm")
if os.access(SHM, os.W_OK) and shutil.disk_usage(SHM).free > 4 << 30:
    (SHM / "fusionlib-tests").mkdir(exist_ok=True)
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(SHM / "fusionlib-tests"))

# How long an example takes says how busy the machine is.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

ROOT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file stays on one worker, and so do all files with browsers, which share one and its servers.

    Groups that are marked (`loadgroup`) are no way to it: xdist 3.8 writes them where pytest 9.2 no longer reads.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "browser" if browses(ROOT / file) else file

    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that the workers end together."""
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (not browses(item.path), -counts[item.path], item.path))


@cache
def browses(path: Path) -> bool:
    """Whether a file has tests in a browser."""
    return "mark.browser" in path.read_text(encoding="utf-8")


def pytest_collection_finish() -> None:
    """What is loaded by now stays: garbage is looked for in what tests make alone, which saves a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real checkpoints and pictures: `FUSION_DATA`, or ../shared/data beside the project."""
    folder = Path(os.environ.get("FUSION_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set FUSION_DATA to its folder")
    return folder


@pytest.fixture(scope="module", autouse=True)
def networks_of_other_sizes() -> Iterator[None]:
    """Networks that a file's tests have met in tensors or folders, and registered, are unknown to the next file."""
    known = set(ARCHITECTURES._items)
    yield
    for name in set(ARCHITECTURES._items) - known:
        if ":" in name:
            del ARCHITECTURES._items[name]


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
    "--process-per-site",
    "--host-resolver-rules=MAP *.test 127.0.0.1",  # names that are this machine, for tests of who gets in
    "--disable-features=LocalNetworkAccessChecks",
)

ANCHOR = "http://127.0.0.1/anchor"


class Chromium:
    """One for all tests that follow one another; its tabs share the process that has read the app's scripts.

    A tab with a process of its own takes 3 s more, and the app keeps what it keeps in a browser by tab.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._driving: Any = None
        self._browser: Any = None
        self._tabs: Any = None
        self._anchor: Any = None

    def driver(self) -> Any:
        """What drives browsers. While it is there asyncio runs nothing else on this thread."""
        if self._driving is None:
            playwright = pytest.importorskip(
                "playwright.sync_api", reason="playwright is not installed: pip install -e .[test]"
            )
            if not Path(CHROMIUM).exists():
                pytest.skip(f"no Chromium at {CHROMIUM}: apt-get install chromium, or set CHROMIUM")
            self._driving = self._stack.enter_context(playwright.sync_playwright())
        return self._driving

    def new_context(self, **options: Any) -> Any:
        """A browser that knows nothing: no cookies, and no scripts."""
        return self._opened().new_context(**options)

    def new_page(self, viewport: dict[str, int], **media: Any) -> Any:
        """A tab, of this size and with these preferences (`color_scheme`)."""
        if self._tabs is None:
            self._tabs = self._opened().new_context(accept_downloads=True)
            self._tabs.route(ANCHOR, lambda route: route.fulfill(content_type="text/html", body=""))
            self._anchor = self._tabs.new_page()  # a process lives as long as it has a page
            self._anchor.goto(ANCHOR)
        tab = self._tabs.new_page()
        tab.set_viewport_size(viewport)
        tab.emulate_media(**media)
        return tab

    def tidy(self) -> None:
        """Close what tests have left open."""
        for context in self._browser.contexts if self._browser else ():
            for tab in context.pages:
                if tab is not self._anchor:
                    tab.close()
            if context is not self._tabs:
                context.close()

    def close(self) -> None:
        """The end of it, until it is asked for again."""
        self._stack.close()
        self.__init__()

    def _opened(self) -> Any:
        if self._browser is None:
            self._browser = self.driver().chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            self._stack.callback(self._browser.close)
        return self._browser


SHARED = Chromium()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    """The browser ends where the next test needs none."""
    yield
    if nextitem is None or not browses(nextitem.path):
        SHARED.close()


@pytest.fixture(scope="module")
def driver() -> Any:
    return SHARED.driver()


@pytest.fixture(scope="module")
def browser(driver) -> Iterator[Chromium]:
    yield SHARED
    SHARED.tidy()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as the README starts it, on a home folder that was empty before the first test of a browser."""
    from app_server import running_app

    with running_app(tmp_path_factory.mktemp("app")) as app:
        yield app.address


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The same on splits of few pictures."""
    from app_server import SMALL, running_app

    with running_app(tmp_path_factory.mktemp("small"), *(part for spec in SMALL for part in ("--data", spec))) as app:
        yield app


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an app with everything measured that its pages show."""
    from measured_app import measured_app

    with measured_app(tmp_path_factory.mktemp("measured")) as app:
        yield app.address
