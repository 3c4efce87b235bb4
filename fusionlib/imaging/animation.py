"""Pictures one after the other, as a film that browsers and slides play."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from fusionlib.errors import UsageError

MOST_PICTURES, MOST_PIXELS = 32, 1 << 20
"""Of one film: pictures, and pixels of each."""

MOST_BYTES = 64 << 20
"""Of all pictures together, as they come."""

_DAMAGED = (OSError, ValueError, SyntaxError, struct.error)

STEP_MS, END_MS = 80, 800
"""How long a picture is shown, and the first and the last."""


def unpacked(body: bytes) -> list[bytes]:
    """Pictures out of one body, each with its length before it, 4 bytes little-endian. Raises `UsageError`."""
    found, place = [], 0
    while place < len(body):
        if place + 4 > len(body) or len(found) >= MOST_PICTURES:
            raise _refused(f"{len(found)} pictures and {len(body) - place} bytes more")
        (length,) = struct.unpack_from("<I", body, place)
        if not 0 < length <= len(body) - place - 4:
            raise _refused(f"A picture of {length} bytes")
        found.append(body[place + 4 : place + 4 + length])
        place += 4 + length
    return found


def animated(pictures: Sequence[bytes]) -> bytes:
    """PNGs of one size as an animated WebP without loss, forth and back for ever.

    Raises `UsageError` for anything else: nothing of what is no PNG of at most `MOST_PIXELS` is decoded.
    """
    if not 2 <= len(pictures) <= MOST_PICTURES:
        raise _refused(f"{len(pictures)} pictures")
    opened = [_opened(picture) for picture in pictures]
    if len({one.size for one in opened}) != 1:
        raise _refused("Pictures of several sizes")
    try:
        frames = [one.convert("RGB") for one in opened]
    except _DAMAGED as problem:
        raise _refused("A picture that is damaged") from problem
    times = [END_MS, *[STEP_MS] * (len(frames) - 2), END_MS]
    film, lengths = [*frames, *frames[-2:0:-1]], [*times, *times[-2:0:-1]]
    out = BytesIO()
    film[0].save(
        out, "WEBP", save_all=True, append_images=film[1:], duration=lengths, loop=0, lossless=True, quality=0, method=0
    )
    return out.getvalue()


def _opened(picture: bytes) -> Image.Image:
    try:
        found = Image.open(BytesIO(picture), formats=["PNG"])
    except (*_DAMAGED, UnidentifiedImageError, Image.DecompressionBombError) as problem:
        raise _refused("A picture that is no PNG") from problem
    if found.width * found.height > MOST_PIXELS:
        raise _refused(f"A picture of {found.width} x {found.height} pixels")
    return found


def _refused(got: str) -> UsageError:
    return UsageError(
        got, f"2 to {MOST_PICTURES} PNGs of one size, each of at most {MOST_PIXELS} pixels", "Reload the page"
    )
