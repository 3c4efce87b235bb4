"""Cityscapes as downloaded, in miniature: ids, splits without public masks, and mates that are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionlib.contracts import IGNORE
from fusionlib.data.attributes import attributes_of
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import CITYSCAPES, UNLABELLED
from fusionlib.data.spec import check, open_dataset, splits_of
from fusionlib.errors import DataError
from fusionlib.studio import Options, Workspace

TRAIN_IDS = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""The classes of the benchmark by the id that the masks have."""
IDS = np.array([*range(34), 255, 255], np.uint8).reshape(4, 9)
CITIES = {"train": ("aachen", "bochum"), "val": ("frankfurt", "lindau"), "test": ("berlin",)}


def place(root: Path, split: str, city: str, number: int) -> tuple[Path, Path]:
    stem = f"{city}_{number:06}_000019"
    return (
        root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png",
        root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png",
    )


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two pictures a city, with all that comes with their masks; the masks of test are void."""
    rng = np.random.default_rng(0)
    for split, cities in CITIES.items():
        for city in cities:
            for number in range(2):
                picture, mask = place(tmp_path, split, city, number)
                write(picture, rng.integers(0, 256, (*IDS.shape, 3), dtype=np.uint8))
                write(mask, IDS if split != "test" else np.full_like(IDS, 3))
                write(Path(str(mask).replace("labelIds", "color")), np.zeros((*IDS.shape, 4), np.uint8))
                write(Path(str(mask).replace("labelIds", "instanceIds")), IDS.astype(np.uint16))
                Path(str(mask).replace("labelIds.png", "polygons.json")).write_text("{}")
    return tmp_path


def test_pictures_have_their_city_and_the_classes_of_the_benchmark(root):
    assert splits_of(f"cityscapes:{root}") == ("test", "train", "val")
    dataset = open_dataset(f"cityscapes:{root}")
    assert (dataset.spec, dataset.label_space, dataset.labelled, dataset.notes) == (
        f"cityscapes:{root}@val",
        CITYSCAPES,
        True,
        (),
    )
    assert [dataset.name(index) for index in range(len(dataset))] == [
        "frankfurt_000000_000019",
        "frankfurt_000001_000019",
        "lindau_000000_000019",
        "lindau_000001_000019",
    ]
    sample = dataset.load(2)
    assert np.array_equal(sample.image, np.asarray(Image.open(place(root, "val", "lindau", 0)[0])))
    expected = [
        CITYSCAPES.names.index(TRAIN_IDS[number]) if number in TRAIN_IDS else IGNORE
        for number in IDS.reshape(-1).tolist()
    ]
    assert sample.truth.reshape(-1).tolist() == expected
    assert check(dataset)[:19].tolist() == [4] * 19
    assert attributes_of(DecodedCache(dataset, 1 << 20)) == {"city": ("frankfurt",) * 2 + ("lindau",) * 2}


def test_instances_are_those_above_a_thousand_and_count_in_the_key(root: Path) -> None:
    mask = place(root, "val", "lindau", 1)[1]
    path, key = Path(str(mask).replace("labelIds", "instanceIds")), open_dataset(f"cityscapes:{root}").picture_key(3)
    write(path, np.where(IDS == 26, 26_001, IDS.astype(np.uint16)))
    dataset = open_dataset(f"cityscapes:{root}")
    found = dataset.load(3).instances
    assert found is not None and found.dtype == np.int32 and np.array_equal(found, np.where(IDS == 26, 26_001, 0))
    assert dataset.picture_key(3) != key
    write(path, np.zeros((3, 3), np.uint16))
    with pytest.raises(DataError, match="instanceIds"):
        _ = open_dataset(f"cityscapes:{root}").load(3).instances
    path.unlink()
    assert open_dataset(f"cityscapes:{root}").load(3).instances is None


def test_train_ids_are_read_where_every_picture_has_them(root):
    before = open_dataset(f"cityscapes:{root}").fingerprint()
    masks = sorted((root / "gtFine" / "val").rglob("*labelIds.png"))
    train_ids = np.array([[0, 18, 255] * 3] * 4, np.uint8)
    for number, mask in enumerate(masks):
        assert open_dataset(f"cityscapes:{root}").load(0).truth[0, 7] == 0, "some of them are not all"
        write(mask.with_name(mask.name.replace("labelIds", "labelTrainIds")), train_ids)
        assert number < 3 or open_dataset(f"cityscapes:{root}").load(0).truth.tolist() == train_ids.tolist()
    assert open_dataset(f"cityscapes:{root}").fingerprint() != before


@pytest.mark.parametrize("masks", ["void", "empty folders", "no split", "none at all"])
def test_the_test_split_is_pictures_without_masks_and_says_so(root, masks):
    if masks != "void":
        for path in (root / "gtFine" / ("test" if masks != "none at all" else "")).rglob("*"):
            path.unlink() if path.is_file() else None
    if masks == "no split":
        (root / "gtFine" / "test" / "berlin").rmdir(), (root / "gtFine" / "test").rmdir()
    if masks == "none at all":
        (root / "gtFine").rename(root / "elsewhere")
    dataset = open_dataset(f"cityscapes:{root}@test")
    assert (dataset.labelled, dataset.label_space, len(dataset)) == (False, UNLABELLED, 2)
    assert dataset.name(1) == "berlin_000001_000019" and dataset.load(1).truth is None
    assert "nothing is measured" in dataset.notes[-1] and ("void everywhere" in dataset.notes[-1]) == (masks == "void")


def test_own_masks_of_the_test_split_are_used(root):
    for number in range(2):
        write(place(root, "test", "berlin", number)[1], IDS)
    dataset = open_dataset(f"cityscapes:{root}@test")
    assert dataset.labelled and dataset.load(0).truth[0, 7] == 0


def test_a_missing_mate_is_named(root):
    picture, mask = place(root, "val", "lindau", 1)
    content = mask.read_bytes()
    mask.unlink()
    with pytest.raises(DataError) as error:
        open_dataset(f"cityscapes:{root}")
    assert str(picture) in error.value.got and str(mask) in error.value.needs
    mask.write_bytes(content), picture.unlink()
    with pytest.raises(DataError) as error:
        open_dataset(f"cityscapes:{root}")
    assert str(mask) in error.value.got and f"lindau/{picture.name}" in error.value.needs
    (root / "gtFine").rename(root / "gtCoarse")
    with pytest.raises(DataError, match=r"No folder .*gtFine"):
        open_dataset(f"cityscapes:{root}@train")


def test_what_does_not_belong_there_is_skipped_and_said(root):
    city = root / "leftImg8bit" / "val" / "lindau"
    (city / "._lindau_000000_000019_leftImg8bit.png").write_bytes(b"")
    (city / "lindau_000009_000019_leftImg16bit.png").write_bytes(b"")
    (root / "gtFine" / "val" / "lindau" / "notes.txt").write_text("")
    assert open_dataset(f"cityscapes:{root}").notes == (
        (
            "Skipped in lindau: 1 file of another kind (lindau_000009_000019_leftImg16bit.png), "
            "1 hidden file (._lindau_000000_000019_leftImg8bit.png); lindau: 1 file of another kind (notes.txt)"
        ),
    )


def test_it_may_be_reached_through_links_and_lie_in_the_folders_of_the_archives(root, tmp_path_factory):
    before = open_dataset(f"cityscapes:{root}").fingerprint()
    linked = tmp_path_factory.mktemp("linked")
    for name in ("leftImg8bit", "gtFine"):
        (linked / name).symlink_to(root / name)
    assert open_dataset(f"cityscapes:{linked}").fingerprint() == before
    for name in ("leftImg8bit", "gtFine"):
        (root / f"{name}_trainvaltest").mkdir(), (root / name).rename(root / f"{name}_trainvaltest" / name)
    assert open_dataset(f"cityscapes:{root}").fingerprint() == before


def test_a_file_named_without_its_city_has_it_in_front(root):
    for path in place(root, "val", "lindau", 0):
        path.rename(path.with_name(path.name.replace("lindau_", "x_")))
    assert open_dataset(f"cityscapes:{root}").name(3) == "lindau/x_000000_000019"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("cityscapes:{root}@dusk", "No split 'dusk' in {root}, which has test, train, val"),
        ("cityscapes:{root}/leftImg8bit", "cityscapes:{root}@train"),
        ("cityscapes:{root}/gtFine", "No folder {root}/gtFine/leftImg8bit"),
    ],
)
def test_other_places_are_refused_in_words(root, spec, says):
    with pytest.raises(DataError) as error:
        open_dataset(spec.format(root=root))
    assert says.format(root=root) in str(error.value)


def test_the_workspace_takes_it(root, tmp_path):
    workspace = Workspace(Options(data=(f"cityscapes:{root}",), demo=False, home=tmp_path / "home"))
    (source,) = workspace.sources
    assert source.problem is None and workspace.first_split(source.name) == "val"
    assert workspace.check_data(source.name, "val") == (4, (), ())
    assert "void everywhere" in workspace.check_data(source.name, "test").notes[0]


def test_a_city_is_a_group_with_and_without_masks(root: Path) -> None:
    for split, cities in (("val", ["frankfurt", "frankfurt", "lindau", "lindau"]), ("test", ["berlin", "berlin"])):
        dataset = open_dataset(f"cityscapes:{root}@{split}")
        assert [dataset.group(index) for index in range(len(dataset))] == cities
