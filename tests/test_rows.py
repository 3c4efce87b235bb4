"""Lists of checkpoints: the user's own before the demo's, each with its stored score, its role and who gave it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from streamlit.testing.v1 import AppTest

from fusionlib.checkpoints.writer import save_tensors
from fusionlib.engine.recipes import recipe_alone
from fusionlib.studio import Options, Studio, Workspace
from fusionlib.studio.provenance import Made, made_by
from fusionlib.studio.rows import Row, row_texts
from pages.widgets import server
from tests.helpers import folder_data, tiny_file, tiny_registered, tiny_tensors, tiny_world
from tests.page_tools import opened, tiny_files

PRINT = "0" * 64


def recipe(*paths: str, method: str = "linear") -> str:
    return json.dumps({"method": method, "checkpoints": [{"path": path, "fingerprint": PRINT} for path in paths]})


@pytest.fixture
def registered():
    with tiny_registered():
        yield


# --- the order --------------------------------------------------------------------------------------------------------


def test_own_files_come_before_the_demos_and_keep_the_names_that_links_hold(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    save_tensors(tmp_path / "files" / "mine.safetensors", {"weight": torch.ones(3)})
    save_tensors(tmp_path / "files" / "start.safetensors", {"weight": torch.ones(3)})
    workspace = Workspace(Options(checkpoints=(tmp_path / "files",), home=tmp_path / "home"))
    workspace.add_upload("theirs.safetensors", save({"weight": torch.zeros(3)}))
    workspace.add_upload("night.safetensors", save({"weight": torch.zeros(4)}))
    names, given = zip(*((item.name, item.given) for item in workspace.items), strict=True)
    assert set(names[:2]) == {"mine", "files/start"} and set(names[2:4]) == {"theirs", "upload/night"}
    assert given == ("file",) * 2 + ("upload",) * 2 + ("demo",) * 10
    assert workspace.get("start").given == workspace.get("night").given == "demo"
    assert workspace.default_pair() is not None


@pytest.mark.parametrize("folder", ["demo", "upload"])
def test_a_folder_called_as_the_demo_or_uploads_is_the_operators(tmp_path: Path, registered, folder: str) -> None:
    for seed in range(2):
        tiny_file(tmp_path / folder, f"c{seed}", seed)
    workspace = Workspace(Options(checkpoints=(tmp_path / folder,), demo=False, home=tmp_path / "home"))
    assert {(item.given, item.origin) for item in workspace.items} == {("file", folder)}
    assert workspace.default_pair() == ("c0", "c1")


# --- what a line says -------------------------------------------------------------------------------------------------


def test_a_line_says_score_role_and_source_as_far_as_they_are_known() -> None:
    assert Row("epoch-030", "file", miou=0.6123).text == "epoch-030 · 61.2 % · file"
    assert Row("mix", "upload", "merge").text == "mix · merge · upload"
    assert Row("night", "demo", "expert", 0.0).text == "night · 0.0 % · expert · demo"


def test_no_two_lines_read_alike_whatever_the_files_are_called() -> None:
    rows = [Row("x", "file", miou=0.612), Row("x · 61.2 %", "file"), Row("x", "file", miou=0.612)]
    texts = row_texts([rows[0], rows[1]])
    assert len(set(texts.values())) == 2 and texts["x"] == "x · 61.2 % · file"


@pytest.mark.parametrize(
    ("metadata", "role", "word"),
    [
        ({"recipe": recipe("night.pth", "fog.pth")}, "merge", "night, fog"),
        ({"recipe": recipe("only.pth")}, "", ""),
        ({"recipe": "!!python/object/apply:os.system [true]"}, "", ""),
        ({"recipe": "a: " * 2_000_000}, "", ""),
        ({"recipe": recipe("a\u202eb.pth", "c.pth", method="x" * 500)}, "merge", "\\u202e"),
        ({"epoch": "12", "plan": "{}"}, "epoch 12", "Epoch 12"),
        ({"epoch": "9" * 40, "plan": "{}"}, "", ""),
        ({"epoch": "12"}, "", ""),
        ({}, "", ""),
    ],
)
def test_metadata_of_strangers_are_shown_in_bounds(metadata: dict[str, str], role: str, word: str) -> None:
    made = made_by(metadata)
    assert made.role == role and word in made.about and len(made.about) < 400
    assert role or made == Made()


def shown_pictures(studio: Studio, limit: int | None = None):
    """The pictures of the only data, or the first of them."""
    (source,) = studio.workspace.sources
    return studio.workspace.pictures(source.name, studio.workspace.first_split(source.name), limit)


def test_a_score_is_that_of_the_whole_of_these_pictures_and_nothing_runs_for_it(tmp_path: Path) -> None:
    with tiny_world(tmp_path, count=3) as world:
        studio = world.studio
        items, pictures = studio.workspace.items, shown_pictures(studio)
        assert [row.miou for row in studio.rows.of(items, pictures)] == [None, None]
        alone = recipe_alone(items[0].checkpoint)  # type: ignore[arg-type]
        studio.measure(alone, shown_pictures(studio, 2))
        assert [row.miou for row in studio.rows.of(items, pictures)] == [None, None], "two pictures are not three"
        miou = studio.measure(alone, pictures)["miou"]
        spent = studio.runner.tally.run
        assert [row.miou for row in studio.rows.of(items, pictures)] == [miou, None]
        assert [row.miou for row in studio.rows.of(items, None)] == [None, None]
        assert studio.runner.tally.run == spent


def test_files_that_are_large_and_not_hashed_are_not_read_for_a_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tiny_world(tmp_path, count=2) as world:
        studio = world.studio
        item, pictures = studio.workspace.items[0], shown_pictures(studio)
        monkeypatch.setattr("fusionlib.studio.rows.HASHED_AT_ONCE", 10)
        assert studio.rows.of([item], pictures)[0].miou is None and not item.checkpoint.hashed  # type: ignore[union-attr]
        studio.measure(recipe_alone(item.checkpoint), pictures)  # type: ignore[arg-type]
        assert studio.rows.of([item], pictures)[0].miou is not None


# --- on the pages -----------------------------------------------------------------------------------------------------


def box(app: AppTest, label: str):
    return next(item for item in app.selectbox if item.label == label)


def test_selectors_and_sets_say_the_score_once_it_is_known_and_keep_their_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened("explore.py", tmp_path / "home", monkeypatch) as open_page:
        files = tiny_files(tmp_path / "files")
        app = open_page("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 2)}")
        box(app, "Checkpoint A").set_value("c0").run()
        assert box(app, "Checkpoint A").options == ["c0 · file", "c1 · file", "c2 · file"]
        studio = server.studio()
        alone = recipe_alone(studio.workspace.get("c0").checkpoint)  # type: ignore[arg-type]
        miou = studio.measure(alone, shown_pictures(studio))["miou"]
        app.run()
        text = f"c0 · {100 * miou:.1f} % · file"
        assert box(app, "Checkpoint A").options[0] == text and box(app, "Checkpoint A").value == "c0"
        app.run()
        assert box(app, "Checkpoint A").value == "c0" and not any("Not here" in item.value for item in app.warning)
        for page, label in (("compare.py", "Checkpoints"), ("diagnostics.py", "Checkpoints")):
            app.switch_page(page).run()
            assert not app.exception
            assert text in next(item for item in app.multiselect if item.label == label).options
        app.switch_page("workspace.py").run()
        table = app.dataframe[0].value
        assert list(table["from"]) == ["file (files)"] * 3
        assert table["mIoU %"][0] == pytest.approx(100 * miou)


def test_the_table_of_the_workspace_says_roles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened("workspace.py", tmp_path / "home", monkeypatch) as open_page:
        folder = tmp_path / "files"
        folder.mkdir()
        save_tensors(folder / "mix.safetensors", tiny_tensors(1), {"recipe": recipe("night.pth", "fog.pth")})
        table = open_page("--checkpoints", str(folder)).dataframe[0].value
        assert list(table["role"]) == ["merge"] and "night, fog" in table["notes"][0]
