"""Classes that a model file declares itself: their names, and what they count as in the data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import folder_data, pictures
from model_files import MAKE, NET, bound, net_with, registered, tensors_of

from fusionlib.checkpoints.writer import save_tensors
from fusionlib.cli import main
from fusionlib.contracts import OwnClasses
from fusionlib.data.labels import CAMVID, CITYSCAPES, LabelSpace, label_space, mapping, spread_palette
from fusionlib.engine.observe import target_mapping
from fusionlib.errors import DataError, UsageError

pytestmark = pytest.mark.usefixtures("architectures")

IMAGES = pictures(2, size=(20, 30))


def space(*names: str) -> LabelSpace:
    return LabelSpace("test", "the test's data", names, spread_palette(len(names)))


def test_a_list_of_names_is_a_label_space(tmp_path: Path) -> None:
    item = registered(tmp_path, f"{NET}{MAKE}LABEL_SPACE = ['road', 'car', 'void']\n")
    own = label_space(item.label_space(3))
    assert own.names == ("road", "car", "void") and len(own.palette) == 3 and own.lut.shape == (256, 3)
    assert mapping(own, space("car", "road")).tolist() == [1, 0, -1]
    assert bound(tmp_path, item, 3).logits(IMAGES).shape == (2, 3, 20, 30)


@pytest.mark.parametrize(
    ("line", "classes", "says"),
    [
        ("LABEL_SPACE = ['road', 'car', 'void']", 5, "has 3 classes .*network has 5 outputs"),
        ("LABEL_SPACE = ('road', 'car', 'void')", 1, "has 3 classes .*network has 1 output.*Needs: 2 classes"),
        ("LABEL_SPACE = 'camvid'", 19, "has 11 classes .*network has 19 outputs"),
        ("LABEL_SPACE = 'classes-4'", 5, "has 4 classes .*network has 5 outputs"),
    ],
)
def test_a_count_that_does_not_fit_the_network_is_said(tmp_path: Path, line: str, classes: int, says: str) -> None:
    item = registered(tmp_path, f"{NET}{MAKE}{line}\n")
    with pytest.raises(UsageError, match=f"LABEL_SPACE of mine:make {says}"):
        bound(tmp_path, item, classes)
    with pytest.raises(DataError, match="Unknown label space 'roads'"):
        bound(tmp_path, registered(tmp_path, f"{NET}{MAKE}LABEL_SPACE = 'roads'\n"), 3)


def test_a_map_says_what_classes_count_as_and_the_others_go_by_their_names(tmp_path: Path) -> None:
    line = "LABEL_SPACE, LABEL_MAP = ['road', 'car', 'bus', 'sky', 'void'], {'car': 'vehicle', 'bus': 'Vehicle'}\n"
    own = label_space(registered(tmp_path, NET + MAKE + line).label_space(5))
    assert mapping(own, space("vehicle", "road", "person", "sky")).tolist() == [1, 0, 0, 3, -1]
    assert mapping(own, space("car", "road", "bus")).tolist() == [1, 0, 2, -1, -1], "of data with these very names"
    with pytest.raises(DataError, match="LABEL_MAP counts 'car' as 'vehicle', which is no class of the test's data"):
        mapping(own, space("road", "sky"))
    assert target_mapping(own, own, torch.device("cpu")) is None


def test_a_map_goes_before_what_is_known_of_a_built_in_space() -> None:
    declared = OwnClasses("cityscapes", (("wall", None), ("sky", "car")))
    found, usual = mapping(label_space(declared), CAMVID), mapping(CITYSCAPES, CAMVID)
    changed = {CITYSCAPES.names[number] for number in np.flatnonzero(found != usual)}
    assert changed == {"wall", "sky"} and found[CITYSCAPES.names.index("wall")] == -1
    same = OwnClasses(("a", "b"), (("b", None),))
    assert target_mapping(label_space(same), space("a", "b"), torch.device("cpu")).tolist() == [0, -1]  # type: ignore[union-attr]
    with pytest.raises(DataError, match="LABEL_MAP has 'skies'"):
        label_space(OwnClasses("cityscapes", (("skies", None),)))


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    main(["evaluate", "own.safetensors", "--data", "folder:town", "--model", "mine.py:make", "--json", *arguments])
    return json.loads(capsys.readouterr().out)


def test_evaluate_counts_own_classes_as_those_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    folder_data(tmp_path / "town", 2)  # road, car, sky
    item = registered(tmp_path, NET + MAKE)
    save_tensors(tmp_path / "own.safetensors", dict(tensors_of(item, 3)))
    plain = evaluated(capsys)
    code = NET + MAKE + "LABEL_SPACE, LABEL_MAP = ['street', 'vehicle', 'sky'], {'street': 'road', 'vehicle': 'car'}\n"
    registered(tmp_path, code)
    assert evaluated(capsys)["iou"] == plain["iou"] and list(plain["iou"]) == ["road", "car", "sky"]
    registered(tmp_path, code.replace("'vehicle': 'car'", "'vehicle': 'road'"))
    other = evaluated(capsys)
    assert other["iou"]["car"] == 0 and other["iou"] != plain["iou"]
    registered(tmp_path, code.replace("'vehicle': 'car'", "'vehicle': 'cart'"))
    with pytest.raises(SystemExit) as ended:
        evaluated(capsys)
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and "'cart'" in said and "road, car, sky" in said


def test_evaluate_says_that_an_answer_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    folder_data(tmp_path / "town", 2)
    names = "LABEL_SPACE = ['road', 'car', 'sky']\n"
    item = registered(tmp_path, NET + MAKE + names)
    save_tensors(tmp_path / "own.safetensors", dict(tensors_of(item, 3)))
    assert not any("NaN" in warning for warning in evaluated(capsys)["warnings"])
    registered(tmp_path, net_with("z * float('nan')") + names)
    found = evaluated(capsys)
    assert f"(NaN) at {found['undefined_pixels']} pixels" in found["warnings"][0] and found["loss"] is None
