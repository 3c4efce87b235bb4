"""The workspace: what is loaded, under which names, and uploads that never become paths."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path

import pytest
from helpers import folder_data, tiny_file, tiny_registered, tiny_tensors
from PIL import Image
from safetensors.torch import save

from fusionlib.errors import CheckpointError, DataError, FusionError, UsageError
from fusionlib.studio import Options, Workspace


def opened(tmp_path: Path, *folders: Path, **options) -> Workspace:
    return Workspace(Options(checkpoints=folders, demo=False, home=tmp_path / "home", **options))


def names(workspace: Workspace) -> list[str]:
    return [item.name for item in workspace.items]


def checkpoint_bytes(seed: int = 1) -> bytes:
    return save(tiny_tensors(seed))


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (10, 20, 30)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def registered():
    with tiny_registered():
        yield


def test_a_broken_file_is_listed_with_its_problem_and_the_others_work(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    tiny_file(folder, "good", 1)
    (folder / "torn.pth").write_bytes(tiny_file(folder, "x", 2).read_bytes()[:500])
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "notes.txt").write_text("not a checkpoint")
    workspace = opened(tmp_path, folder)
    assert names(workspace) == ["empty", "good", "torn", "x"]
    assert [item.name for item in workspace.usable()] == ["good", "x"]
    problems = {item.name: item.problem for item in workspace.items if item.problem}
    assert set(problems) == {"empty", "torn"}
    assert all(name in problem.got and problem.do for name, problem in problems.items())
    with pytest.raises(CheckpointError, match="torn"):
        workspace.get("torn")
    good = workspace.get("good")
    assert good.known == ("tiny", 3) and good.architecture is not None and good.architecture[1] == 3
    assert good.signature == workspace.get("x").signature != ""
    assert workspace.preflight(["good", "x"]).compatible


def test_an_unknown_name_is_answered_with_the_names(tmp_path: Path) -> None:
    tiny_file(tmp_path / "files", "good", 1)
    workspace = opened(tmp_path, tmp_path / "files")
    with pytest.raises(UsageError, match="one of good"):
        workspace.get("../files/good")
    with pytest.raises(UsageError, match="No data"):
        workspace.pictures("nothing", None)


def test_names_are_unique_and_stay_so(tmp_path: Path) -> None:
    folders = [tmp_path / one / "run" for one in "abc"]
    for seed, folder in enumerate(folders):
        tiny_file(folder, "epoch", seed)
    workspace = opened(tmp_path, *folders)
    for _ in range(2):
        assert len(set(names(workspace))) == 3
        assert {workspace.get(name).checkpoint.path for name in names(workspace)} == {
            folder / "epoch.pth" for folder in folders
        }
        workspace.refresh()


def test_a_folder_that_is_missing_is_listed_not_fatal(tmp_path: Path) -> None:
    workspace = opened(tmp_path, tmp_path / "nowhere", tiny_file(tmp_path, "single", 1))
    assert [(item.name, item.problem is None) for item in workspace.items] == [("nowhere", False), ("single", True)]


def test_a_refresh_sees_changes_and_does_not_open_the_rest_again(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    tiny_file(folder, "a", 1)
    workspace = opened(tmp_path, folder)
    before = workspace.get("a").checkpoint
    tiny_file(folder, "b", 2)
    workspace.refresh()
    assert names(workspace) == ["a", "b"] and workspace.get("a").checkpoint is before
    (folder / "a.pth").unlink()
    workspace.refresh()
    assert names(workspace) == ["b"]


def test_a_model_that_fails_on_one_file_is_that_files_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "fusionlib.studio.workspace.recognise", lambda shapes: (_ for _ in ()).throw(UsageError("a", "b", "c"))
    )
    tiny_file(tmp_path / "files", "a", 1)
    assert [str(item.problem) for item in opened(tmp_path, tmp_path / "files").items] == ["a. Needs: b. c."]


def test_data_is_listed_by_short_names_that_tell_no_path(tmp_path: Path) -> None:
    specs = [f"folder:{folder_data(tmp_path / one / 'town', 1)}" for one in "ab"]
    workspace = opened(tmp_path, data=(*specs, "streets:night:3@val", "nonsense:x", f"folder:{tmp_path}/nowhere"))
    found = {source.name: source for source in workspace.sources}
    assert len(found) == 5
    assert not any(str(tmp_path) in name for name in found)
    assert [source.problem is None for source in workspace.sources] == [True, True, True, False, False]
    assert len(workspace.pictures(workspace.sources[2].name, "val")) == 3
    with pytest.raises(FusionError):
        workspace.pictures(workspace.sources[4].name, None)


@pytest.mark.parametrize(
    "text",
    [
        "classes: 2001-99-99",
        "classes: !!int abc",
        "classes: !!bool maybe",
        "classes: !!timestamp no",
        "classes: " + "[" * 20_000,
        "!!python/object/apply:os.system ['touch pwned']",
    ],
)
def test_hostile_class_files_are_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    (folder_data(tmp_path / "town", 1) / "classes.yaml").write_text(text)
    workspace = opened(tmp_path, data=(f"folder:{tmp_path / 'town'}",))
    with pytest.raises(DataError, match=r"classes\.yaml"):
        workspace.pictures(workspace.sources[0].name, None)
    assert not (tmp_path / "pwned").exists()


def test_pictures_are_decoded_once_for_all(tmp_path: Path) -> None:
    workspace = opened(tmp_path, data=(f"folder:{folder_data(tmp_path / 'town', 2)}",))
    name = workspace.sources[0].name
    assert workspace.pictures(name, None) is workspace.pictures(name, None)
    assert workspace.pictures(name, None, 1) is not workspace.pictures(name, None)
    progress: list[tuple[int, int]] = []
    assert workspace.check_data(name, None, lambda *at: progress.append(at)) == (2, (), ())
    assert progress == [(1, 2), (2, 2)]
    Image.new("L", (64, 48), 77).save(tmp_path / "town" / "masks" / "p1.png")
    with pytest.raises(DataError, match=r"p1\.png has unknown ids 77"):
        workspace.check_data(name, None)


# --- uploads ----------------------------------------------------------------------------------------------------------

NASTY = [
    "../../escape.safetensors",
    "/etc/passwd.safetensors",
    "..\\..\\win.safetensors",
    "C:\\x.safetensors",
    "ünï cödé 🚗.safetensors",
    "a" * 300 + ".safetensors",
    ".hidden.safetensors",
    "line\nbreak.safetensors",
    "nul\0byte.safetensors",
    "%2e%2e%2f.safetensors",
    "names.json.safetensors",
    "-rf.safetensors",
    "<script>.safetensors",
]


def all_files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", NASTY)
def test_a_name_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    workspace = opened(tmp_path)
    content = checkpoint_bytes()
    before = all_files(tmp_path)
    workspace.add_upload(name, content)
    folder = tmp_path / "home" / "uploads"
    assert all_files(tmp_path) - before == {
        folder / f"{hashlib.sha256(content).hexdigest()}.safetensors",
        folder / "names.sqlite",
    }
    item = workspace.items[0]
    assert item.problem is None and item.origin == "upload" and len(item.name) <= 80


@pytest.mark.parametrize("name", [name.replace(".safetensors", ".png") for name in NASTY] + ["🚗" * 300 + ".jpeg"])
def test_neither_does_that_of_a_picture(tmp_path: Path, name: str) -> None:
    workspace = opened(tmp_path)
    before = all_files(tmp_path)
    workspace.add_upload(name, png())
    new = all_files(tmp_path) - before
    assert {path.parent for path in new} == {tmp_path / "home" / "uploads" / "pictures", tmp_path / "home" / "uploads"}
    assert len(new) == 2 and not any(path.name.startswith(".") for path in new)
    assert len(workspace.pictures(workspace.sources[0].name, None)) == 1


def test_the_same_content_is_stored_once_and_survives_a_reload(tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    workspace.add_upload("one.safetensors", checkpoint_bytes(1))
    workspace.add_upload("two.safetensors", checkpoint_bytes(1))
    workspace.add_upload("other.safetensors", checkpoint_bytes(2))
    assert len(workspace.items) == 2
    again = opened(tmp_path)
    assert sorted(names(again)) == ["other", "two"]
    (tmp_path / "home" / "uploads" / "names.sqlite").write_bytes(b"broken" * 1000)
    assert len(opened(tmp_path).usable()) == 2, "names are a convenience"
    again.add_upload("anew.safetensors", checkpoint_bytes(1))
    assert "anew" in names(opened(tmp_path)), "a damaged table is begun anew"


def test_two_processes_do_not_lose_each_others_names(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    first.add_upload("one.safetensors", checkpoint_bytes(1))
    second.add_upload("two.safetensors", checkpoint_bytes(2))
    first.add_upload("three.safetensors", checkpoint_bytes(3))
    for workspace in (first, second, opened(tmp_path)):
        workspace.refresh()
        assert sorted(names(workspace)) == ["one", "three", "two"]


def test_names_of_an_earlier_version_are_taken_over_once_and_those_of_no_file_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "uploads"
    folder.mkdir(parents=True)
    (folder / "x.safetensors").write_bytes(checkpoint_bytes(1))
    (folder / "names.json").write_text(
        json.dumps({"x.safetensors": "mine", "gone.safetensors": "secret of a refused upload"})
    )
    assert names(opened(tmp_path)) == ["mine"]
    assert sorted(os.listdir(folder)) == ["names.sqlite", "x.safetensors"]
    assert b"refused" not in (folder / "names.sqlite").read_bytes()
    (folder / "names.json").write_text("[broken")
    assert names(opened(tmp_path)) == ["mine"] and not (folder / "names.json").exists()


def test_removing_can_be_undone_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = opened(tmp_path, tiny_file(tmp_path, "own", 3))
    content = checkpoint_bytes(1)
    workspace.add_upload("mine.safetensors", content)
    removed = workspace.remove_upload("mine")
    assert (
        names(workspace) == names(opened(tmp_path, tmp_path / "own.pth")) == ["own"]
        and removed[1].read_bytes() == content
    )
    workspace.restore_upload(removed)
    assert names(workspace) == ["own", "mine"] and workspace.get("mine").problem is None
    late = workspace.remove_upload("mine")
    monkeypatch.setattr("fusionlib.runs.uploads.REMOVED_SECONDS", -1)
    workspace.add_upload("next.safetensors", checkpoint_bytes(2))
    workspace.remove_upload("next")
    with pytest.raises(UsageError, match="too long ago"):
        workspace.restore_upload(late)
    with pytest.raises(UsageError, match="no upload"):
        workspace.remove_upload("own")
    assert (tmp_path / "own.pth").exists()


def test_what_is_too_large_or_of_another_kind_is_not_kept(tmp_path: Path) -> None:
    workspace = opened(tmp_path, upload_mb=1)
    for name, content, said in (
        ("big.safetensors", bytes((1 << 20) + 1), "at most 1 MB"),
        ("run.py", b"x", "ends in .py"),
        ("nothing", b"x", "ends in nothing"),
        (".pth", b"x", "ends in nothing"),
        ("x.yaml", b"x", "ends in .yaml"),
    ):
        with pytest.raises(UsageError, match=said):
            workspace.add_upload(name, content)
    assert not (tmp_path / "home").exists() or all_files(tmp_path / "home") == set()
    workspace.add_upload("fits.safetensors", memoryview(checkpoint_bytes()))
    assert names(workspace) == ["fits"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bad.safetensors", b"nonsense"),
        ("bad.pth", b""),
        ("code.pth", b"cos\nsystem\n(S'true'\ntR."),
        ("bad.png", b"not a picture"),
        ("torn.png", png()[:40]),
        ("bad.jpg", b"<html>"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_own_name_and_not_kept(tmp_path: Path, name: str, content: bytes) -> None:
    workspace = opened(tmp_path)
    workspace.add_upload("good.png", png())
    with pytest.raises(FusionError) as caught:
        workspace.add_upload(name, content)
    assert name in caught.value.got and str(tmp_path) not in str(caught.value)
    assert workspace.items == ()
    assert sorted(os.listdir(tmp_path / "home" / "uploads")) == ["names.sqlite", "pictures"]
    kept = (tmp_path / "home" / "uploads" / "names.sqlite").read_bytes()
    assert b"good" in kept and Path(name).stem.encode() not in kept
    assert len(workspace.pictures(workspace.sources[0].name, None)) == 1, "the good one is still there"


def test_a_folder_without_checkpoints_is_named(tmp_path: Path) -> None:
    tiny_file(tmp_path / "outer" / "inner", "x", 1)
    workspace = opened(tmp_path, tmp_path / "outer")
    assert workspace.empty_folders() == ("outer",) and workspace.items == ()
    assert opened(tmp_path, tmp_path / "outer" / "inner").empty_folders() == ()
