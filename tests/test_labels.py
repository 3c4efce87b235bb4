"""Label spaces and the mappings between them."""

from __future__ import annotations

import numpy as np
import pytest

from fusionlib.data.labels import (
    CAMVID,
    CITYSCAPES,
    CITYSCAPES_VOID,
    LABEL_SPACES,
    UNLABELLED,
    LabelSpace,
    label_space,
    mapping,
    numbered,
    spread_palette,
)
from fusionlib.errors import DataError

CITYSCAPES_AS_CAMVID = {
    "road": "road",
    "sidewalk": "pavement",
    "building": "building",
    "wall": "building",
    "fence": "fence",
    "pole": "pole",
    "traffic light": "sign symbol",
    "traffic sign": "sign symbol",
    "vegetation": "tree",
    "terrain": "tree",
    "sky": "sky",
    "person": "pedestrian",
    "rider": "bicyclist",
    "car": "car",
    "truck": "car",
    "bus": "car",
    "train": "car",
    "motorcycle": "bicyclist",
    "bicycle": "bicyclist",
}


def space(name: str, *names: str) -> LabelSpace:
    return LabelSpace(name, name, names, spread_palette(len(names)))


def test_built_in_spaces_have_their_published_sizes_and_colours():
    assert {name: s.count for name, s in LABEL_SPACES.items()} == {
        "cityscapes": 19,
        "cityscapes-void": 20,
        "camvid": 11,
        "ade20k": 150,
        "coco-stuff": 171,
        "idd": 26,
        "synthia-13": 13,
        "synthia-16": 16,
        "voc": 21,
    }
    assert LABEL_SPACES["ade20k"].names[149] == "flag" and LABEL_SPACES["coco-stuff"].names[170] == "wood"
    assert LABEL_SPACES["voc"].palette[20] == (0, 64, 128) and LABEL_SPACES["idd"].names[25] == "sky"
    assert CITYSCAPES.palette[CITYSCAPES.names.index("car")] == (0, 0, 142)
    assert CAMVID.palette[CAMVID.names.index("bicyclist")] == (0, 128, 192)
    assert CITYSCAPES_VOID.names[:19] == CITYSCAPES.names and CITYSCAPES_VOID.names[19] == "void"
    for s in LABEL_SPACES.values():
        assert len(set(s.names)) == s.count and len(set(s.palette)) == s.count


def test_cityscapes_counts_as_camvid_class_by_class():
    ids = mapping(CITYSCAPES, CAMVID)
    assert ids.dtype == np.int64
    assert {CITYSCAPES.names[i]: CAMVID.names[k] for i, k in enumerate(ids)} == CITYSCAPES_AS_CAMVID
    assert mapping(CITYSCAPES_VOID, CAMVID).tolist() == [*ids.tolist(), -1]


def test_void_output_has_no_counterpart_in_cityscapes():
    assert mapping(CITYSCAPES_VOID, CITYSCAPES).tolist() == [*range(19), -1]


@pytest.mark.parametrize("name", LABEL_SPACES)
def test_a_space_maps_to_itself_unchanged(name):
    assert mapping(LABEL_SPACES[name], LABEL_SPACES[name]).tolist() == list(range(LABEL_SPACES[name].count))


def test_equal_names_map_whatever_the_space_is_called():
    assert mapping(space("mine", *CAMVID.names), CAMVID).tolist() == list(range(11))


def test_subset_of_the_networks_names_maps_by_name():
    assert mapping(CITYSCAPES, space("few", "car", "Road")).tolist() == [1] + [-1] * 12 + [0] + [-1] * 5


def test_numbered_outputs_map_to_any_space_of_their_count():
    assert mapping(numbered(2), space("two", "a", "b")).tolist() == [0, 1]
    with pytest.raises(DataError):
        mapping(numbered(3), space("two", "a", "b"))


@pytest.mark.parametrize(
    "pair",
    [
        (CAMVID, CITYSCAPES),
        (CITYSCAPES, space("x", "car", "dragon")),
        (CITYSCAPES, UNLABELLED),
        (space("cityscapes", "a", "b"), CAMVID),
    ],
)
def test_unknown_pair_is_refused_with_both_names(pair):
    with pytest.raises(DataError) as error:
        mapping(*pair)
    assert pair[0].title in error.value.got and pair[1].title in error.value.got
    assert "cityscapes to camvid" in error.value.needs and error.value.do


def test_label_space_by_name():
    assert label_space("camvid") is CAMVID
    assert label_space("classes-3").names == ("class 0", "class 1", "class 2")
    for wrong in ("voc12", "classes-", "classes-0", "classes-256", "classes-x"):
        with pytest.raises(DataError, match="cityscapes, cityscapes-void, camvid"):
            label_space(wrong)


def test_lut_colours_classes_and_leaves_the_rest_to_none():
    table = space("two", "a", "b").lut
    assert table.shape == (256, 3) and table[:2].tolist() == [list(c) for c in spread_palette(2)]
    assert not table[2:].any()


def test_generated_colours_differ():
    assert len(set(spread_palette(255))) > 200 and len(set(spread_palette(40))) == 40


def test_palette_must_fit_the_names():
    with pytest.raises(DataError, match="2 names and 1 colours"):
        LabelSpace("x", "x", ("a", "b"), ((0, 0, 0),))
