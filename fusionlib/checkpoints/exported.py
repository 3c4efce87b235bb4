"""Tensors of programs and of arrays: torch.export (`.pt2`), TorchScript and numpy (`.npz`). Nothing in them is run.

- `.pt2`: raw numbers, one member a tensor, and a JSON file that gives name, dtype, shape and place of each; up to
  torch 2.7 a file of `torch.save` inside of the archive.
- TorchScript: the pickle of its modules, read like that of `torch.save`; their classes, whose code lies in the archive,
  are stand-ins. Every tensor that a module holds is taken, under the module's name.
- `.npz`: one member an array, behind a header that numpy reads without pickles.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from fusionlib.checkpoints.archives import Member, content_of, damaged, members_of, short
from fusionlib.checkpoints.pickled import MAX_PICKLE_BYTES, list_archive, load_pickled, stored_tensor
from fusionlib.checkpoints.safetensors_format import DTYPE_NAMES, load_json
from fusionlib.checkpoints.snapshot import Section, Snapshot
from fusionlib.checkpoints.stand_ins import StandIn, load_with_stand_ins
from fusionlib.checkpoints.stored import Held, Stored
from fusionlib.errors import CheckpointError

Tensors = dict[str, Stored | Held]

_ARRAY_ENDING = ".npy"
_WEIGHTS = "model_weights_config.json"
_OLD_EXPORT, _OLD_WEIGHTS = "serialized_exported_program.json", "serialized_state_dict.pt"
_READ = (
    "a {}: its tensors were read, nothing was run; where its network is unknown, `--trust {}` at the start runs it for"
    " pictures, and merging needs no more"
)
_MOST_JSON = 32 * 2**20
_MOST_CLASSES, _MOST_MODULES = 50_000, 100_000
_UNFOLDED = 16
"""How much larger arrays may be than the compressed file that holds them."""

_SLACK_BYTES = 2**20
_EXPORTED: dict[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
    28: torch.uint16,
    29: torch.float8_e4m3fn,
    30: torch.float8_e5m2,
    34: torch.uint32,
    35: torch.uint64,
}
"""Numbers of dtypes in torch.export's files (`ScalarType` of torch/_export/serde/schema.py)."""


def load_exported(snapshot: Snapshot) -> tuple[Tensors, tuple[str, ...]] | None:
    """Tensors by name and notes; None for an archive of another kind. Raises `CheckpointError`."""
    members = members_of(snapshot)
    names = {short(name): name for name in members}
    if _WEIGHTS in names:
        return _of_export(snapshot, members, names), (_READ.format("program of torch.export", snapshot.path.name),)
    if _OLD_EXPORT in names:
        return _of_old_export(snapshot, members, names)
    if "constants.pkl" in names and "data.pkl" in names:
        return _of_script(snapshot, members, names["data.pkl"]), (
            _READ.format("TorchScript program", snapshot.path.name),
        )
    if members and all(name.endswith(_ARRAY_ENDING) for name in members):
        return _of_arrays(snapshot, members), ()
    return None


# --- torch.export ----------------------------------------------------------------------------------------------------


def _of_export(snapshot: Snapshot, members: Mapping[str, Member], names: Mapping[str, str]) -> Tensors:
    file = snapshot.path.name
    ends = members.get(names.get("byteorder", ""))
    if ends is not None and content_of(snapshot, ends, 8) != b"little":
        raise damaged(file, "its numbers are big-endian")
    listing = names[_WEIGHTS]
    table = load_json(content_of(snapshot, members[listing], _MOST_JSON), file).get("config")
    if not isinstance(table, dict):
        raise damaged(file, f"{_WEIGHTS} in it has no table of tensors")
    folder = listing.removesuffix(_WEIGHTS)
    first: dict[str, int] = {}  # of each module: all parameters come before all buffers there
    for place, name in enumerate(table):
        first.setdefault(name.rpartition(".")[0], place)
    order = sorted(table, key=lambda name: first[name.rpartition(".")[0]])
    return {name: _exported(snapshot, members, folder, name, table[name]) for name in order}


def _of_old_export(
    snapshot: Snapshot, members: Mapping[str, Member], names: Mapping[str, str]
) -> tuple[Tensors, tuple[str, ...]]:
    """Up to torch 2.7 the tensors lie in a file of `torch.save` of their own inside the archive."""
    member = members.get(names.get(_OLD_WEIGHTS, ""))
    if member is None or not member.plain or not member.size:
        raise CheckpointError(
            f"{snapshot.path.name} is a program of an older torch.export, without its tensors in {_OLD_WEIGHTS}",
            "tensors by name",
            "Save them where it was made: torch.save(torch.export.load(FILE).state_dict, 'weights.pth')",
        )
    found, notes = load_pickled(Section(snapshot, member.begin, member.size))
    return found, (_READ.format("program of an older torch.export", snapshot.path.name), *notes)


def _exported(snapshot: Snapshot, members: Mapping[str, Member], folder: str, name: str, about: Any) -> Stored:
    file = snapshot.path.name
    meta = about.get("tensor_meta") if isinstance(about, dict) else None
    if not isinstance(meta, dict) or about.get("use_pickle") is not False:
        raise damaged(file, f"tensor {name!r} in it is a pickle, or not described")
    member = members.get(f"{folder}{about.get('path_name')}")
    dtype = _EXPORTED.get(meta["dtype"]) if type(meta.get("dtype")) is int else None
    shape, strides = _sizes(meta.get("sizes")), _sizes(meta.get("strides"))
    offset = _sizes([meta.get("storage_offset")])
    if member is None or not member.plain or dtype is None or shape is None or strides is None or offset is None:
        raise damaged(file, f"tensor {name!r} in it has no place, dtype or shape that is known")
    if len(strides) != len(shape):
        raise damaged(file, f"tensor {name!r} in it has {len(shape)} sizes and {len(strides)} strides")
    in_order = strides == _row_major(shape)
    found = Stored(snapshot, member.begin + offset[0] * dtype.itemsize, dtype, shape, None if in_order else strides)
    if (offset[0] + found.span) * dtype.itemsize > member.size or found.numel * dtype.itemsize > snapshot.size:
        raise damaged(file, f"tensor {name!r} reaches beyond its record")
    return found


def _sizes(given: Any) -> tuple[int, ...] | None:
    """Whole numbers as torch.export writes them, `{"as_int": 3}`; None for anything else."""
    if not isinstance(given, list) or len(given) > 64:
        return None
    found = [one.get("as_int") if isinstance(one, dict) else None for one in given]
    return tuple(found) if all(type(one) is int and 0 <= one < 2**62 for one in found) else None  # type: ignore[misc, operator]


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


# --- TorchScript -----------------------------------------------------------------------------------------------------


def _of_script(snapshot: Snapshot, members: Mapping[str, Member], listing: str) -> Tensors:
    file = snapshot.path.name
    content = content_of(snapshot, members[listing], MAX_PICKLE_BYTES)
    records = {name: (one.begin, one.size) for name, one in members.items() if one.plain}
    try:
        root, _ = load_with_stand_ins(lambda: list_archive(content, listing, records), _classes_of(content))
        return {name: stored_tensor(tensor, name, snapshot) for name, tensor in _held(root)}
    except CheckpointError:
        raise
    except Exception as problem:  # torch raises a dozen kinds here
        raise damaged(
            file, f"the modules of the program in it cannot be listed ({type(problem).__name__})"
        ) from problem


def _classes_of(content: bytes) -> list[str]:
    """Names of the classes and functions of the program, and of those that TorchScript writes lists with."""
    found = dict.fromkeys(
        str(argument).replace(" ", ".")
        for code, argument, _ in pickletools.genops(content)
        if code.name == "GLOBAL" and str(argument).startswith(("__torch__.", "__torch__ ", "torch.jit._pickle "))
    )
    if len(found) > _MOST_CLASSES:
        raise ValueError("too many classes")
    return list(found)


def _held(root: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of modules by name, each module's own before those of the modules in it."""
    stack, seen = [("", root)], 0
    while stack:
        prefix, module = stack.pop()
        seen += 1
        if seen > _MOST_MODULES:
            raise ValueError("its modules refer to one another without end")
        state = module.state if isinstance(module, StandIn) and isinstance(module.state, dict) else {}
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                yield f"{prefix}{name}", value
        inner = [(f"{prefix}{name}.", value) for name, value in state.items() if isinstance(value, StandIn)]
        stack += reversed(inner)


# --- numpy -----------------------------------------------------------------------------------------------------------


def _of_arrays(snapshot: Snapshot, members: Mapping[str, Member]) -> Tensors:
    if sum(one.size for one in members.values()) > _UNFOLDED * snapshot.size + _SLACK_BYTES:
        raise damaged(snapshot.path.name, "its arrays unfold to many times its size")
    found: Tensors = {}
    for name, member in members.items():
        key = name.removesuffix(_ARRAY_ENDING)
        found[key] = _array_in_place(snapshot, member, key) or _array_in_memory(snapshot, name, key)
    snapshot.verify()
    return found


def _array_in_place(snapshot: Snapshot, member: Member, name: str) -> Stored | None:
    """Where the numbers of an array lie; None where they are compressed or of another byte order."""
    if not member.plain:
        return None
    start = io.BytesIO(snapshot.read(min(member.size, 1 << 16), member.begin))
    shape, transposed, kind = _header(start, snapshot.path.name, name)
    dtype = _torch_dtype(kind, snapshot.path.name, name)
    if not kind.isnative:
        return None
    strides = None if not transposed or len(shape) < 2 else tuple(math.prod(shape[:axis]) for axis in range(len(shape)))
    if start.tell() + math.prod(shape) * dtype.itemsize != member.size:
        raise damaged(snapshot.path.name, f"array {name!r} of shape {shape} has another number of bytes")
    return Stored(snapshot, member.begin + start.tell(), dtype, shape, strides)


def _array_in_memory(snapshot: Snapshot, member: str, name: str) -> Held:
    file = snapshot.path.name
    try:
        with zipfile.ZipFile(snapshot.stream()) as archive, archive.open(member) as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, NotImplementedError) as problem:
        raise damaged(file, f"array {name!r} cannot be read ({str(problem)[:100]})") from problem
    _torch_dtype(array.dtype, file, name)
    return Held(
        torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))).reshape(array.shape))
    )


def _header(stream: io.BytesIO, file: str, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(stream)
    except (ValueError, EOFError, OverflowError) as problem:
        raise damaged(file, f"array {name!r} has no header that numpy reads ({str(problem)[:100]})") from problem


def _torch_dtype(kind: np.dtype, file: str, name: str) -> torch.dtype:
    try:
        dtype = torch.from_numpy(np.empty(0, kind.newbyteorder("="))).dtype
    except TypeError:
        dtype = None
    if dtype not in DTYPE_NAMES:
        raise CheckpointError(
            f"{file}: array {name!r} has the dtype {kind}",
            "arrays of real numbers",
            "Leave it out of the file, or convert it to float32",
        )
    return dtype  # type: ignore[return-value]
