"""Broken copies of every layout: whatever a file holds, what is said names it, and nothing else is raised."""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_trees import TREES, acdc, ade, gta_as, panoptic, photo, voc, write

from fusionlib.data import plain_json
from fusionlib.data.cache import DecodedCache
from fusionlib.data.spec import check, open_dataset, parse_spec, splits_of
from fusionlib.errors import DataError, UsageError
from fusionlib.studio import Options, Workspace

IDS = np.zeros((8, 12), np.uint8)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def vast() -> bytes:
    """A PNG of a hundred bytes that says it has 3.6 billion pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def link(path: Path) -> None:
    path.unlink(), path.symlink_to(path.with_name("nowhere.png"))


def pipe(path: Path) -> None:
    path.unlink(), os.mkfifo(path)


BROKEN: dict[str, tuple[Callable[[Path, Path], object], bool]] = {
    "picture empty": (lambda picture, _: picture.write_bytes(b""), True),
    "picture a page": (lambda picture, _: picture.write_text("<html>404</html>"), True),
    "picture cut off": (lambda picture, _: half(picture), True),
    "picture vast": (lambda picture, _: picture.write_bytes(vast()), True),
    "mask empty": (lambda _, mask: mask.write_bytes(b""), False),
    "mask cut off": (lambda _, mask: half(mask), False),
    "mask vast": (lambda _, mask: mask.write_bytes(vast()), False),
    "mask a JPEG": (lambda _, mask: Image.fromarray(IDS).save(mask, "JPEG"), False),
    "mask of 16 bits": (lambda _, mask: Image.fromarray(IDS.astype(np.uint16)).save(mask), False),
    "mask of one bit": (lambda _, mask: Image.fromarray(IDS > 0).save(mask), False),
    "mask of other ids": (lambda _, mask: Image.fromarray(IDS + 254).save(mask), False),
    "mask a dead link": (lambda _, mask: link(mask), False),
    "mask a pipe": (lambda _, mask: pipe(mask), False),
}
"""What is done to a tree, and whether it is the picture that is wrong then."""

SEEN = [
    name for name in TREES if name not in ("acdc night", "synthia 13", "mapillary 1.2", "cocostuff maps", "bdd100k seg")
]


@pytest.mark.parametrize("name", SEEN)
def test_a_broken_file_is_named(name: str, tmp_path: Path) -> None:
    for number, (what, (spoil, of_picture)) in enumerate(BROKEN.items()):
        root = tmp_path / str(number)
        picture, mask = TREES[name].make(root)
        spoil(picture, mask)
        with pytest.raises(DataError) as error:
            check(open_dataset(TREES[name].spec.format(root=root)))
        assert (picture if of_picture else mask).name in str(error.value), what
        assert error.value.needs and error.value.do and "Traceback" not in str(error.value), what


@pytest.mark.parametrize("name", SEEN)
def test_odd_names_and_what_lies_beside_change_nothing(name: str, tmp_path: Path) -> None:
    picture, mask = TREES[name].make(tmp_path)
    spec = TREES[name].spec.format(root=tmp_path)
    before = len(open_dataset(spec))
    for folder in {picture.parent, mask.parent}:
        (folder / "._x.png").write_bytes(b"\0"), (folder / "Thumbs.db").write_bytes(b"\0"), (folder / "more").mkdir()
        with zipfile.ZipFile(folder / "more.zip", "w") as archive:
            archive.writestr("x.png", b"\0")
    assert len(open_dataset(spec)) == before
    if not spec.startswith(("voc:", "cocopanoptic:")):  # lists name the files of these
        for path in (picture, mask):
            capitals = path.with_name(path.stem + path.suffix.upper())
            path.rename(capitals).rename(
                os.fsdecode(os.fsencode(path.parent) + b"/\xff\x1b" + os.fsencode(capitals.name))
            )
    dataset = open_dataset(spec)
    assert len(DecodedCache(dataset, 0)) == before and check(dataset).sum()


def test_endings_in_capitals_are_those_of_a_list_too(tmp_path: Path) -> None:
    for path in voc(tmp_path):
        path.rename(path.with_name(path.stem + path.suffix.upper()))
    assert len(open_dataset(f"voc:{tmp_path}")) == 2


def test_a_folder_among_pictures_is_no_split(tmp_path: Path) -> None:
    gta_as(IDS + 7, True)(tmp_path)
    photo(tmp_path / "images/old/1.png")
    assert splits_of(f"gta:{tmp_path}") == () and len(open_dataset(f"gta:{tmp_path}")) == 2
    assert open_dataset(f"gta:{tmp_path}").notes == ("Skipped in images: 1 folder (old)",)


def test_the_folder_above_is_told_where_the_layout_lies(tmp_path: Path) -> None:
    acdc(tmp_path / "sets/acdc"), gta_as(IDS, True)(tmp_path / "gta")
    for spec, there in (
        ("acdc:{0}", "acdc:{0}/sets/acdc"),
        ("acdc:{0}/sets", "acdc:{0}/sets/acdc"),
        ("gta:{0}", "gta:{0}/gta"),
    ):
        with pytest.raises(DataError) as error:
            open_dataset(spec.format(tmp_path))
        assert error.value.do.endswith(f" is in {there.format(tmp_path)}")
        assert open_dataset(there.format(tmp_path))


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acdc(tmp_path)

    def refused(folder: object) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("fusionlib.listing.os.scandir", refused)
    for ask in (open_dataset, splits_of):
        for spec in (f"acdc:{tmp_path}", f"cityscapes:{tmp_path}", f"pictures:{tmp_path}"):
            (tmp_path / "leftImg8bit").mkdir(exist_ok=True)
            if ask is splits_of and not spec.startswith("cityscapes"):
                continue
            with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
                ask(spec)


def test_a_file_of_very_many_values_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panoptic(tmp_path)
    spec, path = f"cocopanoptic:{tmp_path}/shot:{tmp_path}/panoptic.json", tmp_path / "panoptic.json"
    monkeypatch.setattr(plain_json, "MOST_VALUES", 1000)
    assert open_dataset(spec)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"more": [[]] * 1000}))
    with pytest.raises(DataError, match=r"panoptic\.json has more than 1,000 values"):
        open_dataset(spec)


def test_a_path_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        parse_spec(os.fsdecode(b"pictures:/data/\xff"))


@pytest.mark.parametrize(
    "change", ["parts:1/3", "class:road", "clases:road", "where:", "classes:", "as:", "part:1/2:0@val"]
)
def test_a_change_that_is_none_lists_those_there_are(change: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="@where:COLUMN=VALUE"):
        open_dataset(f"acdc:{tmp_path}@{change}")


def test_a_table_with_a_wrong_class_is_named_where_masks_are_read_by_it(tmp_path: Path) -> None:
    from fusionlib.data import tables

    write(tmp_path / "masks/a.png", IDS), photo(tmp_path / "images/a.png")
    (tmp_path / "classes.yaml").write_text("name: town\nclasses: [asphalt, bird]\n")
    (tmp_path / "tables").mkdir()
    path = tmp_path / "tables/mine.yaml"
    try:
        for wrong in ("{asphallt: road}", "{asphalt: roads}"):
            path.write_text(f"from: town\nto: cityscapes\nclasses: {wrong}\n")
            tables.use(tables.read_tables(path.parent))
            with pytest.raises(DataError, match=r"mine\.yaml has the class"):
                open_dataset(f"folder:{tmp_path}@as:cityscapes")
        path.write_text("from: town\nto: cityscapes\nclasses: {asphalt: road, bird: null}\n")
        tables.use(tables.read_tables(path.parent))
        dataset = open_dataset(f"folder:{tmp_path}@as:cityscapes@classes:road")
        assert dataset.label_space.names == ("road",) and not dataset.load(0).truth.any()  # type: ignore[union-attr]
        with pytest.raises(DataError, match="in front of what else changes classes"):
            open_dataset(f"folder:{tmp_path}@classes:asphalt@as:cityscapes")
    finally:
        tables.use(())


def test_the_app_begins_with_the_split_for_validation(tmp_path: Path) -> None:
    ade(tmp_path / "ade"), photo(tmp_path / "ade/images/training/x.jpg")
    workspace = Workspace(Options(data=(f"ade20k:{tmp_path / 'ade'}",), demo=False, home=tmp_path / "home"))
    (source,) = workspace.sources
    assert source.splits == ("training", "validation") and workspace.first_split(source.name) == "validation"
