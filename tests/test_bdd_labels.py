"""Labels of BDD100K, lists of gigabytes, read entry by entry; and pictures chosen by what is known of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_trees import acdc, bdd

from fusionlib.data import bdd100k, json_entries
from fusionlib.data.attributes import attributes_of
from fusionlib.data.json_entries import entries
from fusionlib.data.spec import open_dataset, parse_spec
from fusionlib.errors import DataError, UsageError


def labels(name: str, weather: Any = "rainy", time: Any = "night") -> dict[str, Any]:
    """What the download says of a picture, with a box that is passed over."""
    box = {"category": "car", "attributes": {"occluded": False}, "box2d": {"x1": 1.5, "y1": 2, "x2": 3, "y2": 4}}
    about = {"weather": weather, "scene": "city street", "timeofday": time}
    return {"name": f"{name}.jpg", "attributes": about, "timestamp": 10000, "labels": [box]}


def labelled(root: Path, *told: Any, name: str = "labels/bdd100k_labels_images_train.json") -> Path:
    bdd(root)
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=4))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "labels/bdd100k_labels_images_val.json",
        "bdd100k_labels_release/bdd100k/labels/bdd100k_labels_images_train.json",
        "labels/det_20/det_val.json",
    ],
)
def test_weather_scene_and_time_are_attributes_where_the_labels_lie_beside(name: str, tmp_path: Path) -> None:
    labelled(tmp_path, labels("elsewhere"), labels("0a2", "clear", "daytime"), labels("0a1"), name=name)
    dataset = open_dataset(f"bdd100k:{tmp_path}")
    assert attributes_of(dataset) == {"weather": ("rainy", "clear"), "timeofday": ("night", "daytime")}
    assert dataset.notes == () and open_dataset(f"bdd100k:{tmp_path}@test").notes[-1].startswith("The test split")


def test_pictures_without_labels_are_counted(tmp_path: Path) -> None:
    labelled(tmp_path, labels("0a1"), name="labels/bdd100k_labels_images_train.json")
    labelled(tmp_path, labels("zz"), name="labels/bdd100k_labels_images_val.json")
    dataset = open_dataset(f"bdd100k:{tmp_path}")
    assert dataset.notes == ("Of 1 of 2 pictures the labels say no weather, scene or time of day",)
    assert attributes_of(dataset)["weather"] == ("rainy", "")


def test_a_table_of_ones_own_goes_before(tmp_path: Path) -> None:
    labelled(tmp_path, labels("0a1"), labels("0a2", "clear"))
    (tmp_path / "images/10k/val/attributes.csv").write_text("name,weather\n0a1,wet\n0a2,dry\n")
    assert attributes_of(open_dataset(f"bdd100k:{tmp_path}"))["weather"] == ("wet", "dry")


def test_odd_entries_say_nothing(tmp_path: Path) -> None:
    odd = [3, None, "0a1", ["0a1"], {"name": 3}, {"name": "0a1.jpg"}, {"name": "0a1.jpg", "attributes": []}]
    labelled(tmp_path, *odd, labels("0a1", 7, "x" * 500), labels("0a2", None, "night"))
    found = attributes_of(open_dataset(f"bdd100k:{tmp_path}"))
    assert found == {"timeofday": ("x" * 60, "night")}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[",
        "[1",
        "[1 2]",
        "[1,]",
        "[,1]",
        "[" * 100_000,
        '[{"a": ' * 9000,
        '["\xe9',
        "[1" * 3,
        "[" + "9" * 9000,
    ],
)
def test_labels_that_are_none_are_refused_by_name(text: str, tmp_path: Path) -> None:
    labelled(tmp_path).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"bdd100k_labels_images_train\.json cannot be read"):
        open_dataset(f"bdd100k:{tmp_path}")


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_entries_are_those_of_the_list_however_it_is_cut(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_entries, "_CHUNK", chunk)
    path = tmp_path / "x.json"
    told = [labels("a", 'é "} ]', "\\"), {}, [], "x", {"deep": [[[{"y": [None, True]}]]]}, labels("b")]
    for text in (json.dumps(told, indent=1), json.dumps(told, ensure_ascii=False, separators=(",", ":"))):
        path.write_text(f" {text}\n", encoding="utf-8")
        assert list(entries(path, 1 << 20, 1000, "a list")) == told
    path.write_text(" [ ] ")
    assert list(entries(path, 1 << 20, 1000, "a list")) == []


def test_large_files_and_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(["a", "b" * 5000]))
    monkeypatch.setattr(json_entries, "_CHUNK", 100)
    with pytest.raises(DataError, match="behind 1 entries: an entry of more than 1000 characters"):
        list(entries(path, 1 << 20, 1000, "a list"))
    with pytest.raises(DataError, match="0 MB"):
        list(entries(path, 1000, 1000, "a list"))


def test_reading_ends_where_all_pictures_are_known(tmp_path: Path) -> None:
    path = labelled(tmp_path, labels("0a1"), labels("0a2"))
    path.write_text(path.read_text().rstrip("]\n") + ", broken")
    assert open_dataset(f"bdd100k:{tmp_path}").notes == ()


# --- pictures by what is known of them --------------------------------------------------------------------------------


def test_a_condition_is_a_domain(tmp_path: Path) -> None:
    labelled(tmp_path, labels("0a1", "partly cloudy", "dawn/dusk"), labels("0a2"))
    spec = f"bdd100k:{tmp_path}@val@where:timeofday=dawn/dusk"
    dataset = open_dataset(spec)
    assert [dataset.name(index) for index in range(len(dataset))] == ["0a1"] and dataset.spec == spec
    assert dataset.title.endswith("timeofday=dawn/dusk")
    whole = open_dataset(f"bdd100k:{tmp_path}")
    assert dataset.picture_key(0) == whole.picture_key(0) and dataset.fingerprint() != whole.fingerprint()
    both = open_dataset(f"bdd100k:{tmp_path}@where:weather=rainy,weather=partly cloudy,timeofday=night")
    assert [both.name(index) for index in range(len(both))] == ["0a2"]


def test_conditions_go_with_parts_and_classes(tmp_path: Path) -> None:
    acdc(tmp_path)
    dataset = open_dataset(
        f"acdc:{tmp_path}@where:condition=night@classes:road,car@part:1/1-".replace("@part:1/1-", "")
    )
    assert dataset.label_space.names == ("road", "car") and dataset.name(0) == "G2_frame_000001"
    assert len(open_dataset(f"acdc:{tmp_path}@classes:road@where:condition=fog")) == 1
    assert len(open_dataset(f"corrupt:fog:1:acdc:{tmp_path}@where:condition=fog")) == 1
    with pytest.raises(DataError, match="2 parts of 1 pictures"):
        open_dataset(f"acdc:{tmp_path}@where:condition=fog@part:1/2:0")


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ("timeofday=dusk", "timeofday=night"),
        ("light=dim", "weather=VALUE, scene=VALUE, timeofday=VALUE"),
        ("night", "weather=VALUE, scene=VALUE, timeofday=VALUE"),
        ("weather=rainy,weather=", "weather=rainy"),
    ],
)
def test_a_condition_that_no_picture_has_lists_those_there_are(wanted: str, named: str, tmp_path: Path) -> None:
    labelled(tmp_path, labels("0a1"), labels("0a2"))
    with pytest.raises(DataError) as error:
        open_dataset(f"bdd100k:{tmp_path}@where:{wanted}")
    assert named in error.value.needs


def test_where_nothing_is_known_the_table_is_named(tmp_path: Path) -> None:
    bdd(tmp_path)
    for spec in (f"bdd100k:{tmp_path}", "streets:fog:2"):
        with pytest.raises(DataError, match=r"attributes\.csv"):
            open_dataset(f"{spec}@where:weather=rainy")
    labelled(tmp_path, labels("0a1", "rainy", "night"), labels("0a2", "clear", "daytime"))
    with pytest.raises(DataError, match="No picture of"):
        open_dataset(f"bdd100k:{tmp_path}@where:weather=rainy,timeofday=daytime")
    with pytest.raises(UsageError):
        parse_spec("@where:weather=rainy")


def test_columns_are_those_of_the_labels() -> None:
    assert bdd100k.COLUMNS == ("weather", "scene", "timeofday")
