"""Reading picture and mask files with suspicion: names, sizes and types are checked before anything is decoded."""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from fusionlib.data.orientation import STORED, inverse, orientation_of, turned
from fusionlib.data.packed import Packed, PictureFile
from fusionlib.errors import DataError, clipped, shown

MAX_PIXELS = 64_000_000
"""Larger pictures are refused by their header: a small file can claim to unpack to gigabytes."""

WHOLE_PIXELS = 2048 * 1024
"""Larger pictures are looked at reduced: a frame of Cityscapes is the largest that is passed through a network as a
whole.
"""

_LARGE = threading.Lock()
"""Held while a larger picture is decoded, which takes several bytes a pixel: one at a time in this process."""

PNG_MAGIC, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
warnings.filterwarnings(
    "ignore", module=r"PIL\."
)  # what is wrong with a picture is said here, with its name, or does not matter
_CONVERTIBLE = frozenset({"RGB", "RGBA", "RGBX", "RGBa", "L", "LA", "La", "P", "PA", "1", "CMYK", "YCbCr"})


def existing_folder(argument: str) -> Path:
    """The folder that a spec names, `~` expanded. Raises `DataError` when there is none."""
    folder = Path(argument).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"{shown(argument, 400)} is not a folder", "a folder with pictures", "Correct the path in the data spec"
        )
    return folder


def require_file(path: PictureFile) -> None:
    """Raises `DataError` for a link to nothing, and for what would never end or never begin: a pipe, a device."""
    if not path.is_file():
        raise DataError(f"{path} is not a readable file", "picture files only", "Remove it from the folder")


def picture_size(path: PictureFile) -> tuple[int, int]:
    """(height, width) from the header, nothing decoded. Raises `DataError` that names the file."""
    require_file(path)
    try:
        with path.open("rb") as file:
            if not file.read(8).startswith((PNG_MAGIC, _JPEG)):  # Pillow would try its other hundred formats first
                raise DataError(
                    f"{path} is neither a PNG nor a JPEG file", "PNG or JPEG pictures", "Convert the picture"
                )
        with path.open("rb") as file, Image.open(file, formats=("PNG", "JPEG")) as image:
            width, height = image.size
    except DataError:
        raise
    except Image.DecompressionBombError as problem:
        raise _too_large(path, "far too many") from problem
    except UNREADABLE as problem:
        raise unreadable(path, problem) from problem
    check_pixels(path, height, width)
    return height, width


def reduction(height: int, width: int) -> int:
    """The smallest whole factor by which both sides are divided so that at most `WHOLE_PIXELS` are left; 1 for most
    pictures.
    """
    scale = 1
    while -(-height // scale) * -(-width // scale) > WHOLE_PIXELS:
        scale += 1
    return scale


def reduced_mask(labels: np.ndarray, scale: int, orientation: int = STORED) -> np.ndarray:
    """Every `scale`-th of (H, W), from the middle of the square of pixels that one pixel of the reduced picture stands
    for.

    The squares are of stored pixels of the picture, which `orientation` turned to where `labels` lie.
    """
    stored = turned(labels, inverse(orientation))
    rows, columns = (np.minimum(np.arange(0, side, scale) + scale // 2, side - 1) for side in stored.shape)
    return turned(stored[np.ix_(rows, columns)], orientation)


def read_picture(path: PictureFile, orientation: int = STORED, scale: int = 1) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned as the EXIF `orientation` says; by default as stored. Raises `DataError` that names
    the file.

    Grey becomes RGB, alpha is dropped, 16-bit grey keeps its upper 8 bits. With `scale` means over squares of so many
    stored pixels a side.
    """
    height, width = picture_size(path)
    try:
        with (
            one_large(height * width),
            path.open("rb") as file,
            Image.open(file, formats=("PNG", "JPEG")) as opened,
        ):
            rest = scale // _draft(opened, scale)
            image = (
                Image.fromarray((np.asarray(opened) >> 8).astype(np.uint8))
                if opened.mode.startswith("I;16")
                else opened
            )
            if image.mode not in _CONVERTIBLE:
                raise DataError(
                    f"{path} has pixels of type {image.mode}", "RGB or grey, 8 or 16 bits", "Convert the picture"
                )
            image = image if image.mode == "RGB" else image.convert("RGB")  # which would be a copy
            return turned(np.array(image.reduce(rest) if rest > 1 else image), orientation)
    except DataError:
        raise
    except UNREADABLE as problem:
        raise unreadable(path, problem) from problem


def _draft(image: Image.Image, scale: int) -> int:
    """Have a JPEG decoded at a part of its size where that divides `scale`; the factor."""
    factor = next(factor for factor in (8, 4, 2, 1) if scale % factor == 0) if image.format == "JPEG" else 1
    if factor > 1:
        image.draft(None, (image.width // factor, image.height // factor))
    return factor


def one_large(pixels: int) -> AbstractContextManager:
    """To hold while a file of so many pixels is decoded: very large ones come one at a time."""
    return _LARGE if pixels > WHOLE_PIXELS else nullcontext()


def picture_orientation(path: PictureFile) -> int:
    """1 to 8 by the file's EXIF entry, 1 without one, from the header. Raises `DataError` that names the file."""
    try:
        return orientation_of(path)
    except UNREADABLE as problem:
        raise unreadable(path, problem) from problem


def check_pixels(path: PictureFile, height: int, width: int) -> None:
    """Raises `DataError` for a picture of no pixels, or of too many."""
    if not 0 < height * width <= MAX_PIXELS:
        raise _too_large(path, f"{width} x {height}")


def _too_large(path: PictureFile, pixels: str) -> DataError:
    most = MAX_PIXELS // 1_000_000
    return DataError(f"{path} has {pixels} pixels", f"1 to {most} million pixels", "Scale it down or remove it")


def unreadable(path: PictureFile, problem: Exception) -> DataError:
    """The error of a file that cannot be read, for whatever reason."""
    return DataError(
        f"{path} cannot be read ({type(problem).__name__}: {clipped(str(problem), 200)})",
        "a whole PNG or JPEG file",
        "Replace or remove the file",
    )


@lru_cache(maxsize=65536)
def _digest(path: str, *identity: int) -> str:
    # The identity is unused here: as part of the cache's key it says when to hash again.
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_files(labels: str, files: Iterable[tuple[str, PictureFile]]) -> str:
    """SHA-256 over `labels` and the names and contents of `files`; where they lie does not count.

    A file is hashed again only when its size, its inode or one of its times differs. Raises `DataError` that names a
    lost file.
    """
    total = hashlib.sha256(labels.encode())
    for name, path in files:
        total.update(f"\n{name}\n{file_digest(path)}".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def file_digest(path: PictureFile) -> str:
    """SHA-256 of a file, read again only when its size, its inode or one of its times differs.

    Raises `DataError` that names a lost file.
    """
    if isinstance(path, Packed):
        return path.digest()
    try:
        status = path.stat()
        return _digest(os.path.realpath(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    except OSError as problem:
        raise unreadable(path, problem) from problem


def picture_digest(meaning: str, *files: PictureFile) -> str:
    """SHA-256 over what pixels mean and the contents of a picture's files; neither names nor places count."""
    return hashlib.sha256("\n".join((meaning, *map(file_digest, files))).encode()).hexdigest()
