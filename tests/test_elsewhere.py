"""A spec that finds no pictures says where there are some, and how they are opened."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers import folder_data
from PIL import Image

from fusionlib.data.elsewhere import specs_below
from fusionlib.data.spec import open_dataset
from fusionlib.errors import DataError


def pictures(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("a.png",):
        Image.new("L", (8, 6)).save(folder / name)


def split(root: Path, name: str, count: int = 1) -> None:
    """A split of a labelled folder."""
    for part in ("images", "masks"):
        pictures(root / part / name, *(f"{number}.png" for number in range(count)))
    (root / "classes.yaml").write_text("classes: [a]")


def offered(spec: str) -> dict[str, int]:
    """The specs that the error of `spec` offers, all of which open as many pictures as it says."""
    with pytest.raises(DataError) as error:
        open_dataset(spec)
    found = {name: int(count) for name, count in re.findall(r"(\w+:\S+) has (\d+)", error.value.do)}
    assert {name: len(open_dataset(name)) for name in found} == found
    return found


def test_an_empty_split_names_the_others(tmp_path):
    split(tmp_path, "train", 3), split(tmp_path, "test", 2)
    for part in ("images", "masks"):
        (tmp_path / part / "val").mkdir()
    assert offered(f"folder:{tmp_path}@val") == {f"folder:{tmp_path}@train": 3, f"folder:{tmp_path}@test": 2}


def test_camvid_without_val_names_what_there_is(tmp_path):
    for name in ("train", "trainannot", "test", "testannot"):
        pictures(tmp_path / name, "a.png", "b.png")
    there = {f"camvid:{tmp_path}@train": 2, f"camvid:{tmp_path}@test": 2}
    assert offered(f"camvid:{tmp_path}") == there
    (tmp_path / "val").mkdir(), (tmp_path / "valannot").mkdir()
    assert offered(f"camvid:{tmp_path}@val") == there


def test_the_folder_itself_named_in_place_of_the_one_above(tmp_path):
    for name in ("val", "valannot"):
        pictures(tmp_path / name)
    assert f"camvid:{tmp_path}@val" in offered(f"camvid:{tmp_path / 'val'}")
    folder_data(tmp_path / "town", 2)
    assert f"folder:{tmp_path / 'town'}" in offered(f"folder:{tmp_path / 'town' / 'images'}")


def test_plain_pictures_further_down(tmp_path):
    (
        pictures(tmp_path / "2024" / "june", "a.JPG", "b.png"),
        pictures(tmp_path / ".cache"),
        pictures(tmp_path / "a" / "b" / "c" / "d" / "e"),
    )
    (tmp_path / "notes.txt").write_text("")
    assert offered(f"pictures:{tmp_path}") == {f"pictures:{tmp_path / '2024' / 'june'}": 2}
    with pytest.raises(DataError, match=r"skipped there: .*notes\.txt"):
        open_dataset(f"pictures:{tmp_path}")
    (tmp_path / "empty").mkdir()
    assert offered(f"pictures:{tmp_path / 'empty'}") == {}


def test_cityscapes_named_as_something_else(tmp_path):
    for kind, name in (("leftImg8bit", "x_1_leftImg8bit.png"), ("gtFine", "x_1_gtFine_labelIds.png")):
        pictures(tmp_path / kind / "val" / "x", name)
    for kind in ("folder", "camvid", "pictures"):
        assert offered(f"{kind}:{tmp_path}") == {f"cityscapes:{tmp_path}@val": 1}


def test_a_folder_that_ends_nowhere_is_soon_left(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}" / "a").mkdir(parents=True)
        (tmp_path / f"{number}" / "loop").symlink_to(tmp_path)
    pictures(tmp_path / "pictures")
    assert specs_below(tmp_path, Path("here")) == {"pictures:here/pictures": 1}
