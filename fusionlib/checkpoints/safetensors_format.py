"""The safetensors format: a hostile header read with care.

A file is eight bytes of header length (little-endian), a JSON header that gives each tensor's dtype, shape and byte
range, then the bytes. Everything in the header is checked before a tensor is touched: ranges must fit dtype and shape,
must not overlap, and must cover the data exactly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fusionlib.checkpoints.snapshot import Snapshot
from fusionlib.checkpoints.stored import Stored
from fusionlib.errors import CheckpointError

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Every dtype that a checkpoint may have, by its name in the format."""

DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}

MAX_HEADER_BYTES = 32 * 2**20
"""Room for some 200,000 tensors; a longer header is an attack on memory, not a network."""

_MAX_RANK = 64
_MAX_DIMENSION = 2**62


@dataclass(frozen=True)
class Entry:
    """One tensor of the header: `begin` and `end` are byte offsets into the file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsFile:
    """The header of an open file. `entries` keeps the header's own order.

    Raises: `CheckpointError` for any malformed header.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot, file = snapshot, snapshot.path.name
        header, start = _read_header(snapshot, file)
        self.metadata = _metadata(header.pop("__metadata__", {}), file)
        self.entries = {name: _entry(name, about, start, snapshot.size, file) for name, about in header.items()}
        _check_cover(self.entries, start, snapshot.size, file)

    def stored(self, name: str) -> Stored:
        """Where tensor `name` lies."""
        entry = self.entries[name]
        return Stored(self.snapshot, entry.begin, entry.dtype, entry.shape)


def load_json(text: bytes, file: str) -> dict[str, Any]:
    """A JSON object without repeated keys. Raises `CheckpointError`."""
    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as problem:
        raise malformed(file, f"its header is not valid JSON ({problem})") from problem
    if not isinstance(found, dict):
        raise malformed(file, "its header is not a JSON object")
    return found


def malformed(file: str, reason: str) -> CheckpointError:
    """The error for a file that breaks the format."""
    return CheckpointError(
        f"{file} is damaged or no safetensors file: {reason}",
        "a complete safetensors file",
        "Copy or download it again; if it is another format, give it the right ending",
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} appears twice")
        found[key] = value
    return found


def _read_header(snapshot: Snapshot, file: str) -> tuple[dict[str, Any], int]:
    size = snapshot.size
    if size < 10:
        raise malformed(file, f"it is truncated, {size} bytes long")
    length = int.from_bytes(snapshot.read(8, 0), "little")
    if length > MAX_HEADER_BYTES:
        raise malformed(file, f"it announces a header of {length} bytes, more than {MAX_HEADER_BYTES}")
    if 8 + length > size:
        raise malformed(file, f"it is truncated: the header needs {length} bytes, the file has {size}")
    text = snapshot.read(length, 8)
    if not text.startswith(b"{"):
        raise malformed(file, "its header does not start with '{'")
    return load_json(text, file), 8 + length


def _metadata(found: Any, file: str) -> Mapping[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise malformed(file, "its metadata are not texts")
    return found


def _entry(name: str, about: Any, start: int, size: int, file: str) -> Entry:
    if not isinstance(about, dict) or set(about) != {"dtype", "shape", "data_offsets"}:
        raise malformed(file, f"tensor {name!r} lacks dtype, shape or data_offsets")
    shape, offsets = about["shape"], about["data_offsets"]
    if not _sizes(shape) or len(shape) > _MAX_RANK or not _sizes(offsets) or len(offsets) != 2:
        raise malformed(file, f"tensor {name!r} has a shape or byte range that is not made of sizes")
    if not isinstance(about["dtype"], str) or about["dtype"] not in DTYPES:
        raise CheckpointError(
            f"{file}: tensor {name!r} has the dtype {about['dtype']!r}",
            f"one of {', '.join(DTYPES)}",
            "Convert the tensor to float32 or bfloat16 where the file was made",
        )
    dtype = DTYPES[about["dtype"]]
    begin, end = offsets
    if begin > end or start + end > size:
        raise malformed(
            file,
            f"tensor {name!r} lies at bytes {begin} to {end}, outside of the {size - start} bytes of data (truncated?)",
        )
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise malformed(file, f"tensor {name!r} of shape {tuple(shape)} has {end - begin} bytes")
    return Entry(dtype, tuple(shape), start + begin, start + end)


def _sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < _MAX_DIMENSION for value in values)


def _check_cover(entries: Mapping[str, Entry], start: int, size: int, file: str) -> None:
    position = start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            kind = "overlaps another" if entry.begin < position else "leaves a gap before it"
            raise malformed(file, f"tensor {name!r} {kind}")
        position = entry.end
    if position != size:
        raise malformed(file, f"{size - position} bytes belong to no tensor")
