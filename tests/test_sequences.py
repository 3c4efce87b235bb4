"""Groups of pictures: what the names of files tell, and what each dataset says."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusionlib.contracts import DATASETS
from fusionlib.data.cache import DecodedCache
from fusionlib.data.camvid import _sequences
from fusionlib.data.halves import halves
from fusionlib.data.sequences import frame_groups
from fusionlib.data.spec import open_dataset
from tests.helpers import folder_data


def groups(dataset) -> list[str]:
    return [dataset.group(index) for index in range(len(dataset))]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a1", "a2", "a3"], ["a", "a", "a"]),
        (["drive_0030", "drive_0060", "drive_0090"], ["drive_"] * 3),
        (["drive_01", "drive_02", "drive_05", "drive_06", "drive_07"], ["drive_"] * 5),
        (["0001", "0002"], ["", ""]),
        (["x_07", "y_08"], ["x_07", "y_08"]),
        (["x_1", "x_2", "y_9"], ["x_", "x_", "y_9"]),
        (["2007_000032", "2007_000039", "2007_000063", "2007_000068"], None),
        (["000000000139", "000000000285"], None),
        (["park", "street", "bridge"], None),
        (["s_01_left8bit", "s_02_left8bit", "s_03_left8bit"], ["s_"] * 3),
        (["s_10_left8bit", "s_20_left8bit", "s_30_left8bit"], ["s_"] * 3),
        (["v2_cam", "v2_map"], None),
        (["only7"], None),
        ([], []),
    ],
)
def test_frames_of_one_sequence_belong_together_and_all_else_stands_alone(names, found) -> None:
    assert list(frame_groups(names)) == (names if found is None else found)


def test_one_odd_step_is_no_rhythm_and_missing_frames_break_none() -> None:
    every = [f"f{number:03}" for number in range(60)]
    assert set(frame_groups(every[:20] + every[40:])) == {"f"}
    primes = [number for number in range(2, 200) if all(number % other for other in range(2, number))]
    assert len(set(frame_groups([f"f{number:03}" for number in primes]))) == len(primes)
    assert set(frame_groups(["f1", "f2", "f2b"])) == {"f"}


def test_camvid_s_sequences_stand_in_its_file_names() -> None:
    names = ["0001TP_006690", "0001TP_006720", "0006R0_f00930", "0016E5_07959", "Seq05VD_f02610", "plain", "p1", "p2"]
    assert _sequences(names) == ("0001TP", "0001TP", "0006R0", "0016E5", "Seq05VD", "plain", "p", "p")


def test_every_scene_is_its_own() -> None:
    for kind in ("clear", "all"):
        assert len(set(groups(open_dataset(f"streets:{kind}:12")))) == 12


def test_parts_of_a_dataset_have_the_groups_of_the_whole(tmp_path: Path) -> None:
    spec = f"folder:{folder_data(tmp_path, 5)}"
    for extra in ("q.png", "r17.png"):
        for part in ("images", "masks"):
            (tmp_path / part / extra).write_bytes((tmp_path / part / "p0.png").read_bytes())
    whole = open_dataset(spec)
    assert groups(whole) == ["p"] * 5 + ["q", "r17"]
    assert groups(open_dataset(spec, limit=1)) == ["p"]
    cached = DecodedCache(whole, 0)
    assert groups(cached) == groups(whole)
    assert [groups(half) for half in halves(cached)] == [groups(whole)[::2], groups(whole)[1::2]]
    assert groups(DATASETS.get("pictures").open(str(tmp_path / "images"), None)) == groups(whole)


@pytest.mark.real
def test_camvid_as_it_is_has_one_drive_in_val_and_three_sequences_in_train(real_data: Path) -> None:
    val, train = (groups(open_dataset(f"camvid:{real_data / 'camvid'}@{split}")) for split in ("val", "train"))
    assert (len(val), set(val)) == (101, {"0016E5"})
    assert {name: train.count(name) for name in train} == {"0001TP": 62, "0006R0": 101, "0016E5": 204}
