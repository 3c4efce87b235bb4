"""Datasets: what opens, what is refused and that every refusal names the file."""

from __future__ import annotations

import itertools
import os
import shutil
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionlib.contracts import DATASETS, IGNORE, Sample
from fusionlib.data import files
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import CAMVID, CITYSCAPES, UNLABELLED
from fusionlib.data.spec import Spec, check, open_dataset, parse_spec, splits_of, usages
from fusionlib.data.streets import DOMAINS
from fusionlib.errors import Cancelled, DataError, UsageError

SIZE = (6, 8)


def write_picture(path: Path, seed: int = 0, size: tuple[int, int] = SIZE, mode: str = "RGB") -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return pixels


def write_mask(path: Path, ids, size: tuple[int, int] = SIZE) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.resize(np.array(ids, np.uint8), size)
    Image.fromarray(mask).save(path)
    return mask


@pytest.fixture
def camvid(tmp_path) -> Path:
    for split, count in (("train", 3), ("val", 2)):
        for i in range(count):
            write_picture(tmp_path / split / f"{i}.png", i)
            write_mask(tmp_path / f"{split}annot" / f"{i}.png", range(12))
    return tmp_path


@pytest.fixture
def folder(tmp_path) -> Path:
    write_picture(tmp_path / "images" / "a.jpg")
    write_picture(tmp_path / "images" / "b.png")
    for name in "ab":
        write_mask(tmp_path / "masks" / f"{name}.png", [3, 7, 200])
    (tmp_path / "classes.yaml").write_text(
        "name: mine\nclasses: [{name: road, id: 7}, {name: car, id: 3, color: '#0102ff'}]\nignore: [200, 255]\n"
    )
    return tmp_path


# --- specs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("camvid:/data/camvid", Spec("camvid", "/data/camvid")),
        ("camvid:/data/camvid@train", Spec("camvid", "/data/camvid", "train")),
        ("folder:C:\\data@home\\x", Spec("folder", "C:\\data@home\\x")),
        ("folder:/a@b/c:d@val-2.0", Spec("folder", "/a@b/c:d", "val-2.0")),
        ("folder:/a@b/", Spec("folder", "/a@b/")),
        ("folder:/a@b@c", Spec("folder", "/a@b", "c")),
        ("streets:fog:12@test", Spec("streets", "fog:12", "test")),
        ("pictures:here@", Spec("pictures", "here@")),
    ],
)
def test_specs_are_taken_apart(text, expected):
    assert parse_spec(text) == expected and str(expected) == text


@pytest.mark.parametrize("text", ["", "camvid", "/data/camvid", "vocs:/data", ":x", "camvid:", "camvid:@val"])
def test_malformed_specs_say_how_to_write_them(text):
    with pytest.raises(UsageError, match="camvid:DIR"):
        parse_spec(text)


def test_every_dataset_says_how_it_is_named():
    assert len(usages()) == len(DATASETS.names()) >= 4
    for name, opener in DATASETS.items():
        assert opener.title and opener.usage.startswith(f"{name}:")


def test_two_different_splits_or_an_empty_limit_are_refused(camvid):
    assert open_dataset(f"camvid:{camvid}@val", split="val").spec.endswith("@val")
    assert open_dataset(f"camvid:{camvid}", split="train").spec.endswith("@train")
    with pytest.raises(UsageError, match="Two splits"):
        open_dataset(f"camvid:{camvid}@val", split="train")
    with pytest.raises(UsageError, match="Limit 0"):
        open_dataset(f"camvid:{camvid}", limit=0)


def test_limit_keeps_the_first_and_has_its_own_fingerprint(camvid):
    whole = open_dataset(f"camvid:{camvid}@train")
    first, two = (open_dataset(f"camvid:{camvid}@train", limit=n) for n in (1, 2))
    assert [len(d) for d in (whole, first, two)] == [3, 1, 2] and two.name(1) == whole.name(1)
    assert np.array_equal(two.load(1).image, whole.load(1).image)
    assert len({d.fingerprint() for d in (whole, first, two)}) == 3
    assert len(open_dataset(f"camvid:{camvid}@train", limit=9)) == 3
    with pytest.raises(IndexError):
        first.load(1)


# --- camvid ----------------------------------------------------------------------------------------------------------


def test_camvid_opens_val_and_reads_pairs(camvid):
    dataset = open_dataset(f"camvid:{camvid}")
    assert (len(dataset), dataset.label_space, dataset.labelled) == (2, CAMVID, True)
    assert splits_of(f"camvid:{camvid}") == ("train", "val")
    sample = dataset.load(1)
    assert sample.name == dataset.name(1) == "1" and sample.truth is not None
    assert np.array_equal(sample.image, np.array(Image.open(camvid / "val" / "1.png")))
    assert sample.truth.dtype == np.uint8 and sample.truth.reshape(-1)[:12].tolist() == [*range(11), IGNORE]


def test_camvid_without_the_split_or_the_folder(camvid, tmp_path):
    with pytest.raises(DataError, match="train, val"):
        open_dataset(f"camvid:{camvid}@test")
    with pytest.raises(DataError, match="not a folder"):
        open_dataset(f"camvid:{tmp_path / 'nowhere'}")
    with pytest.raises(DataError, match="Correct the path"):
        open_dataset(f"camvid:{camvid / 'val'}")


def broken(tmp_path: Path, case: str) -> Path:
    """Break picture or mask 1 of val in one way; return the file that the error must name."""
    picture, mask = tmp_path / "val" / "1.png", tmp_path / "valannot" / "1.png"
    if case == "no mask":
        mask.unlink()
        return picture
    if case == "no picture":
        picture.unlink()
        return mask
    if case == "sizes":
        write_mask(mask, [0], (8, 6))
        return mask
    if case == "rgb mask":
        write_picture(mask)
    elif case == "16-bit mask":
        Image.fromarray(np.zeros(SIZE, np.uint16)).save(mask)
    elif case == "4-bit grey mask":
        mask.write_bytes(grey_png(8, 6, 4, b"\0" + b"\x01\x23\x45\x67"))
    elif case == "empty mask":
        mask.write_bytes(b"")
    elif case == "text mask":
        mask.write_text("this is not a picture, however long it may go on")
    elif case == "text picture":
        picture.write_text("nor is this")
        return picture
    elif case == "bomb":
        picture.write_bytes(grey_png(60_000, 60_000, 8, b"\0"))
        return picture
    elif case == "mask bomb":
        mask.write_bytes(grey_png(60_000, 60_000, 8, b"\0"))
    elif case == "link to nothing":
        picture.unlink()
        picture.symlink_to(tmp_path / "nowhere.png")
        return picture
    elif case == "pipe":
        mask.unlink()
        os.mkfifo(mask)
    return mask


def grey_png(width: int, height: int, bits: int, row: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(row * min(height, 10)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "case",
    [
        "no mask",
        "no picture",
        "sizes",
        "rgb mask",
        "16-bit mask",
        "4-bit grey mask",
        "empty mask",
        "text mask",
        "text picture",
        "bomb",
        "mask bomb",
        "link to nothing",
        "pipe",
    ],
)
def test_what_headers_show_is_refused_at_opening(camvid, case, monkeypatch):
    named = broken(camvid, case)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded before validation"))
    with pytest.raises(DataError) as error:
        open_dataset(f"camvid:{camvid}")
    assert str(named) in error.value.got and error.value.needs and error.value.do


def test_links_lead_where_the_operator_wants(camvid, tmp_path_factory):
    before = open_dataset(f"camvid:{camvid}")
    elsewhere = tmp_path_factory.mktemp("blobs")
    for number, path in enumerate(sorted((camvid / "val").iterdir())):
        path.rename(elsewhere / f"{number}")
        path.symlink_to(elsewhere / f"{number}")
    linked = open_dataset(f"camvid:{camvid}")
    assert linked.fingerprint() == before.fingerprint()
    assert np.array_equal(linked.load(0).image, before.load(0).image)


def test_unknown_ids_are_named_with_their_file(camvid):
    write_mask(camvid / "valannot" / "1.png", [0, 5, 12, 77])
    dataset = open_dataset(f"camvid:{camvid}")
    dataset.load(0)
    for look in (lambda: dataset.load(1), lambda: check(dataset)):
        with pytest.raises(DataError, match=r"unknown ids 12, 77") as error:
            look()
        assert str(camvid / "valannot" / "1.png") in error.value.got and "0 to 10" in error.value.needs


@pytest.mark.parametrize("which", ["val", "valannot"])
def test_truncated_files_are_named(camvid, which):
    path = camvid / which / "1.png"
    path.write_bytes(path.read_bytes()[:-40])
    dataset = open_dataset(f"camvid:{camvid}")
    with pytest.raises(DataError, match="cannot be read") as error:
        check(dataset)
    assert str(path) in error.value.got


def test_check_reports_progress_and_can_be_stopped(camvid):
    dataset, seen = open_dataset(f"camvid:{camvid}@train"), []
    check(dataset, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]

    def stop(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        check(dataset, stop)


def test_palette_masks_are_ids(camvid):
    path = camvid / "valannot" / "1.png"
    ids = np.resize(np.arange(12, dtype=np.uint8), SIZE)
    image = Image.fromarray(ids)
    image.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
    image.save(path, bits=4)
    truth = open_dataset(f"camvid:{camvid}").load(1).truth
    assert truth is not None and truth.tolist() == np.where(ids == 11, IGNORE, ids).tolist()


# --- fingerprints ----------------------------------------------------------------------------------------------------


def test_fingerprint_follows_content_and_not_place(camvid, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(camvid, other)
    before = open_dataset(f"camvid:{camvid}").fingerprint()
    assert open_dataset(f"camvid:{other}").fingerprint() == before
    assert open_dataset(f"camvid:{camvid}@train").fingerprint() != before


@pytest.mark.parametrize("change", ["picture", "mask", "name"])
def test_fingerprint_changes_with_every_file(camvid, change):
    before = open_dataset(f"camvid:{camvid}").fingerprint()
    if change == "picture":
        write_picture(camvid / "val" / "1.png", 99)
    elif change == "mask":
        write_mask(camvid / "valannot" / "1.png", range(11))
    else:
        for which in ("val", "valannot"):
            (camvid / which / "1.png").rename(camvid / which / "2.png")
    assert open_dataset(f"camvid:{camvid}").fingerprint() != before


def test_files_are_hashed_once(camvid, monkeypatch):
    dataset = open_dataset(f"camvid:{camvid}")
    before = dataset.fingerprint()
    monkeypatch.setattr(files.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assert dataset.fingerprint() == before


def test_fingerprint_of_a_lost_file_names_it(camvid):
    dataset = open_dataset(f"camvid:{camvid}")
    (camvid / "val" / "1.png").unlink()
    with pytest.raises(DataError, match=r"1\.png"):
        dataset.fingerprint()


# --- folders with classes.yaml ---------------------------------------------------------------------------------------


def test_folder_translates_its_ids(folder):
    dataset = open_dataset(f"folder:{folder}")
    assert dataset.label_space.names == ("road", "car") and dataset.label_space.name == "mine"
    assert dataset.label_space.palette[1] == (1, 2, 255)
    truth = dataset.load(0).truth
    assert truth is not None and truth.reshape(-1)[:3].tolist() == [1, 0, IGNORE]
    write_mask(folder / "masks" / "b.png", [3, 0])
    with pytest.raises(DataError, match=r"b\.png has unknown ids 0\. Needs: ids 7, 3 for classes, 200, 255 for void"):
        dataset.load(1)


def test_folder_in_a_built_in_space_or_with_plain_names(folder):
    (folder / "classes.yaml").write_text("label_space: cityscapes\nignore: 200\n")
    assert open_dataset(f"folder:{folder}").label_space is CITYSCAPES
    (folder / "classes.yaml").write_text("classes: [a, b, c, d, e, f, g, h]\nignore: [200]\n")
    assert open_dataset(f"folder:{folder}").label_space.name == folder.name


def test_folder_with_splits(tmp_path):
    for split in ("night", "day"):
        write_picture(tmp_path / "images" / split / "a.png")
        write_mask(tmp_path / "masks" / split / "a.png", [0])
    (tmp_path / "classes.yaml").write_text("classes: [road]")
    assert splits_of(f"folder:{tmp_path}") == ("day", "night")
    assert open_dataset(f"folder:{tmp_path}@night").spec == f"folder:{tmp_path}@night"
    for wrong in ("", "@dusk", "@.."):
        with pytest.raises(DataError, match="day, night"):
            open_dataset(f"folder:{tmp_path}{wrong}")
    write_picture(tmp_path / "images" / "stray.png")
    with pytest.raises(DataError, match="pictures and folders"):
        open_dataset(f"folder:{tmp_path}@day")


def test_folder_without_splits_refuses_one(folder):
    with pytest.raises(DataError, match="directly in images/"):
        open_dataset(f"folder:{folder}@val")


def test_two_pictures_of_one_name_are_refused(folder):
    write_picture(folder / "images" / "a.png")
    with pytest.raises(DataError, match="the same name"):
        open_dataset(f"folder:{folder}")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "NoneType"),
        ("- road", "list"),
        ("classes: [a", "cannot be read"),
        ("[" * 5000, "cannot be read"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
        ("klasses: [a]", "klasses"),
        ("ignore: 3", "neither"),
        ("classes: [a]\nlabel_space: camvid", "both"),
        ("label_space: voc12", "voc12"),
        ("label_space: cityscapes-void", "cityscapes-void"),
        ("label_space: [camvid]", "camvid"),
        ("classes: []", "classes"),
        ("classes: road", "classes"),
        ("classes: [1, 2]", "entry 0"),
        ("classes: [a, '']", "entry 1"),
        ("classes: [{name: a, id: 300}]", "entry 0"),
        ("classes: [{name: a, id: true}]", "entry 0"),
        ("classes: [{name: a, hue: 3}]", "hue"),
        ("classes: [{name: a, color: red}]", "color"),
        ("classes: [{name: a, color: [1, 2]}]", "color"),
        ("classes: [{name: a, color: '#12345g'}]", "color"),
        ("classes: [a, A]", "names a"),
        ("classes: [{name: a, id: 1}, b]", "ids 1"),
        ("classes: [a, b]\nignore: 1", r"\[1\]"),
        ("classes: [a]\nignore: -1", "ignore"),
        ("classes: [a]\nignore: [x]", "ignore"),
        ("name: [1]\nclasses: [a]", "name"),
        ("classes: [" + "a, " * 40_000 + "b]", "larger than"),
    ],
)
def test_wrong_yaml_is_named(folder, text, complaint):
    (folder / "classes.yaml").write_text(text)
    with pytest.raises(DataError, match=complaint) as error:
        open_dataset(f"folder:{folder}")
    assert str(folder / "classes.yaml") in error.value.got


def test_missing_parts_of_a_folder_are_named(folder):
    (folder / "classes.yaml").rename(folder / "klasses.yaml")
    with pytest.raises(DataError, match=r"No file .*classes\.yaml"):
        open_dataset(f"folder:{folder}")
    (folder / "klasses.yaml").rename(folder / "classes.yaml")
    (folder / "masks").rename(folder / "answers")
    with pytest.raises(DataError, match=r"No folder .*masks"):
        open_dataset(f"folder:{folder}")
    (folder / "images").rename(folder / "photos")
    with pytest.raises(DataError, match=r"No folder .*images"):
        open_dataset(f"folder:{folder}")


# --- pictures --------------------------------------------------------------------------------------------------------


def test_pictures_have_no_truth(tmp_path):
    for i, name in enumerate(("b.png", "a.JPG", ".hidden.png", "notes.txt")):
        write_picture(tmp_path / f"{name}.png", i)
        (tmp_path / f"{name}.png").rename(tmp_path / name)
    dataset = open_dataset(f"pictures:{tmp_path}")
    assert (len(dataset), dataset.labelled, dataset.label_space) == (2, False, UNLABELLED)
    assert [dataset.name(i) for i in range(2)] == ["a", "b"] and dataset.load(0).truth is None
    with pytest.raises(DataError, match="no split"):
        open_dataset(f"pictures:{tmp_path}@val")
    (tmp_path / "c.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"c\.png"):
        open_dataset(f"pictures:{tmp_path}")


def test_no_pictures_at_all(tmp_path):
    with pytest.raises(DataError, match="No pictures"):
        open_dataset(f"pictures:{tmp_path}")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_pictures_of_every_kind_become_rgb(tmp_path, mode):
    write_picture(tmp_path / "a.png", mode=mode)
    image = open_dataset(f"pictures:{tmp_path}").load(0).image
    expected = np.array(Image.open(tmp_path / "a.png").convert("RGB"))
    assert image.shape == (*SIZE, 3) and image.dtype == np.uint8 and np.array_equal(image, expected)


def test_sixteen_bit_grey_keeps_its_upper_byte(tmp_path):
    values = np.arange(0, 65536, 1366, dtype=np.uint16)[:48].reshape(SIZE)
    Image.fromarray(values).save(tmp_path / "a.png")
    image = open_dataset(f"pictures:{tmp_path}").load(0).image
    assert np.array_equal(image, np.repeat((values >> 8).astype(np.uint8)[..., None], 3, 2))


def test_orientation_is_obeyed_without_masks_and_ignored_with_them(tmp_path, folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    picture = Image.fromarray(np.zeros((*SIZE, 3), np.uint8))
    picture.save(folder / "images" / "a.jpg", exif=exif)
    assert open_dataset(f"folder:{folder}").load(0).image.shape == (*SIZE, 3)
    assert open_dataset(f"pictures:{folder / 'images'}").load(0).image.shape == (*SIZE[::-1], 3)


# --- streets ---------------------------------------------------------------------------------------------------------


def test_streets_are_the_same_every_time_and_differ_between_splits():
    first, again, test = (open_dataset(spec) for spec in ("streets:fog:2", "streets:fog:2@val", "streets:fog:2@test"))
    assert first.spec == "streets:fog:2@val" and first.fingerprint() == again.fingerprint() != test.fingerprint()
    one, same, other = (d.load(1) for d in (first, again, test))
    assert one.truth is not None and one.image.shape == (256, 512, 3) and one.truth.shape == (256, 512)
    assert set(np.unique(one.truth)) <= {*range(19), IGNORE}
    assert np.array_equal(one.image, same.image) and not np.array_equal(one.image, other.image)
    assert one.name == first.name(1) != test.name(1)


def test_streets_counts_domains_and_seeds():
    lengths = [len(open_dataset(f"streets:clear@{split}")) for split in ("train", "val", "test")]
    assert lengths == [400, 64, 64] and splits_of("streets:all") == ("train", "val", "test")
    longest = [open_dataset(f"streets:clear:1000000@{split}") for split in ("train", "val", "test")]
    seeds = [(int(d.name(0).split("-")[1]), int(d.name(999_999).split("-")[1])) for d in longest]
    assert all(last < first for (_, last), (first, _) in itertools.pairwise(seeds))
    mixed = open_dataset("streets:all:7")
    assert {mixed.name(i).split("-")[0] for i in range(7)} == set(DOMAINS)
    prints = {
        open_dataset(f"streets:{what}").fingerprint() for what in ("clear", "fog", "clear:5", "clear@train", "all")
    }
    assert len(prints) == 5
    with pytest.raises(IndexError):
        mixed.load(7)


@pytest.mark.parametrize(
    "text",
    [
        "streets:sun",
        "streets:clear:0",
        "streets:clear:-1",
        "streets:clear:many",
        "streets:clear:",
        "streets:clear:1000001",
        "streets:clear:" + "9" * 5000,
        "streets:clear:5@dawn",
    ],
)
def test_wrong_streets_are_refused(text):
    with pytest.raises(UsageError) as error:
        open_dataset(text)
    if "sun" in text:
        assert all(domain in error.value.needs for domain in DOMAINS)


# --- cache -----------------------------------------------------------------------------------------------------------


class Counted:
    """A dataset of 10 pictures of 300 bytes that counts how often each is decoded."""

    spec, title, label_space, labelled = "counted:", "counted", CAMVID, True

    def __init__(self) -> None:
        self.loads = [0] * 10
        self.content = "1"

    def __len__(self) -> int:
        return 10

    def name(self, index: int) -> str:
        return str(index)

    def load(self, index: int) -> Sample:
        self.loads[index] += 1
        time.sleep(0.002)
        if index == 9:
            raise DataError("picture 9", "a better one", "Replace it")
        return Sample(str(index), np.full((10, 9, 3), index, np.uint8), np.zeros((5, 6), np.uint8))

    def fingerprint(self) -> str:
        return self.content

    def picture_key(self, index: int) -> str:
        return f"picture {index}"

    def group(self, index: int) -> str:
        return "all"


def test_cache_decodes_once_until_it_is_full():
    source = Counted()
    cache = DecodedCache(source, 900)
    for _ in range(3):
        for index in (0, 1, 2):
            assert cache.load(index).image[0, 0, 0] == index
    assert source.loads[:3] == [1, 1, 1] and cache.used_bytes == 900
    cache.load(0)
    cache.load(3)  # pushes out 1, the least recently used
    assert cache.used_bytes == 900
    cache.load(0)
    cache.load(1)
    assert source.loads[:4] == [1, 2, 1, 1]
    assert (len(cache), cache.label_space, cache.name(4), cache.spec) == (10, CAMVID, "4", "counted:")


def test_cache_that_is_too_small_passes_everything_through():
    source = Counted()
    cache = DecodedCache(source, 299)
    for _ in range(2):
        assert cache.load(5).name == "5"
    assert source.loads[5] == 2 and cache.used_bytes == 0


def test_cache_stands_for_one_content_and_says_when_it_is_another():
    source = Counted()
    cache = DecodedCache(source, 10_000)
    assert cache.fingerprint() == "1" and cache.is_current()
    cache.verify()
    source.content = "2"
    assert cache.fingerprint() == "1" and not cache.is_current()
    with pytest.raises(DataError, match="were changed after they were opened"):
        cache.verify()


def test_threads_share_one_decoding():
    source, wrong = Counted(), []
    cache = DecodedCache(source, 10_000)

    def work(start: int) -> None:
        for step in range(40):
            index = (start + step) % 9
            if cache.load(index).image[0, 0, 0] != index:
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i // 2,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and source.loads == [1] * 9 + [0]


def test_cache_passes_errors_on_and_tries_again():
    source = Counted()
    cache = DecodedCache(source, 10_000)
    for _ in range(2):
        with pytest.raises(DataError, match="picture 9"):
            cache.load(9)
    assert source.loads[9] == 2


# --- the real thing --------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_real_camvid_opens_and_is_hashed_in_a_second(real_data):
    files._digest.cache_clear()
    start = time.perf_counter()
    dataset = open_dataset(f"camvid:{real_data / 'camvid'}")
    assert len(dataset) == 101 and len(dataset.fingerprint()) == 64
    assert time.perf_counter() - start < 1.0
    check(dataset)
    assert dataset.name(0) == "0016E5_07959" and dataset.load(0).image.shape == (360, 480, 3)
