"""What an upload is answered: refused and why, or what it fits and the buttons that make it A or B."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import save
from streamlit.testing.v1 import AppTest

from tests.helpers import tiny_tensors
from tests.page_tools import button, opened, text, tiny_files


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The Workspace page over c0 and c1."""
    with opened("workspace.py", tmp_path / "home", monkeypatch) as open_page:
        yield open_page("--checkpoints", str(tiny_files(tmp_path / "files", 2)))


def uploaded(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    app.file_uploader[0].set_value([(name, content, "application/octet-stream") for name, content in files]).run()
    assert not app.exception
    return app


def pair(app: AppTest) -> list[object]:
    return [next(item.value for item in app.selectbox if item.label == f"Checkpoint {end}") for end in "AB"]


def test_an_upload_says_what_it_fits_and_becomes_a_or_b_as_the_selector_would(page: AppTest) -> None:
    app = uploaded(page, ("mine.safetensors", save(tiny_tensors(7))))
    before = pair(app)
    assert f"loaded, {len(tiny_tensors(7))} tensors, fits A (c0)" in text(app) and "mine" not in before
    button(app, "Use as B").click().run()
    assert pair(app) == [before[0], "mine"] and app.query_params["b"] == "mine"
    assert button(app, "Use as B").disabled and not button(app, "Use as A").disabled
    button(app, "Use as A").click().run()
    assert pair(app) == ["mine", "mine"] and ", is A." in text(app)
    app.selectbox(key="b").set_value("c1").run()
    assert ", is A, fits B (c1)" in text(app) and app.query_params["a"] == "mine"


def test_an_upload_that_does_not_fit_says_why_and_can_be_chosen_all_the_same(page: AppTest) -> None:
    app = uploaded(page, ("other.safetensors", save(tiny_tensors(1, classes=5))))
    assert "does not fit A (c0)" in text(app) and "other shapes" in text(app) and not app.error
    button(app, "Use as A").click().run()
    assert pair(app)[0] == "other"


def test_a_broken_upload_has_no_buttons_and_one_that_was_removed_is_answered_no_more(page: AppTest) -> None:
    app = uploaded(page, ("bad.pth", b"nothing"), ("good.safetensors", save(tiny_tensors(7))))
    assert len(app.error) == 1 and "bad" in app.error[0].value and "Needs:" in app.error[0].value
    assert sum(item.label == "Use as A" for item in app.button) == 1
    button(app, "Remove").click().run()
    assert len(app.error) == 1 and button(app, "Use as A") is None and "fits A" not in text(app)


def test_a_picture_says_where_to_find_it(page: AppTest) -> None:
    content = io.BytesIO()
    Image.new("RGB", (8, 6)).save(content, "PNG")
    app = uploaded(page, ("p_*1*.png", content.getvalue()))
    assert "uploaded pictures" in text(app) and "p\\_\\*1\\*" in text(app) and button(app, "Use as A") is None


def test_the_first_upload_of_all_has_nothing_to_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened("workspace.py", tmp_path / "home", monkeypatch) as open_page:
        app = uploaded(open_page(), ("one.safetensors", save(tiny_tensors(1))))
        assert f"loaded, {len(tiny_tensors(1))} tensors." in text(app)
        uploaded(app, ("one.safetensors", save(tiny_tensors(1))), ("two.safetensors", save(tiny_tensors(2))))
        assert pair(app) == ["one", "two"]
