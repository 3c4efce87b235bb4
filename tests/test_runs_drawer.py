"""The drawer of runs on every page, and the route that one run answers under."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fusionlib.errors import Cancelled
from fusionlib.runs.desk import Plan
from pages.widgets import routes, server
from tests.helpers import folder_data, tiny_world
from tests.page_tools import opened, text, tiny_files
from tests.test_routes import Browser, refused

PLAN = Plan("sweep", ("sweep", "a.pth", "b.pth"))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The app on a page that has nothing to do with sweeps, and the runs that it knows."""
    data = folder_data(tmp_path / "data", 1)
    with opened("workspace.py", tmp_path / "home", monkeypatch) as open_page:
        app = open_page("--checkpoints", str(tiny_files(tmp_path / "files", 2)), "--data", f"folder:{data}")
        yield app, server.studio().runs


def drawer(app) -> str:
    return " ".join(expander.label for expander in app.sidebar.expander)


def test_nothing_is_drawn_before_anything_has_run(desk) -> None:
    app, _ = desk
    assert "Runs" not in drawer(app)


def test_a_run_of_another_process_is_seen_and_cancelled_from_any_page(desk) -> None:
    app, runs = desk

    def worked_off() -> None:
        with runs.held("k", PLAN) as progress:
            progress(3, 12)
            time.sleep(0.7)  # a heartbeat
            app.run()
            assert "Runs: 1 running" in drawer(app) and not app.exception
            (row,) = runs.listed()
            next(button for button in app.sidebar.button if button.key == f"run-cancel-{row['id']}").click().run()
            assert runs.listed()[0]["state"] == "stopping" and "Runs: 1 running" in drawer(app), (
                "until its picture ends"
            )
            for _ in range(100):
                progress(4, 12)
                time.sleep(0.02)

    with pytest.raises(Cancelled):
        worked_off()
    app.run()
    assert "Runs" in drawer(app) and "1 running" not in drawer(app)
    assert "sweep cancelled" in text(app) and "runs resume" in " ".join(code.value for code in app.sidebar.code)


def test_a_run_answers_under_its_id_to_sessions_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tiny_world(tmp_path) as world:
        monkeypatch.setattr(routes, "studio", lambda: world.studio)
        browser = Browser(world, world.view())
        world.studio.sweep(browser.view).measure(0.5)
        (row,) = world.studio.runs.listed()
        found = browser(f"runs/{row['id']}").json()
        assert set(found) == {"id", "kind", "state", "done", "total", "seconds_left", "owner"}
        assert (found["kind"], found["state"]) == ("sweep", "done") and found["done"] == found["total"] > 0
        refused(browser("runs/nobody"))
        assert browser(f"runs/{row['id']}", method="DELETE").json()["state"] == "done", "what has ended stays as it is"
