"""Masks of ids and of colours: what every type of pixel is read as, and what is refused with the file and the
colour.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_data import grey_png

from fusionlib.contracts import IGNORE
from fusionlib.data import masks
from fusionlib.data.labels import CITYSCAPES
from fusionlib.data.spec import open_dataset
from fusionlib.errors import DataError

ROAD, CAR, VOID = (128, 64, 128), (0, 0, 142), (0, 0, 0)
COLOURED = (
    "classes: [{name: road, id: 7, color: '#804080'}, {name: car, id: 3, color: [0, 0, 142]}]\n"
    "ignore: [255, '#000000']\n"
)
PIXELS = np.array([[ROAD, ROAD, CAR, VOID], [CAR, CAR, VOID, ROAD]], np.uint8)
LABELS = [[0, 0, 1, IGNORE], [1, 1, IGNORE, 0]]
BLACK_AND_WHITE = "classes: [{name: dark, color: '#000000'}, {name: light, color: '#ffffff'}]\n"


def data(folder: Path, mask: np.ndarray | Image.Image | bytes, classes: str) -> str:
    """A folder with one picture and this mask; its spec."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    path = folder / "masks" / "a.png"
    if isinstance(mask, bytes):
        path.write_bytes(mask)
    else:
        (Image.fromarray(mask) if isinstance(mask, np.ndarray) else mask).save(path)
    with Image.open(path) as opened:
        Image.new("RGB", opened.size).save(folder / "images" / "a.png")
    (folder / "classes.yaml").write_text(classes)
    return f"folder:{folder}"


def labels(*arguments) -> list[list[int]]:
    truth = open_dataset(data(*arguments)).load(0).truth
    assert truth is not None and truth.dtype == np.uint8 and truth.flags.c_contiguous and truth.flags.writeable
    return truth.tolist()


def palette_of(pixels: np.ndarray, order: list[tuple[int, int, int]]) -> Image.Image:
    """The picture as indices into `order`."""
    indices = np.array([[order.index(tuple(pixel)) for pixel in row] for row in pixels.tolist()], np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette([part for colour in order for part in colour])
    return image


def refusal(*arguments) -> DataError:
    with pytest.raises(DataError) as error:
        labels(*arguments)
    assert "a.png" in error.value.got and error.value.needs and error.value.do
    return error.value


# --- colours ---------------------------------------------------------------------------------------------------------


def test_rgb_and_rgba_are_read_by_the_colours_of_classes_yaml(tmp_path):
    assert labels(tmp_path, PIXELS, COLOURED) == LABELS
    alpha = np.full((2, 4, 1), 99, np.uint8)
    assert labels(tmp_path, np.concatenate([PIXELS, alpha], 2), COLOURED) == LABELS
    assert labels(tmp_path, np.tile(PIXELS, (40, 30, 1)), COLOURED) == np.tile(LABELS, (40, 30)).tolist()


def test_bands_change_nothing(tmp_path, monkeypatch):
    whole = [labels(tmp_path, mask, COLOURED) for mask in (PIXELS, np.array([[7, 3, 255]] * 3, np.uint8))]
    monkeypatch.setattr(masks, "_BAND", 3)
    assert whole == [labels(tmp_path, mask, COLOURED) for mask in (PIXELS, np.array([[7, 3, 255]] * 3, np.uint8))]
    strange = np.array([[[1, 2, 3]] * 5 + [[9, 9, 9]] * 2 + [list(ROAD)] * 4], np.uint8)
    assert "#010203 in 5 pixels, #090909 in 2 pixels" in refusal(tmp_path, strange, COLOURED).got


def test_a_palette_is_read_by_its_colours_where_every_class_has_one(tmp_path):
    order = [CAR, VOID, (9, 9, 9), ROAD]  # an unused entry too, and no index that is its class's id
    assert labels(tmp_path, palette_of(PIXELS, order), COLOURED) == LABELS
    ids = np.array([[7, 7, 3, 255]], np.uint8)
    image = Image.fromarray(ids, "P")
    image.putpalette([part for index in range(256) for part in {7: ROAD, 3: CAR}.get(index, VOID)])
    assert labels(tmp_path, image, COLOURED) == [[0, 0, 1, IGNORE]]


def test_a_palette_holds_ids_where_a_class_lacks_a_colour_or_the_file_says_so(tmp_path):
    image = palette_of(PIXELS, [ROAD, CAR, VOID])
    assert labels(tmp_path, image, "classes: [road, car]\nignore: 2") == LABELS
    assert labels(tmp_path, image, "classes: [{name: road, color: '#ff0000'}, car]\nignore: 2") == LABELS
    wrong = "classes: [{name: road, color: '#ff0000'}, {name: car, color: '#00ff00'}]\nignore: 2\n"
    assert "`masks: ids`" in refusal(tmp_path, image, wrong).do
    assert labels(tmp_path, image, wrong + "masks: ids") == LABELS


def test_grey_holds_ids_unless_all_colours_are_grey(tmp_path):
    ids = np.array([[7, 3], [255, 7]], np.uint8)
    assert labels(tmp_path, ids, COLOURED) == [[0, 1], [IGNORE, 0]]
    grey = np.array([[0, 255], [255, 0]], np.uint8)
    assert labels(tmp_path, grey, BLACK_AND_WHITE) == [[0, 1], [1, 0]]
    assert labels(tmp_path, grey // 255, BLACK_AND_WHITE + "masks: ids") == [[0, 1], [1, 0]]
    assert "#010101 in 2 pixels" in refusal(tmp_path, grey // 255, BLACK_AND_WHITE).got


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_black_and_white_of_every_type_is_the_same(tmp_path, mode):
    grey = Image.fromarray(np.array([[0, 255, 255], [255, 0, 0]], np.uint8)).convert(mode)
    assert labels(tmp_path, grey, BLACK_AND_WHITE) == [[0, 1, 1], [1, 0, 0]]


def test_sixteen_bits_are_read_by_colour_and_as_ids(tmp_path):
    grey = np.array([[0, 65535, 0]], np.uint16)
    assert labels(tmp_path, grey, BLACK_AND_WHITE) == [[0, 1, 0]]
    assert "value 256 in 1 pixels" in refusal(tmp_path, np.array([[0, 256, 65535]], np.uint16), BLACK_AND_WHITE).got
    assert labels(tmp_path, np.array([[0, 1, 255]], np.uint16), "classes: [a, b]") == [[0, 1, IGNORE]]
    assert "unknown ids 256, 26001" in refusal(tmp_path, np.array([[0, 26001, 256]], np.uint16), "classes: [a, b]").got
    assert labels(tmp_path, np.array([[0, 26001, 1]], np.uint16), "classes: [a, b]\nunknown: ignore") == [
        [0, IGNORE, 1]
    ]


def test_one_bit_holds_the_ids_0_and_1(tmp_path):
    assert labels(tmp_path, np.array([[True, False]]), "classes: [dark, light]") == [[1, 0]]
    assert "unknown ids 1" in refusal(tmp_path, np.array([[True, False]]), "classes: [dark]").got


def test_few_bits_are_colours_but_no_ids(tmp_path):
    four = grey_png(8, 6, 4, b"\0" + b"\xf0" * 4)
    assert labels(tmp_path, four, BLACK_AND_WHITE) == [[1, 0] * 4] * 6
    error = refusal(tmp_path, four, "classes: [a, b]")
    assert "4-bit grey" in error.got and "1, 8, 16-bit grey" in error.needs


def test_unknown_colours_are_named_with_their_pixels_and_file(tmp_path):
    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[0] = (255, 0, 170)
    pixels[1, :3] = [(1, 1, number) for number in range(1, 4)]
    error = refusal(tmp_path, pixels, COLOURED)
    assert error.got.endswith(
        "a.png has the unknown colours #ff00aa in 5 pixels, #010101 in 1 pixels, #010102 in 1 pixels"
        " and 1 more in 1 pixels"
    )
    assert "2 classes" in error.needs and "classes.yaml" in error.do
    assert labels(tmp_path, pixels, COLOURED + "unknown: ignore") == [[IGNORE] * 5] * 4
    fuzzy = palette_of(np.array([[ROAD, (5, 5, 5)]], np.uint8), [ROAD, (5, 5, 5)])
    assert "#050505 in 1 pixels" in refusal(tmp_path, fuzzy, COLOURED).got
    assert labels(tmp_path, fuzzy, COLOURED + "unknown: ignore") == [[0, IGNORE]]


def test_a_noisy_picture_is_refused_soon(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    error = refusal(tmp_path, noise, COLOURED)
    assert "more in" in error.got and len(error.got) < 400


def test_an_index_that_the_palette_does_not_have_is_no_colour(tmp_path):
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 3, 1, 8, 3, 0, 0, 0),
        b"PLTE": bytes([*ROAD, *CAR]),
        b"IDAT": zlib.compress(b"\0\0\1\x09"),
        b"IEND": b"",
    }
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks.items()
    )
    assert "value 9 in 1 pixels" in refusal(tmp_path, png, COLOURED).got


def test_a_built_in_space_has_colours_for_rgb_and_ids_for_the_rest(tmp_path):
    pixels = np.array([[CITYSCAPES.palette[13], CITYSCAPES.palette[0], (0, 0, 0)]], np.uint8)
    assert labels(tmp_path, pixels, "label_space: cityscapes") == [[13, 0, IGNORE]]
    ids = palette_of(pixels, [(0, 0, 0), CITYSCAPES.palette[0], CITYSCAPES.palette[13]])
    assert labels(tmp_path, ids, "label_space: cityscapes") == [[2, 1, 0]]
    assert labels(tmp_path, ids, "label_space: cityscapes\nmasks: colors") == [[13, 0, IGNORE]]


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ("classes: [{name: road, color: '#804080'}, car]", "'car' has no color"),
        ("classes: [{name: road, color: '#804080'}, {name: car, color: '#804080'}]", "two classes have the same color"),
        ("classes: [road]\nmasks: colors", "'road' has no color"),
    ],
)
def test_colours_are_not_guessed(tmp_path, classes, says):
    error = refusal(tmp_path, PIXELS, classes)
    assert "8-bit RGB picture" in error.got and says in error.do


def test_rgb_where_ids_are_asked_for_and_camvid_in_colours_are_refused(tmp_path):
    assert "8-bit RGB" in refusal(tmp_path, PIXELS, COLOURED + "masks: ids").got
    for name in ("val", "valannot"):
        (tmp_path / "camvid" / name).mkdir(parents=True)
        Image.fromarray(PIXELS).save(tmp_path / "camvid" / name / "a.png")
    with pytest.raises(DataError, match=r"classes\.yaml"):
        open_dataset(f"camvid:{tmp_path / 'camvid'}")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("classes: [a]\nmasks: colours", "masks 'colours'"),
        ("classes: [a]\nunknown: [x]", "unknown"),
        ("classes: [a]\nunknown: true", "unknown"),
        ("classes: [a]\norientation: 3", "orientation 3"),
        ("classes: [a]\nignore: '#12345'", "ignore"),
        ("classes: [a]\nignore: [[1, 2, 300]]", "ignore"),
        ("classes: [{name: a, color: '#000000'}]\nignore: '#000000'", r"\(0, 0, 0\)"),
    ],
)
def test_wrong_choices_are_named(tmp_path, text, complaint):
    with pytest.raises(DataError, match=complaint) as error:
        labels(tmp_path, np.zeros((2, 2), np.uint8), text)
    assert "classes.yaml" in error.value.got


def test_void_is_no_longer_255_where_a_class_is(tmp_path):
    grey = np.array([[0, 255]], np.uint8)
    assert labels(tmp_path, grey, "classes: [{name: dark, id: 0}, {name: light, id: 255}]") == [[0, 1]]
    assert labels(tmp_path, grey, "classes: [dark, light]") == [[0, IGNORE]]
    assert "unknown ids 255" in refusal(tmp_path, grey, "classes: [dark, light]\nignore: []").got
    assert "unknown ids 255" in refusal(tmp_path, grey, "classes: [dark, light]\nignore: '#000000'").got


def test_what_colours_mean_is_in_the_fingerprint_where_they_are_read(tmp_path):
    first = open_dataset(data(tmp_path, PIXELS, COLOURED)).fingerprint()
    swapped = COLOURED.replace("#804080", "#x").replace("[0, 0, 142]", "'#804080'").replace("'#x'", "[0, 0, 142]")
    assert open_dataset(data(tmp_path, PIXELS, swapped)).fingerprint() != first
    ids = np.array([[7, 3]], np.uint8)
    assert (
        open_dataset(data(tmp_path, ids, COLOURED)).fingerprint()
        == open_dataset(data(tmp_path, ids, swapped)).fingerprint()
    )
    lenient = open_dataset(data(tmp_path, ids, COLOURED + "unknown: ignore")).fingerprint()
    assert lenient != open_dataset(data(tmp_path, ids, COLOURED)).fingerprint()


@pytest.mark.parametrize("kept", [b"PNG", b"IHDR", b"IDAT"])
@pytest.mark.parametrize("kind", ["RGB", "P", "L"])
def test_torn_masks_of_every_type_are_named(tmp_path, kept, kind):
    spec = data(
        tmp_path,
        palette_of(PIXELS, [CAR, VOID, ROAD]) if kind == "P" else Image.fromarray(PIXELS).convert(kind),
        COLOURED,
    )
    path = tmp_path / "masks" / "a.png"
    content = path.read_bytes()
    path.write_bytes(content[: content.index(kept) + 10])
    with pytest.raises(DataError, match=r"a\.png"):
        open_dataset(spec).load(0)
