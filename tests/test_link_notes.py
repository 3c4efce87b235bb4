"""What of a link is not here or not understood: one line above every page, and what is shown instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pages.widgets import server
from tests.helpers import folder_data
from tests.page_tools import MAIN


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """The app with the demo and a folder of pictures before it, opened at an address."""
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    data = folder_data(tmp_path / "town", 2)
    monkeypatch.setenv("FUSION_ARGS", f"--device cpu --no-auto --data folder:{data}")
    server.reset()

    def open_at(page: str = "", **query: str) -> AppTest:
        app = AppTest.from_file(str(MAIN), default_timeout=60)
        app.run()
        if page:
            app.switch_page(page)
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception
        return app

    yield open_at
    server.reset()


def lines(app: AppTest) -> list[str]:
    return [item.value.replace("\\", "") for item in app.warning if item.icon == ":material/link_off:"]


def pair(app: AppTest) -> tuple[str, str]:
    return app.session_state["a"], app.session_state["b"]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({"a": "gone", "b": "fog"}, ("night", "fog")),
        ({"a": "gone"}, ("night", "fog")),
        ({"b": "gone"}, ("night", "fog")),
        ({"a": "gone", "b": "night"}, ("fog", "night")),
        ({"a": "rain", "b": "gone"}, ("rain", "fog")),
    ],
)
def test_in_place_of_an_unknown_checkpoint_is_the_opening_pair(at, query: dict, shown: tuple) -> None:
    assert pair(at()) == ("night", "fog")
    app = at(**query)
    assert pair(app) == shown
    (line,) = lines(app)
    end = "A" if query.get("a") == "gone" else "B"
    assert line == f"Not here: gone; shown instead: {end} {shown['AB'.index(end)]}."


def test_a_link_to_the_demo_opens_on_its_data(at) -> None:
    """Whatever was looked at last, or comes first."""
    app = at()
    own = next(source.name for source in server.studio().workspace.sources if source.origin == "folder")
    demo = next(source.name for source in server.studio().workspace.sources if source.origin == "demo")
    app.session_state["data"] = own
    app.run()
    assert app.query_params["data"] in (own, [own])
    app.query_params.clear()
    for name, value in (("a", "night"), ("b", "fog")):
        app.query_params[name] = value
    app.run()
    assert app.session_state["data"] == demo and lines(app) == []
    assert at(a="night", b="fog", data=own).session_state["data"] == own


@pytest.mark.parametrize("page", ["", "compare.py", "diagnostics.py", "errors.py"])
def test_what_is_not_understood_is_said_on_every_page(at, page: str) -> None:
    app = at(page, a="night", b="fog", split="vall", buffers="averge")
    (line,) = lines(app)
    assert line.startswith("Not understood in the link: split=vall, buffers=averge; shown instead: ")
    assert "split val" in line and "buffers average" in line
    first = app.main.children[0].children
    assert any(item.icon == ":material/link_off:" for item in first.values()), "above the page"


def test_mixture_alpha_and_picture_are_said_with_what_is_shown(at) -> None:
    (line,) = lines(at(a="night", b="fog", mix="blend", alpha="nan", picture="99999999"))
    assert "mix=blend, alpha=nan, picture=99999999; shown instead: mix alpha, alpha 0.5, picture 30" in line
    (line,) = lines(at(alpha="7", typo="1"))
    assert line == "Not understood in the link: alpha=7, typo=1; shown instead: alpha 1."


def test_a_link_that_says_the_same_in_other_words_is_understood(at) -> None:
    app = at(a="night", b="fog", alpha="0.50", picture="2", split="val", mix="alpha")
    assert lines(app) == []
    link = {name: app.query_params[name] for name in app.query_params}
    again = at(**{name: values[0] if isinstance(values, list) else values for name, values in link.items()})
    assert lines(again) == []


def test_the_line_goes_when_something_else_is_chosen(at) -> None:
    app = at(a="night", b="fog", split="vall")
    assert lines(app)
    app.run()
    assert lines(app), "it stays until then"
    next(item for item in app.selectbox if item.label == "Split").set_value("test").run()
    assert lines(app) == []
