"""The orientation that a camera wrote into a file, and under which of them a picture and its mask fit."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from fusionlib.data.packed import PictureFile

STORED = 1
"""The orientation of pixels that are shown as they are stored; 2 to 8 are mirrored and turned (EXIF 2.32, tag
0x0112).
"""

_TAG, _SHORT, _LONG = 0x0112, 3, 4
_MOST_CHUNKS = 100_000
_LONGEST_EXIF = 1 << 20


def orientation_of(path: PictureFile) -> int:
    """1 to 8 by the EXIF entry of a PNG or JPEG file; 1 where there is none, or none that makes sense. Nothing is
    decoded.

    Raises what Pillow and `open` raise for a file that is no picture.
    """
    with path.open("rb") as file:
        if file.read(8) == b"\x89PNG\r\n\x1a\n":
            return _orientation(_png_exif(file))
    with path.open("rb") as file, Image.open(file, formats=("JPEG",)) as image:
        return _orientation(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels (H, W, ...) as viewers show them: from 5 on height and width change places."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    # Of the shown picture: rows backwards for 3, 4, 7, 8; columns backwards for 2, 3, 6, 7.
    rows, columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if rows else 1, :: -1 if columns else 1])


def inverse(orientation: int) -> int:
    """The one that undoes it: quarter turns one another, all others themselves."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def shown_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(height, width) as viewers show a file of stored size (height, width)."""
    return (size[1], size[0]) if orientation >= 5 else size


def fitting(
    image: tuple[int, int], mask: tuple[int, int], orientations: tuple[int, int], *, stored_first: bool = False
) -> tuple[tuple[int, int], bool] | None:
    """The orientations to read a picture and its mask of stored sizes (height, width) by, and whether another choice
    fits as well.

    The first of these under which the sizes agree: both as viewers show them, the picture alone so, both as stored, the
    mask alone as shown. People draw on what a viewer shows, so that comes first; with `stored_first` both as stored
    does. None where none fits.
    """
    own, drawn = orientations
    choices = [(own, drawn), (own, STORED), (STORED, STORED), (STORED, drawn)]
    if stored_first:
        choices.insert(0, (STORED, STORED))
    fits = [one for one in dict.fromkeys(choices) if shown_size(image, one[0]) == shown_size(mask, one[1])]
    return (fits[0], len(fits) > 1) if fits else None


def _orientation(exif: bytes) -> int:
    """The entry in a TIFF header and its first directory."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return STORED
    try:
        (start,) = struct.unpack_from(f"{order}4xI", exif)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, length = struct.unpack_from(f"{order}HHI", exif, entry)
            if tag == _TAG and kind in (_SHORT, _LONG) and length == 1:
                (value,) = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), exif, entry + 8)
                return value if 1 <= value <= 8 else STORED
    except struct.error:  # it ends before it says so
        pass
    return STORED


def _png_exif(file) -> bytes:
    """The eXIf chunk of a PNG file, before or after the pixels."""
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return b""
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"eXIf":
            return file.read(min(length, _LONGEST_EXIF)).removeprefix(b"Exif\0\0")
        file.seek(length + 4, 1)
    return b""
