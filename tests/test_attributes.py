"""`attributes.csv` beside the pictures: its columns choose pictures, and nothing in it is more than text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fusionlib.data.attributes import LARGEST, LONGEST, attributes_of, choices_of, having
from fusionlib.data.cache import DecodedCache
from fusionlib.data.chosen import chosen
from fusionlib.data.spec import open_dataset
from fusionlib.errors import DataError
from tests.helpers import folder_data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return folder_data(tmp_path / "data", 4)


def opened(data: Path, limit: int | None = None) -> DecodedCache:
    return DecodedCache(open_dataset(f"folder:{data}", limit=limit), 1 << 20)


def write(data: Path, text: str | bytes, place: str = "") -> None:
    path = data / place / "attributes.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


TABLE = "name,weather,camera,id,same\np0,rain,left,1,x\np1.png,sun,left,2,x\np3,rain,right,3,x\n"


@pytest.mark.parametrize("place", ["", "images"])
def test_columns_choose_pictures_by_name_or_file(data: Path, place: str) -> None:
    write(data, TABLE, place)
    found = attributes_of(opened(data))
    assert found["weather"] == ("rain", "sun", "", "rain") and found["camera"] == ("left", "left", "", "right")
    assert choices_of(found)[:2] == ["weather=rain", "weather=sun"]
    assert having(found, ["weather=rain"]) == [0, 3]
    assert having(found, ["weather=rain", "weather=sun", "camera=left"]) == [0, 1]
    assert having(found, []) is None and having(found, ["nothing=here"]) is None
    assert having(found, ["weather=snow"]) == []


def test_a_part_of_the_pictures_has_those_of_the_part(data: Path) -> None:
    write(data, TABLE)
    assert attributes_of(opened(data, limit=2))["weather"] == ("rain", "sun")
    assert attributes_of(chosen(opened(data), [3, 0, 1]))["camera"] == ("right", "left", "left")
    assert "weather" not in attributes_of(chosen(opened(data), [0, 3])), "one value chooses nothing"


def test_without_a_file_there_is_nothing_and_a_changed_one_is_read_anew(data: Path) -> None:
    assert attributes_of(opened(data)) == {}
    write(data, TABLE)
    assert attributes_of(opened(data))
    write(data, "name,road\np0,wet\np1,dry\n")
    os.utime(data / "attributes.csv", ns=(1, 1))
    assert list(attributes_of(opened(data))) == ["road"]


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\xff\xfe", "weather\nrain\n", "name,a,a\n", "name,\n", "name,a=b\n", 'name,a\n"p0', "name," + "a," * 99,
        b"name,a\n" + b"p0,x\n" * (LARGEST // 5), b"\0\0\0\0",
    ],
)  # fmt: skip
def test_what_is_no_such_table_is_refused_in_words(data: Path, text: str | bytes) -> None:
    write(data, text)
    with pytest.raises(DataError, match=r"attributes\.csv"):
        attributes_of(opened(data))


def test_long_values_are_cut_and_a_pipe_is_no_file(data: Path) -> None:
    write(data, f"name,<b>,n\np0,{'x' * 500},1\np1,=HYPERLINK(),2,3,4,5\np2\n")
    found = attributes_of(opened(data))
    assert len(found["<b>"][0]) == LONGEST and found["<b>"][1] == "=HYPERLINK()" and found["<b>"][2] == ""
    (data / "attributes.csv").unlink()
    os.mkfifo(data / "attributes.csv")
    assert attributes_of(opened(data)) == {}
