"""Label maps and pictures as PNG or JPEG bytes.

The chunks are put together here and not by Pillow: choosing the "sub" filter for all rows and zlib's run-length
strategy takes under half the time of Pillow's row-by-row choice on label maps (512 x 256, three channels: 3.6 ms
against 8.9 ms; one channel: 0.3 ms against 0.8 ms), and the files are smaller.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from fusionlib.errors import DataError, UsageError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"
_COLOUR_TYPE = {1: 0, 3: 2}  # channels: PNG colour type (grey, RGB)
_PLAIN, _SUB = 0, 1  # PNG filters: none; difference to the pixel on the left


def encode_rgb(label: np.ndarray, confidence: np.ndarray, runner_up: np.ndarray) -> bytes:
    """Three maps as the red, green and blue of one lossless PNG: each (H, W) uint8.

    Raises `UsageError` when shapes or types differ.
    """
    if not label.shape == confidence.shape == runner_up.shape or label.ndim != 2:
        raise UsageError(
            f"Maps {label.shape}, {confidence.shape} and {runner_up.shape}",
            "three maps (H, W) of one size",
            "Resize them",
        )
    return _encode(np.dstack([label, confidence, runner_up]))


def encode_grey(values: np.ndarray) -> bytes:
    """One map (H, W) uint8 as a lossless grey PNG. Raises `UsageError` for another shape or type."""
    return _encode(values[..., None] if values.ndim == 2 else values)


def encode_picture(image: np.ndarray, *, lossless: bool = False) -> bytes:
    """A picture (H, W, 3) uint8: JPEG at quality 92, or PNG with `lossless`. Raises `UsageError` for another shape."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UsageError(f"A picture {image.shape} of {image.dtype}", "(H, W, 3) uint8", "Convert it")
    if lossless:
        return _encode(image)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def pack_labels(labels: np.ndarray) -> bytes:
    """A label map (H, W) uint8 as a small grey PNG to be kept: unfiltered rows, in which repetitions are looked for.

    It takes 5 ms where `encode_grey` takes 1, and a quarter less space: 6 to 9 KB for 512 x 256 or 480 x 360 pixels.
    Raises `UsageError` for another shape or type.
    """
    if labels.ndim != 2 or labels.dtype != np.uint8 or not labels.size:
        raise UsageError(f"A label map {labels.shape} of {labels.dtype}", "(H, W) uint8", "Convert it")
    rows = np.empty((labels.shape[0], 1 + labels.shape[1]), np.uint8)
    rows[:, 0], rows[:, 1:] = _PLAIN, labels
    return _file(labels.shape[0], labels.shape[1], 1, zlib.compress(rows.data, 6))


def unpack_labels(data: bytes, height: int, width: int) -> np.ndarray:
    """The label map (H, W) uint8 that `pack_labels` packed. Raises `DataError` for anything else.

    Nothing is believed of the bytes, which others may have written: no other PNG is taken, none of another size is
    looked into, and no more than that size is ever unpacked.
    """
    head = _head(height, width, 1)
    body = data[len(head) + 8 : -len(_END) - 4]
    if not data.startswith(head) or data != head + _chunk(b"IDAT", body) + _END:
        raise _no_labels("other or damaged bytes")
    stream, size = zlib.decompressobj(), height * (1 + width)
    try:
        rows = stream.decompress(body, size + 1)
    except zlib.error as problem:
        raise _no_labels("damaged rows") from problem
    if len(rows) != size or not stream.eof or stream.unused_data:
        raise _no_labels("rows missing, or too many")
    labels = np.frombuffer(bytearray(rows), np.uint8).reshape(height, 1 + width)
    if labels[:, 0].any():
        raise _no_labels("filtered rows")
    return np.ascontiguousarray(labels[:, 1:])


def _no_labels(what: str) -> DataError:
    return DataError(f"A stored label map with {what}", "the bytes that were written", "Measure anew")


def _encode(pixels: np.ndarray) -> bytes:
    """PNG of (H, W, channels) uint8. Format: PNG specification (W3C, 3rd edition), sections 5, 9 and 11."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in _COLOUR_TYPE or not pixels.size:
        raise UsageError(f"Pixels {pixels.shape} of {pixels.dtype}", "uint8 with 1 or 3 channels", "Convert them")
    height, width, channels = pixels.shape
    flat = pixels.reshape(height, width * channels)
    rows = np.empty((height, 1 + width * channels), np.uint8)
    rows[:, 0] = _SUB
    rows[:, 1 : 1 + channels] = flat[:, :channels]
    np.subtract(flat[:, channels:], flat[:, :-channels], out=rows[:, 1 + channels :])
    packer = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    return _file(height, width, channels, packer.compress(rows.data) + packer.flush())


def _head(height: int, width: int, channels: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE[channels], 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header)


def _file(height: int, width: int, channels: int, body: bytes) -> bytes:
    return _head(height, width, channels) + _chunk(b"IDAT", body) + _END


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
