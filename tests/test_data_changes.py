"""What may stand behind any data spec: parts of a seeded split, some classes, another label space; and the tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES, DATASETS, IGNORE
from fusionlib.data import tables
from fusionlib.data.attributes import attributes_of
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import CITYSCAPES, LABEL_SPACES, LabelSpace, mapping, spread_palette
from fusionlib.data.spec import Spec, open_dataset, parse_spec, splits_of
from fusionlib.engine.identity import architecture_key
from fusionlib.errors import DataError, UsageError
from fusionlib.guide import table
from fusionlib.options import app_options
from fusionlib.studio import Workspace
from fusionlib.studio.plans import process_options
from fusionlib.studio.sources import short_name

COUNT = 10


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ten pictures of four classes, not in a row."""
    root = tmp_path_factory.mktemp("town")
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for number in range(COUNT):
        name = f"{chr(97 + number)}{number * number}x.png"
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(root / "images" / name)
        Image.fromarray(np.array([[0, 1, 2, 3], [255] * 4] * 2, np.uint8)).save(root / "masks" / name)
    (root / "classes.yaml").write_text("name: town\nclasses: [Asphalt, car, bird, sky]\n")
    (root / "attributes.csv").write_text("name,light\na0x,day\nb1x,night\n")
    return f"folder:{root}"


@pytest.fixture(autouse=True)
def no_tables() -> Iterator[None]:
    yield
    tables.use(())


def names(spec: str) -> list[str]:
    dataset = open_dataset(spec)
    return [dataset.name(index) for index in range(len(dataset))]


@pytest.mark.parametrize("of", [2, 3, 7, COUNT])
@pytest.mark.parametrize("seed", [0, 1])
def test_parts_are_disjoint_cover_and_differ_by_a_picture_at_most(town: str, of: int, seed: int) -> None:
    whole = names(town)
    parts = [names(f"{town}@part:{number}/{of}:{seed}") for number in range(1, of + 1)]
    assert sorted(name for part in parts for name in part) == sorted(whole)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all(part == sorted(part, key=whole.index) for part in parts), "in the order of the whole"
    assert names(f"{town}@part:1-{of - 1}/{of}:{seed}") == [name for name in whole if name not in parts[-1]]


def test_a_part_depends_on_names_and_seed_alone(town: str) -> None:
    assert names(f"{town}@part:1/3:5") == ["c4x", "g36x", "h49x"], "the same on every machine"
    assert names(f"{town}@part:1/3") == names(f"{town}@part:1/3:0") != names(f"{town}@part:1/3:1")
    one, whole = open_dataset(f"{town}@part:1/3:5"), open_dataset(town)
    assert one.spec == f"{town}@part:1/3:5" and one.title.endswith("part 1/3, seed 5")
    assert open_dataset(one.spec).fingerprint() == one.fingerprint() != whole.fingerprint()
    assert one.picture_key(1) == whole.picture_key(6) and one.group(1) == whole.group(6)
    assert np.array_equal(one.load(1).image, whole.load(6).image)
    with pytest.raises(IndexError):
        one.load(len(one))


def test_a_part_of_a_video_says_that_it_cuts_through_it(tmp_path: Path) -> None:
    for number in range(6):
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / f"f{number:03}.png")
    assert "cuts through 1 of 1 groups" in open_dataset(f"pictures:{tmp_path}@part:1/2:0").notes[-1]
    assert open_dataset(f"pictures:{tmp_path}").notes == ()


def test_some_classes_leave_the_others_void(town: str) -> None:
    dataset = open_dataset(f"{town}@classes:sky, CAR")
    assert dataset.label_space.names == ("car", "sky")
    assert dataset.load(0).truth.tolist()[:2] == [[IGNORE, 0, IGNORE, 1], [IGNORE] * 4]
    assert dataset.fingerprint() != open_dataset(town).fingerprint()
    assert open_dataset(dataset.spec).picture_key(0) == dataset.picture_key(0) != open_dataset(town).picture_key(0)
    assert mapping(CITYSCAPES, dataset.label_space)[[10, 13]].tolist() == [1, 0], "networks are matched by name"
    for wrong, says in (("dragon", "Asphalt, car"), ("car,,sky", "Asphalt"), ("voc", "Asphalt")):
        with pytest.raises(DataError, match=says):
            open_dataset(f"{town}@classes:{wrong}")


def test_the_classes_of_a_space_can_be_kept_by_its_name() -> None:
    dataset = open_dataset("streets:clear:2@val@classes:synthia-16")
    assert dataset.label_space.names == LABEL_SPACES["synthia-16"].names
    whole = open_dataset("streets:clear:2@val")
    truth = whole.load(0).truth
    wanted = [CITYSCAPES.names.index(name) for name in dataset.label_space.names]
    expected = np.where(np.isin(truth, wanted), np.searchsorted(wanted, truth), IGNORE)
    assert np.array_equal(dataset.load(0).truth, expected)


def test_masks_are_read_in_the_classes_of_another_space() -> None:
    dataset, whole = open_dataset("streets:clear:2@val@as:camvid"), open_dataset("streets:clear:2@val")
    ids = np.append(mapping(CITYSCAPES, LABEL_SPACES["camvid"]), [0] * 237)
    truth = whole.load(1).truth
    assert dataset.label_space == LABEL_SPACES["camvid"]
    assert np.array_equal(dataset.load(1).truth, np.where(truth == IGNORE, IGNORE, ids[truth]))
    for wrong, says in (("nothing", "Unknown label space"), ("voc", "no known mapping to Pascal VOC")):
        with pytest.raises(DataError, match=says):
            open_dataset(f"streets:clear:2@as:{wrong}")


def test_changes_follow_one_another_and_stand_with_splits_and_limits(town: str) -> None:
    parsed = parse_spec("camvid:/a@b/c@val@part:1/3:7@classes:a b,c")
    assert parsed == Spec("camvid", "/a@b/c", "val", ("part:1/3:7", "classes:a b,c"))
    assert str(parsed) == "camvid:/a@b/c@val@part:1/3:7@classes:a b,c"
    assert parse_spec("folder:/x@as:b/c") == Spec("folder", "/x@as:b/c")
    assert splits_of("streets:clear@part:1/2:0") == ("train", "val", "test")
    both = open_dataset("streets:clear:9@part:2/3:1@as:camvid", "train", limit=2)
    assert both.spec == "streets:clear:9@train@part:2/3:1@as:camvid" and len(both) == 2
    damaged = open_dataset(f"corrupt:fog:1:{town}@part:1/2:0")
    assert len(damaged) == COUNT // 2 and damaged.spec == f"corrupt:fog:1:{town}@part:1/2:0"
    light = attributes_of(DecodedCache(open_dataset(f"{town}@classes:car@part:1-2/2:0"), 1 << 20))
    assert light["light"][:2] == ("day", "night")


@pytest.mark.parametrize("part", ["", "1", "0/3", "4/3", "2-1/3", "1/1", "1/3:x", "1/3:-1", "a/b", "1/3:1:1"])
def test_a_part_that_is_none_says_how_to_write_one(town: str, part: str) -> None:
    with pytest.raises(UsageError, match="@part:1/3:0"):
        open_dataset(f"{town}@part:{part}")


def test_more_parts_than_pictures_and_classes_of_pictures_without_masks_are_refused(town: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="11 parts of 10 pictures"):
        open_dataset(f"{town}@part:1/11:0")
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "a.png")
    for change in ("classes:car", "as:camvid"):
        with pytest.raises(DataError, match="pictures with masks"):
            open_dataset(f"pictures:{tmp_path}@{change}")


def test_a_page_calls_changed_data_by_what_was_changed(town: str) -> None:
    root = Path(town.partition(":")[2]).name
    assert short_name(f"{town}@part:1/3:7@classes:car", "folder") == f"folder {root}, part 1/3:7, classes car"


# --- tables ----------------------------------------------------------------------------------------------------------


def space(name: str, *classes: str) -> LabelSpace:
    return LabelSpace(name, name, classes, spread_palette(len(classes)))


def test_tables_that_come_along_name_classes_of_their_spaces() -> None:
    for source, target in tables.known_pairs():
        table = tables.table_of(source, target)
        assert table is not None and not table.own
        assert {name for _, name in table.classes} <= {*LABEL_SPACES[target].names, None}
        if source in LABEL_SPACES:
            assert {name for name, _ in table.classes} <= set(LABEL_SPACES[source].names)
            assert mapping(LABEL_SPACES[source], LABEL_SPACES[target]).max() == LABEL_SPACES[target].count - 1
    idd = mapping(LABEL_SPACES["idd"], CITYSCAPES)
    assert idd[LABEL_SPACES["idd"].names.index("non-drivable fallback")] == CITYSCAPES.names.index("terrain")
    assert idd[LABEL_SPACES["idd"].names.index("autorickshaw")] == -1


def test_a_config_may_leave_classes_of_a_table_out() -> None:
    table = tables.table_of("mapillary-v1.2", "cityscapes")
    assert table is not None
    some = {name: target for name, target in table.classes if name != "Barrier"}
    ids = mapping(space("mapillary-v1.2", "Unheard of", *some), CITYSCAPES)
    assert ids.tolist() == [-1, *(CITYSCAPES.names.index(target) if target else -1 for target in some.values())]


def test_an_operators_table_goes_before_and_counts_in_the_key(town: str, tmp_path: Path) -> None:
    before = tables.own_key("cityscapes")
    (tmp_path / "mine.yaml").write_text(
        "from: cityscapes\nto: town\nclasses: {road: asphalt, car: car, truck: car, bus: null, sky: sky}\n"
    )
    with pytest.raises(DataError, match="--class-tables"):
        mapping(CITYSCAPES, open_dataset(town).label_space)
    tables.use(tables.read_tables(tmp_path))
    ids = mapping(CITYSCAPES, open_dataset(town).label_space)
    assert {CITYSCAPES.names[i]: int(k) for i, k in enumerate(ids) if k >= 0} == {
        "road": 0,
        "car": 1,
        "truck": 1,
        "sky": 3,
    }
    assert before == "" != tables.own_key("cityscapes") and tables.own_key("camvid") == ""
    with pytest.raises(DataError, match=r"mine\.yaml has the class 'road'"):
        mapping(space("cityscapes", "a", "b"), open_dataset(town).label_space)


def test_where_the_annotation_is_the_finer_one_the_error_says_how_to_read_it() -> None:
    with pytest.raises(DataError) as error:
        mapping(CITYSCAPES, LABEL_SPACES["idd"])
    assert "@as:cityscapes" in error.value.do
    with pytest.raises(DataError) as error:
        mapping(CITYSCAPES, space("idd", "road", "dragon"))
    assert "@as" not in error.value.do, "another space of the table's name"
    with pytest.raises(DataError) as error:
        mapping(space("cityscapes", "a", "b"), LABEL_SPACES["idd"])
    assert "@as" not in error.value.do, "another space of that name"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "cannot be read"),
        ("a", "str"),
        ("from: a\nto: b", "from"),
        ("from: 3\nto: b\nclasses: {a: b}", "from 3"),
        ("from: a\nto: b\nclasses: []", "classes"),
        ("from: a\nto: b\nclasses: {no: b}", "False"),
        ("from: a\nto: b\nclasses: {a: [b]}", "a name or null"),
        ("from: a\nto: b\nclasses: {a: b}\nmore: 1", "more"),
    ],
)
def test_a_table_that_is_none_is_refused_by_name(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(DataError, match=r"t\.yaml") as error:
        tables.read_tables(tmp_path)
    assert says in str(error.value) and error.value.needs and error.value.do


def test_two_tables_of_one_pair_and_no_folder_are_refused(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("from: a\nto: b\nclasses: {x: y}\n")
    with pytest.raises(DataError, match=r"a\.yaml and b\.yaml"):
        tables.read_tables(tmp_path)
    with pytest.raises(DataError, match="--class-tables"):
        tables.read_tables(tmp_path / "nothing")


# --- one registration is enough --------------------------------------------------------------------------------------


def test_whatever_is_registered_is_in_the_verb_and_in_the_guide(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mine:
        title, usage = "Of a test", "mine:DIR"

    monkeypatch.setitem(DATASETS._items, "mine", Mine())
    main(["datasets", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert listed == {
        "datasets": [{"name": name, "usage": one.usage, "title": one.title} for name, one in sorted(DATASETS.items())]
    }
    main(["datasets"])
    printed = capsys.readouterr().out
    assert all(one.usage in printed and one.title in printed for _, one in DATASETS.items()) and "@part" in printed
    rows = {row["name"]: (row["spec"], row["what"]) for row in table("datasets")}
    assert rows == {name: (one.usage, one.title) for name, one in DATASETS.items()}


def test_the_operators_folder_is_an_option_and_counts_in_the_key_of_a_network(town: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("from: cityscapes\nto: town\nclasses: {road: asphalt}\n")
    enet = ARCHITECTURES.get("enet")
    before = architecture_key(enet, 19), architecture_key(enet, 11)
    options = app_options(["--no-demo", "--home", str(tmp_path / "home"), "--class-tables", str(tmp_path)])
    Workspace(options)
    assert mapping(CITYSCAPES, open_dataset(town).label_space)[0] == 0
    assert architecture_key(enet, 19) != before[0] and architecture_key(enet, 11) == before[1]
    assert f"--class-tables={tmp_path}" in process_options(options)
    Workspace(replace(options, class_tables=None))
    assert architecture_key(enet, 19) == before[0]
