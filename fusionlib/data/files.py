"""Reading picture and mask files with suspicion: names, sizes and types are checked before anything is decoded."""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import zlib
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fusionlib.errors import DataError

MAX_PIXELS = 64_000_000
"""Larger pictures are refused by their header: a small file can claim to unpack to gigabytes."""

WHOLE_PIXELS = 2048 * 1024
"""Larger pictures are looked at reduced: a frame of Cityscapes is the largest that is passed through a network as a whole."""

_LARGE = threading.Lock()
"""Held while a larger picture is decoded, which takes several bytes a pixel: one at a time in this process."""

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, TypeError, struct.error, zlib.error,
               Image.DecompressionBombError)
_CONVERTIBLE = frozenset({"RGB", "RGBA", "RGBX", "RGBa", "L", "LA", "La", "P", "PA", "1", "CMYK", "YCbCr"})


def existing_folder(argument: str) -> Path:
    """The folder that a spec names, `~` expanded. Raises `DataError` when there is none."""
    folder = Path(argument).expanduser()
    if not folder.is_dir():
        raise DataError(f"{argument!r} is not a folder", "a folder with pictures", "Correct the path in the data spec")
    return folder


def list_files(folder: Path, suffixes: tuple[str, ...] = PICTURE_SUFFIXES) -> list[Path]:
    """Files of `folder` with these suffixes, sorted by name, links among them; hidden files are left out.

    Raises `DataError` for what is no file, such as a link that leads nowhere.
    """
    found = sorted((entry for entry in folder.iterdir()
                    if entry.suffix.lower() in suffixes and not entry.name.startswith(".")), key=lambda e: e.name)
    for entry in found:
        if not entry.is_file():
            raise DataError(f"{entry} is not a readable file", "picture files only", "Remove it from the folder")
    return found


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header, nothing decoded. Raises `DataError` that names the file."""
    try:
        with path.open("rb") as file:
            if not file.read(8).startswith((_PNG, _JPEG)):  # Pillow would try its other hundred formats first
                raise DataError(f"{path} is neither a PNG nor a JPEG file", "PNG or JPEG pictures", "Convert the picture")
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            width, height = image.size
    except DataError:
        raise
    except _UNREADABLE as problem:
        raise _unreadable(path, problem) from problem
    _check_pixels(path, height, width)
    return height, width


def mask_size(path: Path) -> tuple[int, int]:
    """(height, width) of a PNG mask, whose type is checked: 8-bit grey or palette, so that pixels are class ids.

    Raises `DataError` that names the file. The header is read by hand because Pillow does not tell a grey picture of
    2 or 4 bits (whose ids it stretches to 0 ... 255) from one of 8.
    """
    try:
        with path.open("rb") as file:
            head = file.read(33)
        magic, _, chunk, width, height, bits, colour = struct.unpack(">8sI4sIIBB", head[:26])
    except (OSError, struct.error) as problem:
        raise _unreadable(path, problem) from problem
    if magic != _PNG or chunk != b"IHDR":
        raise DataError(f"{path} is not a PNG file", "masks as PNG pictures of class ids", "Convert the mask")
    if colour != 3 and (colour, bits) != (0, 8):
        kind = {0: "grey", 2: "RGB", 4: "grey with alpha", 6: "RGBA"}.get(colour, "unknown type")
        raise DataError(f"{path} is a {bits}-bit {kind} picture", "8-bit grey or palette masks of class ids",
                        "Convert colours to class ids")
    _check_pixels(path, height, width)
    return height, width


def reduction(height: int, width: int) -> int:
    """The smallest whole factor by which both sides are divided so that at most `WHOLE_PIXELS` are left; 1 for most pictures."""
    scale = 1
    while -(-height // scale) * -(-width // scale) > WHOLE_PIXELS:
        scale += 1
    return scale


def reduced_mask(ids: np.ndarray, scale: int) -> np.ndarray:
    """Every `scale`-th id of (H, W), from the middle of the square of pixels that one pixel of the reduced picture stands for."""
    rows, columns = (np.minimum(np.arange(0, side, scale) + scale // 2, side - 1) for side in ids.shape)
    return ids[np.ix_(rows, columns)]


def read_picture(path: Path, *, upright: bool = False, scale: int = 1) -> np.ndarray:
    """(H, W, 3) uint8 RGB; with `scale` means over squares of so many pixels a side. Raises `DataError` that names the file.

    Grey becomes RGB, alpha is dropped, 16-bit grey keeps its upper 8 bits. `upright` obeys a camera's EXIF orientation;
    without it pixels stay as stored, which is how the masks of a labelled dataset are drawn.
    """
    height, width = picture_size(path)
    try:
        with _one_large(height * width), Image.open(path, formats=("PNG", "JPEG")) as opened:
            rest = scale // _draft(opened, scale)
            image = ImageOps.exif_transpose(opened) if upright else opened
            if image.mode.startswith("I;16"):
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if image.mode not in _CONVERTIBLE:
                raise DataError(f"{path} has pixels of type {image.mode}", "RGB or grey, 8 or 16 bits",
                                "Convert the picture")
            image = image if image.mode == "RGB" else image.convert("RGB")  # which would be a copy
            return np.array(image.reduce(rest) if rest > 1 else image)
    except DataError:
        raise
    except _UNREADABLE as problem:
        raise _unreadable(path, problem) from problem


def _draft(image: Image.Image, scale: int) -> int:
    """Have a JPEG decoded at a part of its size where that divides `scale`; the factor."""
    factor = next(factor for factor in (8, 4, 2, 1) if scale % factor == 0) if image.format == "JPEG" else 1
    if factor > 1:
        image.draft(None, (image.width // factor, image.height // factor))
    return factor


def _one_large(pixels: int) -> AbstractContextManager:
    return _LARGE if pixels > WHOLE_PIXELS else nullcontext()


def read_mask(path: Path) -> np.ndarray:
    """(H, W) uint8 ids as stored in the file. Raises `DataError` that names the file."""
    height, width = mask_size(path)
    try:
        with _one_large(height * width), Image.open(path, formats=("PNG",)) as image:
            return np.array(image)
    except _UNREADABLE as problem:
        raise _unreadable(path, problem) from problem


def _check_pixels(path: Path, height: int, width: int) -> None:
    if not 0 < height * width <= MAX_PIXELS:
        raise DataError(f"{path} is {width} x {height} pixels", f"1 to {MAX_PIXELS // 1_000_000} million pixels",
                        "Scale it down or remove it")


def _unreadable(path: Path, problem: Exception) -> DataError:
    return DataError(f"{path} cannot be read ({type(problem).__name__}: {problem})", "a whole PNG or JPEG file",
                     "Replace or remove the file")


@lru_cache(maxsize=65536)
def _digest(path: str, *identity: int) -> str:
    # The identity is unused here: as part of the cache's key it says when to hash again.
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_files(labels: str, files: Iterable[tuple[str, Path]]) -> str:
    """SHA-256 over `labels` and the names and contents of `files`; where they lie does not count.

    A file is hashed again only when its size, its inode or one of its times differs. Raises `DataError` that names a lost file.
    """
    total = hashlib.sha256(labels.encode())
    for name, path in files:
        try:
            status = path.stat()
            content = _digest(os.path.realpath(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        except OSError as problem:
            raise _unreadable(path, problem) from problem
        total.update(f"\n{name}\n{content}".encode())
    return total.hexdigest()
