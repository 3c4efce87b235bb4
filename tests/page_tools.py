"""What the tests of the pages share: Streamlit's own test harness on an empty home folder, and finding things on a
page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from pages.widgets import server
from tests.helpers import tiny_file, tiny_registered

MAIN = Path(__file__).parents[1] / "pages" / "main.py"
# Each AppTest reads the metadata of every installed package (0.3 s), and they do not change while tests run.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)


@contextmanager
def opened(
    page: str, home: Path, monkeypatch: pytest.MonkeyPatch, *, auto: bool = False
) -> Iterator[Callable[..., AppTest]]:
    """A function that starts the app without the demo, with its arguments behind `--`, and opens `page`.

    Nothing is measured by itself unless `auto` is set.
    """
    monkeypatch.setenv("FUSION_HOME", str(home))

    def open_page(*arguments: str) -> AppTest:
        monkeypatch.setenv(
            "FUSION_ARGS", " ".join(("--no-demo", "--device", "cpu", *(() if auto else ("--no-auto",)), *arguments))
        )
        server.reset()
        app = AppTest.from_file(str(MAIN), default_timeout=60).switch_page(page).run()
        assert not app.exception
        return app

    with tiny_registered():
        yield open_page
    server.reset()


def tiny_files(folder: Path, count: int = 3) -> Path:
    """A folder with checkpoints c0, c1, ..."""
    for seed in range(count):
        tiny_file(folder, f"c{seed}", seed)
    return folder


def button(app: AppTest, label: str):
    """The first button whose label contains this, or None."""
    return next((item for item in app.button if label in item.label), None)


def text(app: AppTest) -> str:
    """Everything that the page says in words."""
    return "\n".join(
        item.value
        for kind in (app.caption, app.info, app.error, app.success, app.warning, app.markdown)
        for item in kind
    )
