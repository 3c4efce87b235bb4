"""The layouts of public datasets, in miniature: ids, splits, groups, attributes, instances, missing mates."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionlib.contracts import DATASETS, IGNORE
from fusionlib.data.attributes import attributes_of
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import CITYSCAPES, LABEL_SPACES
from fusionlib.data.spec import open_dataset, splits_of
from fusionlib.errors import DataError

SIZE = (8, 12)
TRAIN_IDS = np.resize(np.array([*range(19), 255], np.uint8), SIZE)
IDS = np.resize(np.arange(34, dtype=np.uint8), SIZE)
CLASSES = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
FROM_IDS = np.where(np.isin(IDS, CLASSES), np.searchsorted(CLASSES, IDS), IGNORE)


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def photo(path: Path) -> Path:
    return write(path, np.random.default_rng(len(str(path.name))).integers(0, 256, (*SIZE, 3), dtype=np.uint8))


def rgb16(path: Path, pixels: np.ndarray) -> Path:
    """A PNG of (H, W, 3) uint16, which Pillow does not write; lines are filtered by turns, as encoders do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2").tobytes()
    stride, lines = width * 6, []
    for row in range(height):
        line = rows[row * stride : (row + 1) * stride]
        before = rows[(row - 1) * stride : row * stride] if row else bytes(stride)
        kind = row % 3  # none, from the left, from above
        less = {0: bytes(stride), 1: bytes(6) + line[:-6], 2: before}[kind]
        lines.append(bytes([kind]) + bytes((a - b) & 255 for a, b in zip(line, less, strict=True)))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    packed = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(lines))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + packed)
    return path


@dataclass(frozen=True)
class Tree:
    """What a reader must make of a tree: the spec, `{root}` in it, and what the pictures of its default split are."""

    spec: str
    make: Callable[[Path], tuple[Path, Path]]
    """Writes it; the files of the last picture and its mask, of which either can be taken away."""
    names: tuple[str, ...]
    truth: np.ndarray
    space: str = "cityscapes"
    splits: tuple[str, ...] = ()
    groups: tuple[str, ...] | None = None
    known: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    instances: np.ndarray | None = None


def bdd(root: Path) -> tuple[Path, Path]:
    for name in ("0a1", "0a2"):
        mask = write(root / f"labels/sem_seg/masks/val/{name}.png", TRAIN_IDS)
        picture = photo(root / f"images/10k/val/{name}.jpg")
    photo(root / "images/10k/test/0b.jpg")
    return picture, mask


def bdd_seg(root: Path) -> tuple[Path, Path]:
    for name in ("0a1", "0a2"):
        mask = write(root / f"seg/labels/val/{name}_train_id.png", TRAIN_IDS)
        picture = photo(root / f"seg/images/val/{name}.jpg")
    return picture, mask


def acdc(root: Path) -> tuple[Path, Path]:
    for condition, drive in (("fog", "G1"), ("night", "G2")):
        for split in ("train", "val"):
            stem = f"{condition}/{split}/{drive}/{drive}_frame_000001"
            picture = photo(root / f"rgb_anon/{stem}_rgb_anon.png")
            mask = write(root / f"gt/{stem}_gt_labelTrainIds.png", TRAIN_IDS)
            write(root / f"gt/{stem}_gt_invIds.png", TRAIN_IDS)
            photo(root / f"rgb_anon/{condition}/{split}_ref/{drive}_ref/{drive}_frame_000001_rgb_ref_anon.png")
    photo(root / "rgb_anon/fog/test/G3/G3_frame_000001_rgb_anon.png")
    return picture, mask


def dark_zurich(root: Path) -> tuple[Path, Path]:
    for frame in (1, 2):
        stem = f"val/night/GOPR0356/GOPR0356_frame_00000{frame}"
        picture = photo(root / f"rgb_anon/{stem}_rgb_anon.png")
        mask = write(root / f"gt/{stem}_gt_labelIds.png", IDS)
    for time in ("day", "night"):
        photo(root / f"rgb_anon/train/{time}/G4/G4_frame_000001_rgb_anon.png")
    return picture, mask


def idd_as(ending: str, pixels: np.ndarray) -> Callable[[Path], tuple[Path, Path]]:
    def make(root: Path) -> tuple[Path, Path]:
        for drive in ("0", "12"):
            picture = photo(root / f"leftImg8bit/val/{drive}/frame7_leftImg8bit.png")
            mask = write(root / f"gtFine/val/{drive}/frame7_gtFine_label{ending}.png", pixels)
            write(root / f"gtFine/val/{drive}/frame7_gtFine_instancelevel3Ids.png", IDD_INSTANCES)
            (root / f"gtFine/val/{drive}/frame7_gtFine_polygons.json").write_text("{}")
        return picture, mask

    return make


IDD_IDS = np.resize(np.array([*range(26), 255], np.uint8), SIZE)
IDD_INSTANCES = np.where(IDD_IDS == 4, 4001, IDD_IDS.astype(np.uint16))


def gta_as(pixels: np.ndarray, palette: bool) -> Callable[[Path], tuple[Path, Path]]:
    def make(root: Path) -> tuple[Path, Path]:
        for number in (1, 2):
            picture, mask = photo(root / f"images/0000{number}.png"), root / f"labels/0000{number}.png"
            mask.parent.mkdir(exist_ok=True)
            image = Image.fromarray(pixels)
            if palette:
                image.putpalette([part for colour in CITYSCAPES.lut.tolist() for part in colour])
            image.save(mask)
        return picture, mask

    return make


SYNTHIA_IDS = {1: "sky", 2: "building", 3: "road", 4: "sidewalk", 5: "fence", 6: "vegetation", 7: "pole", 8: "car"}
SYNTHIA_IDS |= {9: "traffic sign", 10: "person", 11: "bicycle", 12: "motorcycle", 15: "traffic light", 17: "rider"}
SYNTHIA_IDS |= {19: "bus", 21: "wall"}
SYNTHIA_MASK = np.resize(np.arange(23), SIZE)
SYNTHIA_INSTANCES = np.resize(np.arange(0, 60000, 999), SIZE)


def synthia(root: Path) -> tuple[Path, Path]:
    pixels = np.stack([SYNTHIA_MASK, SYNTHIA_INSTANCES, 0 * SYNTHIA_MASK], -1)
    for number in (1, 2):
        picture = photo(root / f"RGB/000000{number}.png")
        mask = rgb16(root / f"GT/LABELS/000000{number}.png", pixels)
    return picture, mask


def in_space(space: str, table: Mapping[int, str], mask: np.ndarray) -> np.ndarray:
    names = LABEL_SPACES[space].names
    return np.vectorize(lambda one: names.index(table[one]) if table.get(one) in names else IGNORE)(mask)


VISTAS = (("Bird", True, True), ("Road", True, False), ("Car", True, True), ("Ego Vehicle", False, False))


def mapillary_as(version: str, folder: str, config: str) -> Callable[[Path], tuple[Path, Path]]:
    def make(root: Path) -> tuple[Path, Path]:
        labels = [
            {"readable": name, "evaluate": counts, "instances": several, "color": [number, 9, 9]}
            for number, (name, counts, several) in enumerate(VISTAS)
        ]
        root.mkdir(exist_ok=True)
        (root / config).write_text(json.dumps({"version": version, "labels": labels}))
        for name in ("-x1", "a2"):
            picture = photo(root / f"validation/images/{name}.jpg")
            mask = write(root / f"validation/{folder}labels/{name}.png", VISTAS_MASK)
            write(root / f"validation/{folder}instances/{name}.png", (VISTAS_MASK.astype(np.uint16) << 8) + 1)
        photo(root / "testing/images/t.jpg")
        return picture, mask

    return make


VISTAS_MASK = np.resize(np.arange(4, dtype=np.uint8), SIZE)
VISTAS_TRUTH = np.where(VISTAS_MASK == 3, IGNORE, VISTAS_MASK)
VISTAS_INSTANCES = np.where(np.isin(VISTAS_MASK, (0, 2)), VISTAS_MASK.astype(np.int32) * 256 + 2, 0)
ADE = np.resize(np.arange(151, dtype=np.uint8), SIZE)


def ade(root: Path) -> tuple[Path, Path]:
    for number, scene in ((1, "abbey"), (2, "zoo")):
        stem = f"validation/ADE_val_0000000{number}"
        picture, mask = photo(root / f"images/{stem}.jpg"), write(root / f"annotations/{stem}.png", ADE)
        with (root / "sceneCategories.txt").open("a") as file:
            file.write(f"ADE_val_0000000{number} {scene}\n")
    return picture, mask


VOC = np.resize(np.array([*range(21), 255], np.uint8), SIZE)


def voc(root: Path) -> tuple[Path, Path]:
    for name in ("2007_000033", "2007_000042", "2007_000061"):
        picture = photo(root / f"JPEGImages/{name}.jpg")
        mask = write(root / f"SegmentationClass/{name}.png", VOC)
        write(root / f"SegmentationObject/{name}.png", VOC)
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2007_000033\n2007_000061\n")
    (lists / "train.txt").write_text("2007_000042\n")
    return picture, mask


COCO_IDS = [number for number in range(182) if number + 1 not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)]
COCO = np.resize(np.array([*COCO_IDS[:60], *COCO_IDS[-30:], 255], np.uint8), SIZE)


def coco_as(folder: str, masks: str) -> Callable[[Path], tuple[Path, Path]]:
    def make(root: Path) -> tuple[Path, Path]:
        for name in ("000000000139", "000000000140"):
            picture = photo(root / f"{folder}val2017/{name}.jpg")
            mask = write(root / f"{masks}/val2017/{name}.png", COCO)
        return picture, mask

    return make


SEGMENTS = np.resize(np.array([0, 7, 70_000, 300]), SIZE)
PANOPTIC_TRUTH = np.resize(np.array([IGNORE, 0, 1, 1]), SIZE)
PANOPTIC_INSTANCES = np.resize(np.array([0, 0, 70_000, 0]), SIZE)


def panoptic(root: Path) -> tuple[Path, Path]:
    pixels = np.stack([SEGMENTS & 255, SEGMENTS >> 8 & 255, SEGMENTS >> 16], -1).astype(np.uint8)
    info = [{"id": 7, "category_id": 3}, {"id": 70_000, "category_id": 44}]
    info += [{"id": 300, "category_id": 44, "iscrowd": 1}]
    content: dict[str, list[dict]] = {
        "categories": [
            {"id": 44, "name": "car", "isthing": 1, "color": [1, 2, 3]},
            {"id": 3, "name": "road", "isthing": 0, "color": [4, 5, 6]},
        ],
        "images": [],
        "annotations": [],
    }
    for number in (1, 2):
        picture, mask = photo(root / f"shot/{number}.jpg"), write(root / f"panoptic/{number}.png", pixels)
        content["images"].append({"id": number, "file_name": f"{number}.jpg"})
        content["annotations"].append({"image_id": number, "file_name": f"{number}.png", "segments_info": info})
    (root / "panoptic.json").write_text(json.dumps(content))
    return picture, mask


RGB = CITYSCAPES.lut[FROM_IDS]
TREES = {
    "bdd100k": Tree(
        "bdd100k:{root}", bdd, ("0a1", "0a2"), TRAIN_IDS, splits=("val", "test"), groups=("val/0a1", "val/0a2")
    ),
    "bdd100k seg": Tree("bdd100k:{root}", bdd_seg, ("0a1", "0a2"), TRAIN_IDS, splits=("val",)),
    "acdc": Tree(
        "acdc:{root}",
        acdc,
        ("G1_frame_000001", "G2_frame_000001"),
        TRAIN_IDS,
        splits=("train", "val", "test"),
        groups=("G1", "G2"),
        known={"condition": ("fog", "night")},
    ),
    "acdc night": Tree("acdc:{root}:night", acdc, ("G2_frame_000001",), TRAIN_IDS, splits=("train", "val")),
    "darkzurich": Tree(
        "darkzurich:{root}",
        dark_zurich,
        ("GOPR0356_frame_000001", "GOPR0356_frame_000002"),
        FROM_IDS,
        splits=("train", "val"),
        groups=("GOPR0356", "GOPR0356"),
    ),
    "idd": Tree(
        "idd:{root}",
        idd_as("level3Ids", IDD_IDS),
        ("0/frame7", "12/frame7"),
        IDD_IDS,
        "idd",
        ("val",),
        ("0", "12"),
        instances=np.where(IDD_IDS == 4, 4001, 0),
    ),
    "idd as cityscapes": Tree(
        "idd:{root}",
        idd_as("csTrainIds", TRAIN_IDS),
        ("0/frame7", "12/frame7"),
        TRAIN_IDS,
        splits=("val",),
        instances=np.where(IDD_IDS == 4, 4001, 0),
    ),
    "gta": Tree("gta:{root}", gta_as(IDS, True), ("00001", "00002"), FROM_IDS, groups=("00001", "00002")),
    "gta colours": Tree("gta:{root}", gta_as(RGB, False), ("00001", "00002"), FROM_IDS),
    "synthia": Tree(
        "synthia:{root}",
        synthia,
        ("0000001", "0000002"),
        in_space("synthia-16", SYNTHIA_IDS, SYNTHIA_MASK),
        "synthia-16",
        groups=("0000001", "0000002"),
        instances=SYNTHIA_INSTANCES,
    ),
    "synthia 13": Tree(
        "synthia:{root}:13",
        synthia,
        ("0000001", "0000002"),
        in_space("synthia-13", SYNTHIA_IDS, SYNTHIA_MASK),
        "synthia-13",
        instances=SYNTHIA_INSTANCES,
    ),
    "mapillary": Tree(
        "mapillary:{root}",
        mapillary_as("2.0", "v2.0/", "config_v2.0.json"),
        ("-x1", "a2"),
        VISTAS_TRUTH,
        "mapillary-v2.0",
        ("validation", "testing"),
        instances=VISTAS_INSTANCES,
    ),
    "mapillary 1.2": Tree(
        "mapillary:{root}",
        mapillary_as("1.2", "", "config.json"),
        ("-x1", "a2"),
        VISTAS_TRUTH,
        "mapillary-v1.2",
        ("validation", "testing"),
        instances=VISTAS_INSTANCES,
    ),
    "ade20k": Tree(
        "ade20k:{root}",
        ade,
        ("ADE_val_00000001", "ADE_val_00000002"),
        np.where(ADE, ADE - 1, IGNORE),
        "ade20k",
        ("validation",),
        ("validation/ADE_val_00000001", "validation/ADE_val_00000002"),
        {"scene": ("abbey", "zoo")},
    ),
    "voc": Tree(
        "voc:{root}",
        voc,
        ("2007_000033", "2007_000061"),
        VOC,
        "voc",
        ("train", "val"),
        ("2007_000033", "2007_000061"),
        instances=np.where(VOC == 255, 0, VOC),
    ),
    "cocostuff": Tree(
        "cocostuff:{root}",
        coco_as("images/", "annotations"),
        ("000000000139", "000000000140"),
        np.where(COCO == 255, IGNORE, np.searchsorted(COCO_IDS, COCO)),
        "coco-stuff",
        ("val2017",),
    ),
    "cocostuff maps": Tree(
        "cocostuff:{root}",
        coco_as("", "stuffthingmaps"),
        ("000000000139", "000000000140"),
        np.where(COCO == 255, IGNORE, np.searchsorted(COCO_IDS, COCO)),
        "coco-stuff",
        ("val2017",),
    ),
    "cocopanoptic": Tree(
        "cocopanoptic:{root}/shot:{root}/panoptic.json",
        panoptic,
        ("1", "2"),
        PANOPTIC_TRUTH,
        "coco-panoptic",
        groups=("1", "2"),
        instances=PANOPTIC_INSTANCES,
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_a_tree_is_read_as_its_makers_mean_it(name: str, tmp_path: Path) -> None:
    tree = TREES[name]
    tree.make(tmp_path)
    spec = tree.spec.format(root=tmp_path)
    assert splits_of(spec) == tree.splits
    dataset = open_dataset(spec)
    assert (dataset.label_space.name, dataset.labelled, dataset.notes) == (tree.space, True, ())
    assert tuple(dataset.name(index) for index in range(len(dataset))) == tree.names
    sample = dataset.load(len(dataset) - 1)
    assert sample.truth is not None and sample.truth.dtype == np.uint8 and np.array_equal(sample.truth, tree.truth)
    assert sample.image.shape == (*SIZE, 3)
    if tree.groups is not None:
        assert tuple(dataset.group(index) for index in range(len(dataset))) == tree.groups
    assert attributes_of(DecodedCache(dataset, 1 << 20)) == tree.known
    found = sample.instances
    assert (found is None) == (tree.instances is None)
    if found is not None:
        assert found.dtype == np.int32 and np.array_equal(found, tree.instances)
    assert open_dataset(dataset.spec).fingerprint() == dataset.fingerprint(), "its spec names it"


@pytest.mark.parametrize("name", TREES)
def test_a_missing_mate_is_named(name: str, tmp_path: Path) -> None:
    tree = TREES[name]
    picture, mask = tree.make(tmp_path)
    spec, content = tree.spec.format(root=tmp_path), mask.read_bytes()
    mask.unlink()
    with pytest.raises(DataError) as error:
        open_dataset(spec)
    assert str(picture) in error.value.got and mask.parent.name in str(error.value) and error.value.do
    mask.write_bytes(content), picture.unlink()
    with pytest.raises(DataError) as error:
        open_dataset(spec)
    alone = len(tree.names) == 1 and "No pictures" in error.value.got
    assert alone or picture.name in str(error.value) or mask.name in str(error.value)


KINDS = sorted({tree.spec.partition(":")[0] for tree in TREES.values()})


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_folder_is_told_the_layout_in_a_line(kind: str, tmp_path: Path) -> None:
    for argument in (str(tmp_path), str(tmp_path / "nowhere")):
        with pytest.raises(DataError) as error:
            open_dataset(f"{kind}:{argument}")
        assert tmp_path.name in error.value.got and error.value.do
        assert "\n" not in error.value.needs and ("/" in error.value.needs or ":" in error.value.needs)


@pytest.mark.parametrize("name", ["bdd100k", "acdc", "darkzurich", "mapillary", "gta", "ade20k", "voc", "cocopanoptic"])
def test_a_split_that_is_not_there_lists_those_that_are(name: str, tmp_path: Path) -> None:
    tree = TREES[name]
    tree.make(tmp_path)
    with pytest.raises(DataError) as error:
        open_dataset(tree.spec.format(root=tmp_path), "dusk")
    assert "dusk" in error.value.got and all(split in error.value.got for split in tree.splits)


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [("bdd100k", "test", 1), ("acdc", "test", 1), ("mapillary", "testing", 1), ("darkzurich", "train", 2)],
)
def test_a_split_without_public_masks_is_pictures_to_look_at(name: str, split: str, count: int, tmp_path: Path) -> None:
    tree = TREES[name]
    tree.make(tmp_path)
    dataset = open_dataset(tree.spec.format(root=tmp_path), split)
    assert (dataset.labelled, len(dataset)) == (False, count) and "nothing is measured" in dataset.notes[-1]
    assert dataset.load(0).truth is None and dataset.load(0).instances is None


def test_readers_that_stand_on_folders_are_all_here() -> None:
    others = {"camvid", "cityscapes", "corrupt", "folder", "hf", "pictures", "streets"}
    assert set(KINDS) == set(DATASETS.names()) - others


def test_train_ids_go_before_where_every_picture_has_them(tmp_path: Path) -> None:
    _, mask = gta_as(IDS, True)(tmp_path)
    write(mask.with_name("00002_labelTrainIds.png"), TRAIN_IDS)
    assert np.array_equal(open_dataset(f"gta:{tmp_path}").load(1).truth, FROM_IDS), "some are not all"
    write(mask.with_name("00001_labelTrainIds.png"), TRAIN_IDS)
    assert np.array_equal(open_dataset(f"gta:{tmp_path}").load(1).truth, TRAIN_IDS)


def test_frames_of_gta_that_do_not_fit_their_masks_are_left_out_and_said(tmp_path: Path) -> None:
    picture, _ = gta_as(IDS, True)(tmp_path)
    write(picture, np.zeros((9, 9, 3), np.uint8))
    dataset = open_dataset(f"gta:{tmp_path}")
    assert [dataset.name(index) for index in range(len(dataset))] == ["00001"] and dataset.group(0) == "00001"
    assert "Left out, 1 of another size" in dataset.notes[0] and picture.name in dataset.notes[0]
    write(picture.with_name("00001.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(DataError, match="its mask"):
        open_dataset(f"gta:{tmp_path}")


def test_idd_with_both_kinds_of_masks_is_read_by_what_is_asked(tmp_path: Path) -> None:
    idd_as("level3Ids", IDD_IDS)(tmp_path)
    idd_as("csTrainIds", TRAIN_IDS)(tmp_path)
    assert open_dataset(f"idd:{tmp_path}").label_space == CITYSCAPES
    assert open_dataset(f"idd:{tmp_path}:level3").label_space.name == "idd"
    assert open_dataset(f"idd:{tmp_path}").notes == ()


def test_an_option_that_is_none_lists_the_options(tmp_path: Path) -> None:
    acdc(tmp_path)
    with pytest.raises(DataError, match="fog, night, rain, snow"):
        open_dataset(f"acdc:{tmp_path}:dusk")
    (tmp_path / "a:fog").mkdir()
    acdc(tmp_path / "a:b")
    assert len(open_dataset(f"acdc:{tmp_path / 'a:b'}:fog")) == 1, "a path may hold a colon"


def test_names_in_lists_and_files_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    voc(tmp_path)
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("../../etc/passwd\n")
    with pytest.raises(DataError, match="without folders"):
        open_dataset(f"voc:{tmp_path}")
    panoptic(tmp_path)
    path = tmp_path / "panoptic.json"
    path.write_text(path.read_text().replace('"2.jpg"', '"../secret.jpg"'))
    with pytest.raises(DataError, match="without folders"):
        open_dataset(f"cocopanoptic:{tmp_path}/shot:{path}")


@pytest.mark.parametrize("text", ["[", "[]", '{"categories": 3}', "[" * 5000, '{"labels": [{"readable": 1}]}'])
def test_a_json_file_that_is_none_of_theirs_is_refused_by_name(text: str, tmp_path: Path) -> None:
    panoptic(tmp_path)
    (tmp_path / "panoptic.json").write_text(text)
    with pytest.raises(DataError, match=r"panoptic\.json"):
        open_dataset(f"cocopanoptic:{tmp_path}/shot:{tmp_path}/panoptic.json")
    mapillary_as("1.2", "", "config.json")(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(DataError, match=r"config\.json"):
        open_dataset(f"mapillary:{tmp_path}")


def test_segments_without_an_entry_are_an_error_and_entries_count_in_the_key(tmp_path: Path) -> None:
    panoptic(tmp_path)
    spec, path = f"cocopanoptic:{tmp_path}/shot:{tmp_path}/panoptic.json", tmp_path / "panoptic.json"
    before = open_dataset(spec).picture_key(0)
    path.write_text(path.read_text().replace('"id": 7, "category_id": 3', '"id": 7, "category_id": 44'))
    assert open_dataset(spec).picture_key(0) != before
    path.write_text(path.read_text().replace('"id": 7,', '"id": 8,'))
    with pytest.raises(DataError, match="unknown segments"):
        open_dataset(spec).load(0)
