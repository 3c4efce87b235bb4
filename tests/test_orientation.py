"""Cameras' orientations: pictures and masks that lie upon each other whichever of them was stored turned, and what is
said of it.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from test_data import write_mask

from fusionlib.contracts import DATASETS
from fusionlib.data.orientation import _orientation, fitting, orientation_of, shown_size, turned
from fusionlib.data.spec import open_dataset
from fusionlib.errors import DataError

UPRIGHT = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
IDS = np.arange(24, dtype=np.uint8).reshape(4, 6) % 3
INVERSE = {6: 8, 8: 6}
"""All other orientations undo themselves."""


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera stores with this orientation, so that viewers show `pixels`."""
    return turned(pixels, INVERSE.get(orientation, orientation))


def folder(
    place: Path, image: np.ndarray, mask: np.ndarray, orientations: tuple[int, int] = (1, 1), more: str = ""
) -> str:
    for name, pixels, orientation in (("images", image, orientations[0]), ("masks", mask, orientations[1])):
        (place / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / name / "a.png", **({"exif": exif(orientation)} if orientation > 1 else {}))
    (place / "classes.yaml").write_text(f"classes: [a, b, c]\n{more}")
    return f"folder:{place}"


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_turned_as_pillow_turns_them(tmp_path, suffix, orientation):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(UPRIGHT).save(path, exif=exif(orientation))
    assert orientation_of(path) == orientation
    with Image.open(path) as image:
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        assert np.array_equal(turned(np.asarray(image.convert("RGB")), orientation), shown)
    assert shown_size(UPRIGHT.shape[:2], orientation) == shown.shape[:2]
    assert np.array_equal(turned(stored(UPRIGHT, orientation), orientation), UPRIGHT)
    assert np.array_equal(open_dataset(f"pictures:{tmp_path}").load(0).image, shown)


def test_an_entry_after_the_pixels_of_a_png_counts_too(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(UPRIGHT).save(path, exif=exif(6))
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    chunk = content[start : start + 12 + struct.unpack_from(">I", content, start)[0]]
    path.write_bytes(content.replace(chunk, b"").replace(b"\0\0\0\0IEND", chunk + b"\0\0\0\0IEND"))
    assert orientation_of(path) == 6


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "value", "means"), [(3, 3, 3), (4, 3, 3), (3, 0, 1), (3, 9, 1), (2, 3, 1)])
def test_an_entry_is_read_by_its_type_and_byte_order(order, kind, value, means):
    other = struct.pack(f"{order}HHII", 0x010F, 2, 4, 0)
    body = struct.pack(f"{order}HHI", 0x0112, kind, 1) + struct.pack(f"{order}{'H2x' if kind == 3 else 'I'}", value)
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 2) + other + body
    assert _orientation(tiff) == means
    assert all(_orientation(tiff[:length]) in (1, means) for length in range(len(tiff)))


@given(st.binary(max_size=64), st.sampled_from([b"II*\0", b"MM\0*", b""]))
@settings(max_examples=200, deadline=None)
def test_no_bytes_are_too_strange(noise, start):
    assert 1 <= _orientation(start + noise) <= 8


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_mask_drawn_upright_lies_on_a_photo_stored_turned(tmp_path, orientation):
    dataset = open_dataset(folder(tmp_path, stored(UPRIGHT, orientation), IDS, (orientation, 1)))
    sample = dataset.load(0)
    assert np.array_equal(sample.image, UPRIGHT) and np.array_equal(sample.truth, IDS)
    (note,) = dataset.notes
    assert note.startswith("EXIF orientation in 1 of 1 pictures: 1 ")
    assert ("read as viewers show them, though" in note) == (orientation < 5)
    assert ("the only way in which masks fit" in note) == (orientation >= 5)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_mask_drawn_on_the_stored_pixels_lies_on_them_where_its_size_says_so(tmp_path, orientation):
    more = "" if orientation >= 5 else "orientation: stored"
    dataset = open_dataset(folder(tmp_path, UPRIGHT, IDS, (orientation, 1), more))
    sample = dataset.load(0)
    assert np.array_equal(sample.image, UPRIGHT) and np.array_equal(sample.truth, IDS)
    assert ("as classes.yaml asks" in dataset.notes[0]) == (orientation < 5)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_square_picture_follows_the_rule(tmp_path, orientation):
    image, ids = UPRIGHT[:, :4], IDS[:, :4]
    sample = open_dataset(folder(tmp_path, stored(image, orientation), ids, (orientation, 1))).load(0)
    assert np.array_equal(sample.image, image) and np.array_equal(sample.truth, ids)
    sample = open_dataset(folder(tmp_path, image, ids, (orientation, 1), "orientation: stored")).load(0)
    assert np.array_equal(sample.image, image) and np.array_equal(sample.truth, ids)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_masks_have_orientations_too(tmp_path, orientation):
    """Both stored turned, and a mask alone whose entry is needed to make the sizes fit."""
    dataset = open_dataset(
        folder(tmp_path, stored(UPRIGHT, orientation), stored(IDS, orientation), (orientation, orientation))
    )
    sample = dataset.load(0)
    assert np.array_equal(sample.image, UPRIGHT) and np.array_equal(sample.truth, IDS)
    sample = open_dataset(folder(tmp_path / "alone", UPRIGHT, stored(IDS, orientation), (1, orientation))).load(0)
    assert np.array_equal(sample.image, UPRIGHT) and np.array_equal(sample.truth, IDS)


def test_sizes_that_fit_in_no_orientation_are_told_with_the_entry(tmp_path):
    with pytest.raises(DataError) as error:
        open_dataset(folder(tmp_path, UPRIGHT, np.zeros((6, 5), np.uint8), (6, 1)))
    assert "is 6 x 4 (as viewers show it, by its EXIF orientation 6, 4 x 6) and its mask" in error.value.got
    assert error.value.got.endswith("is 5 x 6")
    with pytest.raises(DataError) as error:
        open_dataset(folder(tmp_path, UPRIGHT, np.zeros((6, 5), np.uint8)))
    assert "EXIF" not in error.value.got


def test_how_many_pictures_were_read_how(tmp_path):
    spec = folder(tmp_path, stored(UPRIGHT, 3), IDS, (3, 1))
    for name, orientation in (("b", 6), ("c", 8), ("d", 1)):
        Image.fromarray(stored(UPRIGHT, orientation)).save(tmp_path / "images" / f"{name}.jpg", exif=exif(orientation))
        write_mask(tmp_path / "masks" / f"{name}.png", [0], IDS.shape)
    assert open_dataset(spec, limit=2).notes == (
        (
            "EXIF orientation in 3 of 4 pictures: 2 read in the only way in which masks fit, 1 read as viewers show"
            " them, though masks fit as stored too (orientation: stored in classes.yaml chooses that)"
        ),
    )


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    st.booleans(),
)
@settings(deadline=None)
def test_a_reading_fits_wherever_one_does(image, mask, orientations, stored_first):
    readings = [(own, drawn) for own in {1, orientations[0]} for drawn in {1, orientations[1]}]
    fits = [one for one in readings if shown_size(image, one[0]) == shown_size(mask, one[1])]
    found = fitting(image, mask, orientations, stored_first=stored_first)
    assert (found is None) == (not fits)
    if found is not None:
        assert found[0] in fits and found[1] == (len(fits) > 1)
        first = (1, 1) if stored_first else orientations
        assert first not in fits or found[0] == first


def test_camvid_follows_the_same_rule(tmp_path):
    folder(tmp_path, stored(UPRIGHT, 3), IDS, (3, 1))
    (tmp_path / "images").rename(tmp_path / "val"), (tmp_path / "masks").rename(tmp_path / "valannot")
    dataset = DATASETS.get("camvid").open(str(tmp_path), "val")
    assert np.array_equal(dataset.load(0).image, UPRIGHT) and len(dataset.notes) == 1
