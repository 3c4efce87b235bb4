"""One listing rule for checkpoints, pictures and masks: hidden files out, endings in any case, and what is passed over
is said.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers import folder_data, tiny_file, tiny_registered

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.data.spec import open_dataset
from fusionlib.errors import CheckpointError, DataError
from fusionlib.listing import CHECKPOINT_ENDINGS, PICTURE_ENDINGS, list_folder, skipped_notes
from fusionlib.runs.uploads import UploadFolder
from fusionlib.studio import Options, Workspace


def touched(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("endings", "taken"), [(CHECKPOINT_ENDINGS, ["B.PTH", "a.pt", "c.pth.tar"]), (PICTURE_ENDINGS, ["D.JPeG", "e.png"])]
)
def test_every_entry_is_taken_or_counted(tmp_path: Path, endings: tuple[str, ...], taken: list[str]) -> None:
    touched(tmp_path, "a.pt", "B.PTH", "c.pth.tar", "D.JPeG", "e.png", ".e.png", "._a.pt", ".pt", "notes.txt", "pt")
    for name in ("old", "x.pt", ".git"):
        (tmp_path / name).mkdir()
    listing = list_folder(tmp_path, endings)
    assert [path.name for path in listing.files] == taken
    assert [path.name for path in listing.folders] == ["old", "x.pt"]
    assert listing.hidden == ("._a.pt", ".e.png", ".git", ".pt")
    everything = [*(path.name for path in (*listing.files, *listing.folders)), *listing.hidden, *listing.other]
    assert sorted(everything) == sorted(os.listdir(tmp_path))
    assert sum(map(len, listing.skipped.values())) == len(everything) - len(taken)


def test_what_was_passed_over_is_said_in_a_line(tmp_path: Path) -> None:
    folder = touched(
        tmp_path / "masks",
        "a.png",
        *(f"{letter}.jpg" for letter in "abcd"),
        ".DS_Store",
        "evil\n\x1b[31m.txt",
        "x" * 200,
    )
    (folder / "old").mkdir()
    (note,) = skipped_notes(
        [list_folder(folder, (".png",)), list_folder(touched(tmp_path / "full", "a.png"), (".png",))]
    )
    assert (
        note
        == "Skipped in masks: 6 files of another kind (a.jpg, b.jpg, c.jpg, ...), 1 hidden file (.DS_Store), 1 folder"
        " (old)"
    )
    assert skipped_notes([list_folder(tmp_path / "full", (".png",))]) == ()
    (strange,) = skipped_notes([list_folder(folder, (".png", ".jpg"))])
    assert r"evil\n\x1b[31m.txt" in strange and "x" * 41 not in strange
    (many,) = skipped_notes(
        [list_folder(touched(tmp_path / f"city{number}", ".DS_Store"), (".png",)) for number in range(5)]
    )
    assert many == "Skipped in 5 folders: 5 hidden files (.DS_Store, .DS_Store, .DS_Store, ...)"


def test_a_workspace_takes_checkpoints_in_capitals_and_says_what_it_left(tmp_path: Path) -> None:
    with tiny_registered():
        files = tmp_path / "runs"
        tiny_file(files, "a", 1).rename(files / "A.PTH")
        (files / "b.pth.tar").write_bytes((files / "A.PTH").read_bytes())
        touched(files, "log.txt", "._A.PTH")
        (files / "wandb").mkdir()
        workspace = Workspace(Options(checkpoints=(files,), demo=False, home=tmp_path / "home"))
        assert [(item.name, item.problem) for item in workspace.items] == [("A", None), ("b.pth", None)]
        assert workspace.skipped() == (
            "Skipped in runs: 1 file of another kind (log.txt), 1 hidden file (._A.PTH), 1 folder (wandb)",
        )
        single = Workspace(Options(checkpoints=(files / "A.PTH",), demo=False, home=tmp_path / "home"))
        assert len(single.items) == 1 and single.skipped() == ()


def test_folders_below_an_empty_one_are_named(tmp_path: Path) -> None:
    touched(tmp_path / "outer" / "epochs", "a.PT")
    touched(tmp_path / "outer" / "logs", "a.txt")
    workspace = Workspace(Options(checkpoints=(tmp_path / "outer",), demo=False, home=tmp_path / "home"))
    assert workspace.empty_folders() == ("outer",) and workspace.folders_below() == ("outer/epochs",)


def test_a_folder_that_is_no_checkpoint_names_its_files_whatever_their_case(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"\*\.PTH .*\*\.tar"):
        open_checkpoint(touched(tmp_path / "runs", "A.PTH", "b.pth.tar", "._c.bin"))


def test_uploads_are_listed_by_the_same_rule(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path / "uploads", 1 << 20)
    assert not uploads.has_pictures() and uploads.checkpoints() == []
    kept = [uploads.add(name, name.encode()) for name in ("A.PTH", "b.pth.TAR", "P.PNG")]
    touched(uploads.folder, "._x.pth"), touched(uploads.pictures, ".y.png")
    assert sorted(uploads.checkpoints()) == sorted(kept[:2]) and uploads.has_pictures()
    kept[2].unlink()
    assert not uploads.has_pictures()


def test_data_says_what_it_left(tmp_path: Path) -> None:
    folder = folder_data(tmp_path / "town", 2)
    assert open_dataset(f"folder:{folder}").notes == ()
    touched(folder / "images", "Thumbs.db", "._p0.png"), touched(folder / "masks", "p0.json", "p1.JPG")
    (folder / "images" / "p0.png").rename(folder / "images" / "p0.PNG")
    (note,) = open_dataset(f"folder:{folder}", limit=1).notes
    assert (
        note == "Skipped in images: 1 file of another kind (Thumbs.db), 1 hidden file (._p0.png); "
        "masks: 2 files of another kind (p0.json, p1.JPG)"
    )
    plain = open_dataset(f"pictures:{folder / 'images'}")
    assert len(plain) == 2 and "Thumbs.db" in plain.notes[0]
    (folder / "masks" / "p1.png").unlink()
    with pytest.raises(DataError, match=r"p1\.png has no mask in .*masks; skipped there: .*p1\.JPG"):
        open_dataset(f"folder:{folder}")


def test_links_of_the_operator_may_lead_anywhere(tmp_path: Path) -> None:
    folder, store = folder_data(tmp_path / "town", 2), tmp_path / "blobs"
    store.mkdir()
    for kind in ("images", "masks"):
        (folder / kind / "p0.png").rename(store / kind)
        (folder / kind / "p0.png").symlink_to(Path("..", "..", "blobs", kind))
    before = [open_dataset(f"folder:{folder}").load(index).truth.tolist() for index in range(2)]
    (folder / "masks").rename(store / "all")
    (folder / "masks").symlink_to(store / "all")
    (store / "all" / "p0.png").unlink(), (store / "all" / "p0.png").symlink_to(store / "masks")
    (tmp_path / "link").symlink_to(folder)
    assert [open_dataset(f"folder:{tmp_path / 'link'}").load(index).truth.tolist() for index in range(2)] == before
