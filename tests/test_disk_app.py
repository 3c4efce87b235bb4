"""The app on a home folder that cannot be written to: pages open, figures are measured and shown, one notice says what
is not kept.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from fusionlib.errors import WriteError
from fusionlib.studio import Selection, uniform_profile
from pages.widgets import server
from tests.helpers import folder_data, tiny_tensors, until
from tests.page_tools import MAIN, button, opened, text, tiny_files

PAGES = ("explore.py", "layers.py", "compare.py", "diagnostics.py", "calibration.py", "workspace.py")


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The Merge page; the home folder would lie below a file."""
    (tmp_path / "file").write_text("in the way")
    with opened("explore.py", tmp_path / "file" / "home", monkeypatch) as open_page:
        yield open_page(
            "--checkpoints",
            str(tiny_files(tmp_path / "files", 2)),
            "--data",
            f"folder:{folder_data(tmp_path / 'town', 2)}",
        )


def notices(app: AppTest) -> list[str]:
    return [item.value.replace("\\", "") for item in app.warning]


def test_every_page_opens_and_nothing_is_said_before_anything_is_lost(app: AppTest) -> None:
    for page in PAGES:
        app.switch_page(page).run()
        assert not app.exception and notices(app) == [], page


def test_what_is_measured_is_shown_and_one_notice_says_that_it_is_not_kept(app: AppTest) -> None:
    studio = server.studio()
    view = studio.view(Selection("c0", "c1", studio.workspace.sources[0].name, None, "average"))
    found = studio.sweep(view).measure(0.5)
    assert [point["alpha"] for point in found["points"]] == [0, 0.5, 1] and found["best"]
    lost = r"\d+ entries could not be kept: a file is where a folder should be"
    assert re.fullmatch(lost, studio.sweep(view).snapshot()["message"]), "in the live view"
    for _ in range(2):
        app.run()
        assert not app.exception and len(notices(app)) == 1
        assert re.match(lost, notices(app)[0])
    assert "IoU at alpha 0" in text(app), "the change by class is drawn from the curve"
    uniform = uniform_profile(view.arena.layout, "block", (0.5, 0.5), 0, 2)
    assert studio.layers.profiles(view).figures(uniform) is not None, "other pages find it in memory"


def test_an_export_says_in_three_lines_why_it_cannot_be_written(app: AppTest) -> None:
    button(app, "Write merged checkpoint").click().run()
    assert not app.exception and len(app.error) == 1
    assert "cannot be made: a file is where a folder should be" in app.error[0].value.replace("\\", "")
    offered = [item.label for item in app.get("download_button")]
    assert offered == ["Recipe (YAML)"] and any("--folder DIR" in item.value for item in app.code), (
        "which needs no disk"
    )
    fresh = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert not fresh.exception and not fresh.error, "and is forgotten with the next look"


def test_a_row_of_the_table_that_cannot_be_written_has_its_recipe_all_the_same(app: AppTest) -> None:
    app.switch_page("compare.py").run()
    button(app, "rows on 2 pictures").click().run()
    comparison = next(iter(server.studio().comparisons._works._works.values()))
    until(lambda: comparison.state == "done")
    app.run()
    button(app, "Write merged checkpoint").click().run()
    assert not app.exception and len(app.error) == 1 and len(notices(app)) == 1
    assert "Recipe (YAML)" in [item.label for item in app.get("download_button")]


def test_uploads_and_presets_say_so_too(app: AppTest, tmp_path: Path) -> None:
    from safetensors.torch import save

    studio = server.studio()
    with pytest.raises(WriteError, match="'uploads' cannot be made"):
        studio.workspace.add_upload("c.safetensors", save(tiny_tensors(3)))
    assert [item.name for item in studio.workspace.items] == ["c0", "c1"]
    view = studio.view(Selection("c0", "c1", "", None, "average"))
    with pytest.raises(WriteError, match="'profiles' cannot be made"):
        studio.layers.shelf.save("mine", uniform_profile(view.arena.layout, "part", (0.5, 0.5), 0, 2))
    with pytest.raises(WriteError, match="cannot be deleted"):
        studio.layers.shelf.delete("mine")
    assert studio.layers.shelf.fitting(view.arena.layout) == []


def test_a_store_that_was_set_aside_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "results.sqlite").write_bytes(b"no database at all" * 100)
    with opened("explore.py", tmp_path / "home", monkeypatch) as open_page:
        app = open_page(
            "--checkpoints",
            str(tiny_files(tmp_path / "files", 2)),
            "--data",
            f"folder:{folder_data(tmp_path / 'town', 1)}",
        )
        assert len(notices(app.run())) == 1 and "set aside as" in notices(app)[0]
