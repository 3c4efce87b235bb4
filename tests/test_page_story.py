"""The Story page and the history, as the app draws them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from page_tools import button, opened, text, tiny_files
from streamlit.testing.v1 import AppTest

from fusionlib.runs.links import PAGES
from fusionlib.runs.story import Step
from pages.widgets.opened import FILES
from pages.widgets.server import studio
from pages.widgets.tried import TITLES, name_of


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    with opened("story.py", tmp_path / "home", monkeypatch) as open_page:
        yield open_page


def keys(app: AppTest, beginning: str) -> list[str]:
    return [item.key for item in app.button if item.key and item.key.startswith(beginning)]


def test_a_story_without_steps_says_how_one_begins(story) -> None:
    app = story()
    assert "No story yet" in text(app) and "Views appear here" in text(app)
    assert app.button(key="story-add").disabled and not keys(app, "story-remove")


def test_steps_are_moved_edited_removed_and_undone(story) -> None:
    app = story()
    for number in range(3):
        studio().looked.story.add(Step(f"?a={number}", f"step *{number}*", "a [note](x)" if number == 1 else ""))
    app.run()
    assert app.button(key="story-up-0").disabled and app.button(key="story-down-2").disabled
    assert r"a \[note\]\(x\)" in text(app)
    app.button(key="story-up-2").click().run()
    app.button(key="story-remove-0").click().run()
    assert [step.title for step in studio().looked.story.read().steps] == ["step *2*", "step *1*"]
    app.text_input[0].set_value("first")
    next(one for one in app.button if one.label == "Keep").click().run()
    assert studio().looked.story.read().steps[0].title == "first"
    for left in (["step *2*", "step *1*"], ["step *0*", "step *2*", "step *1*"]):
        app.button(key="story-undo").click().run()
        assert [step.title for step in studio().looked.story.read().steps] == left
    assert not app.exception and not app.error


def test_a_change_on_what_somebody_else_has_changed_is_said(story) -> None:
    app = story()
    studio().looked.story.add(Step("?a=1", "mine"))
    app.run()
    studio().looked.story.add(Step("?a=2", "theirs"))
    app.button(key="story-remove-0").click().run()
    assert "changed elsewhere" in "".join(item.value for item in app.error)
    assert len(studio().looked.story.read().steps) == 2
    app.run()
    assert not app.error, "said once"


def test_history_is_searched_starred_and_deleted_with_undo(story) -> None:
    app = story()
    history = studio().looked.history
    for number in range(30):
        history.seen(f"?a={number}", f"view-{number}- <b>")
    app.run()
    assert len(keys(app, "history-star-")) == 25 and app.number_input(key="history-page").max == 2
    app.text_input(key="history-search").set_value("VIEW-7-").run()
    (star,) = keys(app, "history-star-")
    app.button(key=star).click().run()
    assert [one.name for one in history.listed(starred=True)] == ["view-7- <b>"]
    app.button(key=keys(app, "history-story-")[0]).click().run()
    assert [step.link for step in studio().looked.story.read().steps] == ["?a=7"]
    app.button(key=keys(app, "history-delete-")[0]).click().run()
    assert len(history.listed()) == 29 and not keys(app, "history-star-")
    app.button(key="history-undo").click().run()
    assert len(history.listed()) == 30 and button(app, "Undo delete") is None
    assert not app.exception


def test_a_view_on_which_somebody_settles_is_in_the_history_once(story, tmp_path: Path) -> None:
    app = story("--checkpoints", str(tiny_files(tmp_path / "files")), "--data", "streets:clear:3@val")
    app.switch_page("explore.py").run()
    assert not app.exception
    (one,) = studio().looked.history.listed()
    a, b = app.session_state["a"], app.session_state["b"]
    assert one.name.startswith(f"{a} + {b}, alpha 0.50, picture ") and one.link.startswith(f"?a={a}&b={b}&")
    app.run()
    assert len(studio().looked.history.listed()) == 1
    next(one for one in app.slider if one.label == "Alpha (weight of A)").set_value(0.25).run()
    assert [one.name.split(", ")[1] for one in studio().looked.history.listed()] == ["alpha 0.25", "alpha 0.50"]
    app.button(key="story-add").click().run()
    (step,) = studio().looked.story.read().steps
    assert step.link == studio().looked.history.listed()[0].link and "alpha 0.25" in step.title
    app.switch_page("workspace.py").run()
    assert len(studio().looked.history.listed()) == 2, "no view"


def test_the_pair_is_the_same_on_the_story_page_whatever_page_was_before(story, tmp_path: Path) -> None:
    app = story("--checkpoints", str(tiny_files(tmp_path / "files")), "--data", "streets:clear:3@val")
    app.switch_page("explore.py").run()
    app.selectbox(key="a").set_value("c2").run()
    app.selectbox(key="b").set_value("c0").run()
    for page in ("diagnostics.py", "story.py", "guide.py"):
        app.switch_page(page).run()
        assert (app.session_state["a"], app.session_state["b"]) == ("c2", "c0"), page
    assert app.selectbox(key="a").value == "c2"


def test_a_hostile_link_is_kept_as_text(story, tmp_path: Path) -> None:
    assert name_of("?a=%3Cimg%20src%3Dx%3E&b=[x](y)&alpha=nan") == "<img src=x> + [x](y), alpha nan"
    app = story()
    studio().looked.history.seen("?a=1", "<img src=x> [x](javascript:alert(1))")
    app.run()
    assert not app.exception


def test_every_page_that_shows_a_view_has_a_name_and_a_file() -> None:
    assert set(PAGES) == set(FILES) == set(TITLES)
    from conftest import ROOT

    there = {path.name for path in (ROOT / "pages").glob("*.py")}
    apart = {"__init__.py", "main.py", "guide.py", "workspace.py", "story.py"}
    assert there - apart <= set(FILES.values()), "a page whose views nobody could present"
