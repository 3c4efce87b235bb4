"""`split.mat` of GTA5: a MATLAB file from outside, read within limits, against scipy's own reader and writer."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from test_trees import IDS, gta_as

from fusionlib.data import mat_numbers
from fusionlib.data.mat_numbers import read_numbers
from fusionlib.data.spec import open_dataset, splits_of
from fusionlib.errors import DataError

SPLIT = {"trainIds": [[1]], "valIds": [[2]], "testIds": [[3], [4]]}


def split_file(path: Path, content: dict[str, Any], compressed: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {name: np.array(values) for name, values in content.items()}, do_compression=compressed)
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["u1", "u2", "i4", "i8", "f4", "f8"])
def test_numbers_are_those_that_scipy_reads(kind: str, compressed: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    content = {
        "trainIds": rng.integers(0, 127, (300, 1)).astype(kind),
        "square": np.arange(6).reshape(2, 3).astype(kind),
        "one": np.ones((1, 1), kind),
        "empty": np.zeros((0, 0)),
    }
    others = {
        "text": "abc",
        "cell": np.array([1, "x"], object),
        "half": 0.5,
        "nan": np.nan,
        "complex": 1j,
        "s": {"a": 1},
    }
    path = split_file(tmp_path / "x.mat", content | others, compressed)
    found, theirs = read_numbers(path, "numbers"), loadmat(path)
    assert found.keys() == content.keys()
    for name, values in found.items():
        assert values.dtype == np.int64 and np.array_equal(values, theirs[name].reshape(-1, order="F"))


@pytest.mark.parametrize("place", ["split.mat", "read_mapping/split.mat"])
def test_splits_are_those_of_the_file(place: str, tmp_path: Path) -> None:
    gta_as(IDS, True)(tmp_path)
    assert splits_of(f"gta:{tmp_path}") == ()
    split_file(tmp_path / place, SPLIT)
    assert splits_of(f"gta:{tmp_path}") == ("train", "val", "test")
    for split, name in (("train", "00001"), ("val", "00002")):
        dataset = open_dataset(f"gta:{tmp_path}@{split}")
        assert [dataset.name(index) for index in range(len(dataset))] == [name] and dataset.notes == ()
    assert open_dataset(f"gta:{tmp_path}").title == "GTA5 val"
    with pytest.raises(DataError, match="None of the 2 pictures"):
        open_dataset(f"gta:{tmp_path}@test")


def test_pictures_that_are_listed_and_not_there_are_counted(tmp_path: Path) -> None:
    gta_as(IDS, True)(tmp_path)
    split_file(tmp_path / "split.mat", SPLIT | {"valIds": [[1], [2], [2], [90]]})
    dataset = open_dataset(f"gta:{tmp_path}@val")
    assert len(dataset) == 2 and dataset.notes == ("1 of 3 pictures that split.mat lists are not here",)
    (tmp_path / "labels/00001.png").unlink()
    with pytest.raises(DataError, match=r"00001\.png has no mask"):
        open_dataset(f"gta:{tmp_path}@val")


def test_folders_go_before_and_without_either_a_part_is_offered(tmp_path: Path) -> None:
    gta_as(IDS, True)(tmp_path / "plain")
    with pytest.raises(DataError, match=r"@part:1/3:0"):
        open_dataset(f"gta:{tmp_path}/plain@val")
    assert len(open_dataset(f"gta:{tmp_path}/plain@part:1/2:0")) == 1
    for side in ("images", "labels"):
        (tmp_path / "sorted" / side).mkdir(parents=True)
        (tmp_path / "plain" / side).rename(tmp_path / "sorted" / side / "night")
    split_file(tmp_path / "sorted/split.mat", SPLIT)
    assert splits_of(f"gta:{tmp_path}/sorted") == ("night",) and len(open_dataset(f"gta:{tmp_path}/sorted")) == 2


def test_a_file_without_the_three_lists_is_refused(tmp_path: Path) -> None:
    gta_as(IDS, True)(tmp_path)
    split_file(tmp_path / "split.mat", {"trainIds": [[1]], "valIds": [[0.5]]})
    with pytest.raises(DataError, match=r"split\.mat has no valIds, testIds"):
        open_dataset(f"gta:{tmp_path}")


HEAD = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"


def packed(size: int) -> bytes:
    """A compressed element that unpacks to so many bytes."""
    content = zlib.compress(struct.pack("<II", 14, size) + bytes(size), 9)
    return struct.pack("<II", 15, len(content)) + content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MATLAB",
        HEAD[:127],
        HEAD[:124] + struct.pack("<H", 0x0200) + b"IM",
        HEAD[:124] + b"\x01\x00XX",
        HEAD + struct.pack("<II", 14, 0xFFFFFFFF),
        HEAD + struct.pack("<II", 15, 8) + b"no deflate",
        HEAD + packed(1 << 20) * 20,
        HEAD + packed(64 << 20),
        HEAD + struct.pack("<II", 15, 20) + zlib.compress(bytes(9999))[:20],
    ],
)
def test_a_file_that_is_none_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "split.mat"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"split\.mat cannot be read"):
        read_numbers(path, "numbers")


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mat_numbers, "LARGEST", 100)
    with pytest.raises(DataError, match="0 MB"):
        read_numbers(split_file(tmp_path / "split.mat", SPLIT), "numbers")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_file_is_refused_or_read_as_numbers(compressed: bool, tmp_path: Path) -> None:
    path = split_file(tmp_path / "split.mat", SPLIT | {"more": np.arange(50)}, compressed)
    whole = path.read_bytes()
    for place in range(100, len(whole), 9):
        for content in (whole[:place], whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]):
            path.write_bytes(content)
            with suppress(DataError):
                assert all(values.dtype == np.int64 for values in read_numbers(path, "numbers").values())
