"""Keys of single pictures: the same content has one key wherever it lies, other content or other meaning another."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionlib.data import files
from fusionlib.data.cache import DecodedCache
from fusionlib.data.halves import halves
from fusionlib.data.spec import open_dataset
from fusionlib.errors import ChangedDataError


def drawn(folder: Path, names: list[str], classes: str = "classes: [road, car]\n") -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    (folder / "classes.yaml").write_text(classes)
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
        Image.fromarray(pixels[..., 0] % 2).save(folder / "masks" / f"{name}.png")
    return folder


def keys(dataset) -> list[str]:
    return [dataset.picture_key(index) for index in range(len(dataset))]


def test_neither_name_nor_place_counts_and_a_part_has_the_keys_of_the_whole(tmp_path: Path) -> None:
    whole = open_dataset(f"folder:{drawn(tmp_path / 'a', ['x', 'y', 'z'])}", None, None)
    other = open_dataset(f"folder:{drawn(tmp_path / 'b', ['p', 'q', 'r'])}", None, None)
    assert keys(whole) == keys(other) and len(set(keys(whole))) == 3
    assert keys(open_dataset(whole.spec, None, 2)) == keys(whole)[:2]
    cached = DecodedCache(whole, 0)
    assert [keys(half) for half in halves(cached)] == [keys(whole)[::2], keys(whole)[1::2]]


def test_another_mask_or_another_meaning_is_another_key(tmp_path: Path) -> None:
    first = open_dataset(f"folder:{drawn(tmp_path / 'a', ['x'])}", None, None)
    before = keys(first)
    renamed = open_dataset(f"folder:{drawn(tmp_path / 'b', ['x'], 'classes: [car, road]')}", None, None)
    assert keys(renamed) != before
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "a" / "masks" / "x.png")
    assert keys(first) != before


def test_scenes_have_the_same_key_in_every_count() -> None:
    assert keys(open_dataset("streets:clear:4", "val", None))[:2] == keys(open_dataset("streets:clear:2", "val", None))
    kinds = {
        open_dataset(f"streets:{kind}:1", split, None).picture_key(0)
        for kind in ("fog", "clear")
        for split in ("val", "train")
    }
    assert len(kinds) == 4


def test_a_picture_that_changed_since_it_was_opened_is_not_taken_for_what_it_was(tmp_path: Path) -> None:
    folder = drawn(tmp_path / "a", ["x", "y"])
    pictures = DecodedCache(open_dataset(f"folder:{folder}", None, None), 1 << 20)
    pictures.load(0)
    shutil.copy(folder / "images" / "x.png", folder / "images" / "y.png")
    pictures.load(0)
    with pytest.raises(ChangedDataError):
        pictures.load(1)


def test_nor_is_a_large_one_whose_reduced_form_is_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "WHOLE_PIXELS", 12)
    folder = drawn(tmp_path / "a", ["x", "y"])
    pictures = DecodedCache(open_dataset(f"folder:{folder}", None, None), 1 << 20, tiles=True)
    assert pictures.load(1).scale > 1 and pictures.load(1, whole=True).image.shape == (6, 8, 3)
    shutil.copy(folder / "images" / "x.png", folder / "images" / "y.png")
    with pytest.raises(ChangedDataError):
        pictures.load(1, whole=True)
