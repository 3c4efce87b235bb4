"""Lists of numbers in a MATLAB file (MAT-File Level 5), read within limits; what else is in it is passed over.

A file is a header of 128 bytes and elements, each of a type, a length and so many bytes; a compressed one holds another
element. An array is an element of four: flags, dimensions, name and numbers. MathWorks, "MAT-File Format", 2023.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fusionlib.errors import DataError, clipped

LARGEST, LARGEST_ARRAY = 4 << 20, 16 << 20
"""Bytes of a file, and of all its arrays when unpacked."""

_HEADER, _VERSION = 128, 0x0100
_ARRAY, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_FIRST_CLASS, _LAST_CLASS, _COMPLEX = 6, 15, 0x0800  # double to uint64; cells, structures and texts have lower numbers


def read_numbers(path: Path, needs: str) -> dict[str, np.ndarray]:
    """Whole numbers (N,) int64 of every array of such in a file by its name. Raises `DataError` that names the file."""
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise ValueError(f"{size >> 20} MB, and at most {LARGEST >> 20} are read")
        content = path.read_bytes()[:LARGEST]
        mark = content[126:_HEADER]
        if mark not in (b"IM", b"MI"):
            raise ValueError("no MATLAB file")
        order = "<" if mark == b"IM" else ">"
        if (version := struct.unpack(f"{order}H", content[124:126])[0]) != _VERSION:
            raise ValueError(f"version {version >> 8}, where 1 is read: in MATLAB save it with -v7")
        return dict(_arrays(content[_HEADER:], order))
    except (OSError, ValueError, struct.error, zlib.error, OverflowError) as problem:
        told = clipped(f"{type(problem).__name__}: {problem}", 200)
        raise DataError(f"{path} cannot be read ({told})", needs, "Replace it, or take it away") from problem


def _arrays(content: bytes, order: str) -> Iterator[tuple[str, np.ndarray]]:
    left = LARGEST_ARRAY
    for kind, data in _elements(content, order):
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            data = unpacker.decompress(data, max(left, 1))  # 0 would be no limit
            if not unpacker.eof:
                raise ValueError(f"it is cut off, or unpacks to more than {LARGEST_ARRAY >> 20} MB")
            kind, data = next(_elements(data, order), (0, b""))
        left -= len(data)
        if kind == _ARRAY and (found := _array(data, order)) is not None:
            yield found


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of each element. Raises `ValueError` for one that is cut off."""
    place = 0
    while place + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        start, step = place + 8, 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if kind >> 16:  # up to four bytes lie in the head itself
            kind, size, start, step = kind & 0xFFFF, kind >> 16, place + 4, 8
        if start + size > len(content):
            raise ValueError("it is cut off")
        yield kind, content[start : start + size]
        place += step


def _array(data: bytes, order: str) -> tuple[str, np.ndarray] | None:
    """Name and numbers of an array; None for what holds other things. Raises `ValueError` for broken numbers."""
    parts = [part for _, part in zip(range(4), _elements(data, order), strict=False)]
    if len(parts) < 4 or len(parts[0][1]) < 4 or parts[3][0] not in _NUMBERS:
        return None
    flags = struct.unpack_from(f"{order}I", parts[0][1])[0]
    if flags & _COMPLEX or not _FIRST_CLASS <= flags & 0xFF <= _LAST_CLASS:
        return None
    values = np.frombuffer(parts[3][1], np.dtype(f"{order}{_NUMBERS[parts[3][0]]}"))
    whole = values.astype(np.float64)
    if not (np.isfinite(whole).all() and (whole == np.floor(whole)).all() and (np.abs(whole) < 2**53).all()):
        return None
    return parts[2][1].decode("ascii", "replace")[:100], values.astype(np.int64)
