"""Published class lists: colours, tables between them, and which of them a network's number of outputs stands for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from vistas_names import NAMES

from fusionlib.architectures.facts import classes_text
from fusionlib.architectures.spaces import usual_space
from fusionlib.contracts import ARCHITECTURES
from fusionlib.data import tables
from fusionlib.data.labels import CITYSCAPES, LABEL_SPACES, LabelSpace, mapping, numbered, spread_palette
from fusionlib.errors import DataError


class Line(NamedTuple):
    """A line of a table with the published name beside it."""

    readable: str
    target: str | None
    name: str


def lines(version: str) -> list[Line]:
    path = Path(tables.__file__).with_name("maps") / f"mapillary-{version}_cityscapes.yaml"
    found = re.findall(r"^  ([^#\n]+): ([a-z ]+?) +# ([a-z-]+)", path.read_text(), re.MULTILINE)
    return [Line(readable, None if target == "null" else target, name) for readable, target, name in found]


@pytest.mark.parametrize(("version", "count"), [("v1.2", 66), ("v2.0", 124)])
def test_every_class_of_vistas_has_a_line_with_its_published_name(version: str, count: int) -> None:
    table = tables.table_of(f"mapillary-{version}", "cityscapes")
    assert table is not None and len(NAMES[version]) == count
    assert sorted(name for name, _ in table.classes) == sorted(NAMES[version])
    assert [(line.readable, line.target) for line in lines(version)] == list(table.classes)
    assert len({line.name for line in lines(version)}) == count
    assert {line.target for line in lines(version)} == {*CITYSCAPES.names, None}


BY_NAME = {
    r"void--|animal--|nature--(mountain|snow|water)|object--sign--": None,
    r"(construction|object)--.*-(ambiguous|back)$": None,
    r"marking(-only)?--": "road",
    r"construction--flat--(road|service-lane|bike-lane|crosswalk)": "road",
    r"construction--flat--(sidewalk|pedestrian|curb)|construction--barrier--curb": "sidewalk",
    r"human--person": "person",
    r"human--rider--": "rider",
    r"object--traffic-light": "traffic light",
    r"object--traffic-sign--.*(front|parking)$": "traffic sign",
    r"object--vehicle--(boat|caravan|trailer|other-vehicle|wheeled-slow|vehicle-group)": None,
}
"""What the beginnings of published names say."""


@pytest.mark.parametrize("version", NAMES)
def test_a_class_counts_as_what_its_published_name_says(version: str) -> None:
    told = 0
    for line in lines(version):
        for pattern, target in BY_NAME.items():
            if re.match(pattern, line.name):
                assert line.target == target, line
                told += 1
        last = line.name.rpartition("--")[2].replace("on-rails", "train")
        if last in CITYSCAPES.names and not line.name.startswith("marking"):
            assert line.target == last, line
    assert told > len(NAMES[version]) / 3


def test_what_both_versions_have_counts_alike() -> None:
    old, new = ({line.readable: line.target for line in lines(version)} for version in ("v1.2", "v2.0"))
    assert len(both := old.keys() & new.keys()) == 63 and all(old[name] == new[name] for name in both)


def test_masks_of_both_versions_are_read_in_cityscapes_classes() -> None:
    for version, names in NAMES.items():
        space = LabelSpace(f"mapillary-{version}", version, names, spread_palette(len(names)))
        ids = mapping(space, CITYSCAPES)
        assert ids[names.index("On Rails")] == CITYSCAPES.names.index("train") and ids[names.index("Ego Vehicle")] == -1
        assert set(ids.tolist()) == {-1, *range(19)}


# --- colours ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LABEL_SPACES)
def test_colours_of_a_published_space_are_told_apart(name: str) -> None:
    space = LABEL_SPACES[name]
    assert len(set(space.palette)) == space.count
    if name != "cityscapes-void":
        assert space.none not in space.palette, "void would be drawn like a class"


@pytest.mark.parametrize(
    ("name", "colours"),
    [
        ("ade20k", {"wall": "#787878", "sky": "#06e6e6", "road": "#8c8c8c", "clock": "#66ff00", "flag": "#5c00ff"}),
        ("coco-stuff", {"person": "#00c040", "car": "#004060", "dog": "#0020c0", "wood": "#404000"}),
        ("voc", {"aeroplane": "#800000", "person": "#c08080", "tvmonitor": "#004080"}),
    ],
)
def test_colours_are_those_that_pictures_of_the_field_have(name: str, colours: dict[str, str]) -> None:
    space = LABEL_SPACES[name]
    for label, colour in colours.items():
        assert space.palette[space.names.index(label)] == tuple(bytes.fromhex(colour[1:])), label


# --- by the number of outputs -----------------------------------------------------------------------------------------


def test_counts_that_are_one_datasets_stand_for_it_and_it_is_said() -> None:
    network = ARCHITECTURES.get("deeplabv3-resnet50")
    assert network.label_space(21) == "voc" and usual_space(171) == "coco-stuff" and usual_space(22) == "classes-22"
    assert classes_text(network, 21) == "21 classes (voc, by their number)"
    assert classes_text(network, 22) == "22 classes"
    for outputs in range(2, 256):
        name = usual_space(outputs)
        assert (LABEL_SPACES.get(name) or numbered(outputs)).count == outputs


def test_other_classes_of_that_number_are_refused_with_the_way_out() -> None:
    mine = LabelSpace("mine", "Mine", tuple(f"thing {n}" for n in range(21)), spread_palette(21))
    with pytest.raises(DataError) as error:
        mapping(LABEL_SPACES["voc"], mine)
    assert "Pascal VOC" in error.value.got and "LABEL_SPACE" in error.value.do
    assert np.array_equal(mapping(numbered(21), mine), np.arange(21))
