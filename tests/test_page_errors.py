"""The page of errors through Streamlit's test harness: before it is measured, after, and with what links may say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from fusionlib.measures.error_stack import Pixels
from pages.widgets import errors_selection, server
from pages.widgets.errors_controls import sentence
from pages.widgets.errors_gallery import among
from pages.widgets.errors_page import pane_of
from pages.widgets.errors_selection import ORDERS, words_of
from tests.helpers import folder_data, until
from tests.page_tools import MAIN, button, opened, text, tiny_files

PICTURES = 3
NAMES = ("road", "sky", "car")


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    with opened("errors.py", tmp_path / "home", monkeypatch) as open_page:
        yield open_page


@pytest.fixture
def measured(start, tmp_path: Path) -> AppTest:
    app = start(*arguments(tmp_path))
    button(app, "Look into it").click().run()
    work = analysis()
    until(lambda: work.ready and work.state != "running")
    return app.run()


def arguments(folder: Path) -> tuple[str, ...]:
    files, data = tiny_files(folder / "files"), folder_data(folder / "data", PICTURES)
    return "--checkpoints", str(files), "--data", f"folder:{data}"


def analysis():
    return next(iter(server.studio().errors._works._works.values()))


def said(app: AppTest, name: str) -> str:
    """What the address says; a list or its one value, as the harness has it."""
    value = app.query_params[name]
    return value if isinstance(value, str) else value[0]


def following(app: AppTest, **state: object) -> AppTest:
    for name, value in state.items():
        app.session_state[name] = value
    app.run()
    assert not app.exception
    return app


def test_what_cannot_be_looked_into_says_why(start, tmp_path: Path) -> None:
    assert "Load two checkpoints" in text(start())
    files = tiny_files(tmp_path / "files")
    assert "No data is loaded" in text(start("--checkpoints", str(files)))
    app = start("--checkpoints", str(files), "--data", f"pictures:{folder_data(tmp_path / 'bare', 1, masks=False)}")
    assert "no masks" in text(app) and button(app, "Look into it") is None


def test_before_it_is_measured_one_button_says_what_it_takes(start, tmp_path: Path) -> None:
    app = start(*arguments(tmp_path))
    assert button(app, f"Look into it: {3 * PICTURES} forward passes") is not None
    assert "Not looked into yet" in text(app) and not app.get("plotly_chart")
    app.selectbox(key="errors-against").set_value("oracle").run()
    assert not app.exception and said(app, "against") == "oracle"


def test_afterwards_it_says_what_came_out_and_every_tab_is_drawn(measured: AppTest) -> None:
    found = analysis().snapshot()
    assert sentence(found) in text(measured)
    assert "better of" in text(measured) and button(measured, "Look into it") is None
    for tab in ("classes", "confusion", "flow", "confidence"):
        app = following(measured, show=tab)
        assert said(app, "show") == tab
        own = 2 if tab == "confidence" else 1
        assert len(app.get("plotly_chart")) == 1 + own, "the bar of transitions and the tab's own"
    rows = app.dataframe[0].value
    assert list(rows["network"])[-1] == "the merge" and "Lower is better" in text(app)


def test_a_choice_of_pixels_sorts_by_their_count_and_its_chip_clears_it(measured: AppTest) -> None:
    chosen = Pixels(truths=(1,), merges=(0,))
    following(measured, show="classes")  # where the harness has no list of orders, of which this is none before
    app = following(measured, pixels=chosen.text, sort="count")
    assert said(app, "pixels") == chosen.text and said(app, "sort") == "count"
    chip = next(item for item in app.button if item.key == "errors-clear")
    names = analysis().pictures.label_space.names
    assert chip.label.replace("\\", "") == f"{names[1]}: {names[0]} in the merge"
    chip.click().run()
    assert "pixels" not in app.query_params and said(app, "sort") == "gain"


def test_filters_change_the_choice(measured: AppTest) -> None:
    app = following(measured, show="pictures")
    app.multiselect(key="errors-transitions").set_value(["fixed"]).run()
    assert said(app, "pixels") == "transitions=fixed"
    app.multiselect(key="errors-sizes").set_value(["small"]).run()
    assert said(app, "pixels") == "transitions=fixed;sizes=small"
    assert not app.exception


@pytest.mark.parametrize(
    "link",
    [
        {"pixels": "truths=<script>"},
        {"pixels": "x" * 5000},
        {"pixels": "truths=255;merges=999"},
        {"sort": "<b>", "of": "nobody", "show": "../..", "gallery": "99999999", "domain": "none"},
        {"gallery": "-1", "matrix": "7", "share": "%", "cells": "", "flow": "nobody"},
        {"against": "alpha=7", "alpha": "nan", "picture": "1e9", "mix": "nothing"},
        {"against": "<img src=x>"},
        {"against": "alpha=0.25", "mix": "layers"},
        {"sort": "class_gain", "of": "car", "show": "pictures"},
        {"sort": "count"},
        {"of": "\u202e", "show": "\x01", "matrix": "\x00"},
        {"split": "x" * 9000},
        {"pixels": "bin=17/20", "sort": "count", "show": "confidence"},
    ],
)
def test_whatever_a_link_says_the_page_goes_on(measured: AppTest, link: dict[str, str]) -> None:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    app.switch_page("errors.py")
    for name, value in link.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    assert app.selectbox(key="errors-against").value in ("better", "alpha")
    if "pixels" in link:
        wrong = link["pixels"] not in ("truths=255;merges=999", "bin=17/20")
        assert ("such as truths=1,3" in text(app).replace("\\", "")) == wrong


def test_the_lenses_compare_with_what_the_figures_do(measured: AppTest) -> None:
    view = next(iter(server.studio().views.opened.values()))
    better = pane_of(view, "better")
    found = analysis()
    assert better == ("a" if found.snapshot()["a"] >= found.snapshot()["b"] else "b")
    panes = [pane_of(view, one) for one in ("a", "b", "ensemble", "oracle", "alpha=0.3")]
    assert panes == ["a", "b", "e", "o", "r"]


def test_a_choice_in_words() -> None:
    assert words_of(Pixels((0,), (1,), (2,)), NAMES) == "road: sky → car"
    assert words_of(Pixels(merges=(3,), band=True), NAMES) == "outside in the merge, near edges"
    assert words_of(Pixels((0, 99), transitions=("fixed", "broken")), NAMES) == "road or class 99, fixed or broken"
    assert words_of(Pixels(bin=(17, 20)), NAMES) == "confidence 85 to 90 %"
    assert words_of(Pixels(references=(1,), sizes=("small",)), NAMES) == "sky in the reference, small objects"


def test_every_order_has_words_and_the_sentence_survives_nothing_labelled() -> None:
    assert all(len(words) < 40 for words in ORDERS.values())
    assert "No pixel" in sentence({"pixels": 0})
    assert errors_selection.COUNT in ORDERS


def test_columns_beside_the_pictures_are_filters(start, tmp_path: Path) -> None:
    given = arguments(tmp_path)
    table = tmp_path / "data" / "attributes.csv"
    table.write_text("name,weather\np0,<b>rain</b>\np1,sun\n")
    app = start(*given)
    button(app, "Look into it").click().run()
    work = analysis()
    until(lambda: work.ready and work.state != "running")
    app = following(app.run(), where=["weather=<b>rain</b>"])
    assert said(app, "where") == "weather=<b>rain</b>"
    assert among(work) is None, "outside of a session nothing is chosen"
    assert app.multiselect(key="where").options == ["weather=<b>rain</b>", "weather=sun"]
    table.write_text("nonsense")
    app = following(app)
    assert any("attributes" in item.value for item in app.error)
