"""Bytes for the browser come back exactly; colours follow the label space."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from fusionlib.data.labels import CAMVID, CITYSCAPES
from fusionlib.errors import DataError, UsageError
from fusionlib.imaging.palette import colourise, overlay
from fusionlib.imaging.png import encode_grey, encode_picture, encode_rgb, pack_labels, unpack_labels


def decoded(data: bytes, mode: str) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG" and image.mode == mode
        return np.array(image)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 256]))
def test_png_is_lossless_for_every_size(height, width, seed, values):
    maps = np.random.default_rng(seed).integers(0, values, (3, height, width), dtype=np.uint8)
    assert np.array_equal(decoded(encode_grey(maps[0]), "L"), maps[0])
    assert np.array_equal(decoded(encode_rgb(*maps), "RGB"), maps.transpose(1, 2, 0))
    picture = np.ascontiguousarray(maps.transpose(1, 2, 0))
    assert np.array_equal(decoded(encode_picture(picture, lossless=True), "RGB"), picture)


def test_channels_are_label_confidence_and_runner_up():
    red, green, blue = (np.full((4, 5), value, np.uint8) for value in (7, 200, 9))
    assert decoded(encode_rgb(red, green, blue), "RGB")[0, 0].tolist() == [7, 200, 9]


def test_views_that_are_not_contiguous_are_encoded_right():
    values = np.arange(200, dtype=np.uint8).reshape(10, 20)
    assert np.array_equal(decoded(encode_grey(values[::2, ::-3]), "L"), values[::2, ::-3])


def test_same_map_same_bytes_and_label_maps_are_small():
    labels = np.kron(np.arange(32, dtype=np.uint8).reshape(4, 8), np.ones((64, 64), np.uint8))
    assert encode_grey(labels) == encode_grey(labels.copy()) and len(encode_grey(labels)) < labels.size // 40


def test_jpeg_is_close():
    y, x = np.mgrid[0:64, 0:96]
    image = np.dstack([x * 2, y * 3, x + y]).astype(np.uint8)
    with Image.open(io.BytesIO(encode_picture(image))) as shown:
        assert shown.format == "JPEG"
        assert np.abs(np.array(shown, int) - image).mean() < 3


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: encode_grey(np.zeros((4, 4))),
        lambda: encode_grey(np.zeros((0, 4), np.uint8)),
        lambda: encode_grey(np.zeros(4, np.uint8)),
        lambda: encode_rgb(*(np.zeros((4, n), np.uint8) for n in (4, 4, 5))),
        lambda: encode_rgb(*(np.zeros((4, 4), np.int64) for _ in range(3))),
        lambda: encode_picture(np.zeros((4, 4), np.uint8)),
        lambda: encode_picture(np.zeros((4, 4, 3), np.float32)),
    ],
)
def test_other_shapes_and_types_are_refused(wrong):
    with pytest.raises(UsageError):
        wrong()


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_colours_are_the_palettes(kind):
    labels = np.array([[*range(11), 11, 19, 255]], kind)
    shown = colourise(labels, CAMVID)
    assert shown.dtype == np.uint8 and shown[0, :11].tolist() == [list(c) for c in CAMVID.palette]
    assert shown[0, 11:].tolist() == [[0, 0, 0]] * 3
    if kind is np.int64:
        assert not colourise(np.array([[-1, 256, 1000]]), CAMVID).any()


def test_overlay_blends_and_leaves_void_alone():
    image = np.full((1, 3, 3), 100, np.uint8)
    labels = np.array([[13, 255, 0]], np.uint8)
    assert overlay(image, labels, CITYSCAPES, 0.0).tolist() == image.tolist()
    assert overlay(image, labels, CITYSCAPES, 1.0)[0].tolist() == [[0, 0, 142], [100] * 3, [128, 64, 128]]
    assert overlay(image, labels, CITYSCAPES, 0.5)[0].tolist() == [[50, 50, 121], [100] * 3, [114, 82, 114]]


def test_overlay_refuses_other_sizes_and_opacities():
    image, labels = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), np.uint8)
    for wrong in (lambda: overlay(image, labels[:1], CAMVID), lambda: overlay(image, labels, CAMVID, 1.5)):
        with pytest.raises(UsageError):
            wrong()


# --- label maps that are kept ----------------------------------------------------------------------------------------


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_a_packed_label_map_is_exact_and_any_reader_reads_it(labels: np.ndarray) -> None:
    packed = pack_labels(labels)
    assert np.array_equal(unpack_labels(packed, *labels.shape), labels)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(packed))), labels)


LABELS = np.arange(63, dtype=np.uint8).reshape(7, 9)


@given(st.integers(0, len(pack_labels(LABELS)) - 1), st.integers(1, 255))
def test_any_changed_byte_of_a_label_map_is_noticed(place: int, change: int) -> None:
    packed = bytearray(pack_labels(LABELS))
    packed[place] ^= change
    with pytest.raises(DataError, match="stored label map"):
        unpack_labels(bytes(packed), 7, 9)


@given(st.binary(max_size=80))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    for one in (data, pack_labels(LABELS)[:41] + data, pack_labels(LABELS) + data + b"."):
        with pytest.raises(DataError):
            unpack_labels(one, 7, 9)


def label_file(rows: bytes) -> bytes:
    """A file whose checksums are right, whatever its rows are."""
    whole, body = pack_labels(LABELS), zlib.compress(rows)
    chunk = struct.pack(">I", len(body)) + b"IDAT" + body
    return whole[:33] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + whole[-12:]


@pytest.mark.parametrize("rows", [bytes(69), bytes(71), b"", b"\1" + bytes(69), bytes(1 << 28)])
def test_rows_that_are_not_those_of_the_size_are_refused_without_unpacking_them(rows: bytes) -> None:
    data = label_file(rows)
    tracemalloc.start()
    with pytest.raises(DataError, match="rows"):
        unpack_labels(data, 7, 9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(data) + 100_000


@pytest.mark.parametrize("labels", [np.zeros((2, 2)), np.zeros((0, 2), np.uint8), np.zeros((2, 2, 1), np.uint8)])
def test_only_label_maps_are_packed(labels: np.ndarray) -> None:
    with pytest.raises(UsageError, match="label map"):
        pack_labels(labels)
