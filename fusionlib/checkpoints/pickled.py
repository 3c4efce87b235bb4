"""Files of `torch.save`, read without ever running code from them.

`torch.load(weights_only=True)` refuses every name outside a short list of harmless ones. Unknown classes of data become
inert stand-ins (`fusionlib.checkpoints.stand_ins`); nothing of theirs is imported or called. What is let through is
still checked: compressed archives (a small file can unfold into gigabytes), tensors larger than the file that holds
them, and kinds of tensor that cannot be merged.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import _weights_only_unpickler
from torch._utils import _sparse_tensors_to_validate

from fusionlib.checkpoints.archives import ZIP_MAGIC, content_of, damaged, members_of, short
from fusionlib.checkpoints.nesting import refuse_deep_tuples
from fusionlib.checkpoints.safetensors_format import DTYPE_NAMES
from fusionlib.checkpoints.snapshot import Section, Snapshot
from fusionlib.checkpoints.stand_ins import is_network, load_with_stand_ins, without_stand_ins
from fusionlib.checkpoints.stored import Held, Kept, Stored
from fusionlib.checkpoints.unwrap import find_tensors
from fusionlib.errors import CheckpointError
from fusionlib.quiet import quiet

PICKLE_MAGIC = b"\x80"
MAX_PICKLE_BYTES = 64 * 2**20
"""The pickle inside an archive holds names and shapes only; numbers lie beside it."""

_SHARING = 16
"""How often, on average, tensors may share one storage: tied weights do, bombs do more."""

_SLACK_BYTES = 2**20
_LEGACY_PICKLES = 5
"""At the start of a file without an archive: magic number, version, system, what was saved, keys of storages."""

_TORCH_MAGIC = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
_FIND_TENSORS = (
    "parts = [saved]; inside = lambda part: list(part.values()) if isinstance(part, dict) else list(part) if"
    " isinstance(part, (list, tuple)) else [part.state_dict()] if hasattr(part, 'state_dict') else [];",
    "[parts.extend(inside(part)) for part in parts if len(parts) < 10**6];",
    "is_tensor = lambda v: isinstance(v, torch.Tensor) or type(v).__name__ == 'ndarray' and v.dtype.kind in 'biuf';",
    "tensors = lambda part: {k: torch.as_tensor(v) for k, v in part.items() if isinstance(k, str) and is_tensor(v)};",
    "found = max((tensors(part) for part in parts if isinstance(part, dict)), key=len, default={});",
    "found = {k: v.contiguous().clone() for k, v in found.items()};",
)
"""Statements that also run as one line, where a message is shown on one: `found` is the largest table of tensors (or
arrays) by name in `saved`, however deep it lies.
"""


def load_pickled(snapshot: Snapshot | Section) -> tuple[dict[str, Stored | Held], tuple[str, ...]]:
    """Named tensors of a `.pth`, `.pt`, `.bin` or `.ckpt` and notes on how they were found.

    Of an archive only the list of tensors is read; the older format without an archive is read into memory.

    Raises: `CheckpointError` for code, damage, other content, or tensors of an unsupported kind.
    """
    file, archive = snapshot.path.name, snapshot.read(4, 0) == ZIP_MAGIC
    saved, skipped = _load(snapshot, archive)
    if isinstance(saved, torch.Tensor):
        raise _no_names(file, "it holds a single tensor without a name")
    try:
        found, notes = find_tensors(without_stand_ins(saved))
        notes = (*notes, *_about_stand_ins(saved, skipped))
    except (TypeError, ValueError) as problem:
        raise _no_names(file, str(problem)) from problem
    tensors = {name: _plain(value, name, file) for name, value in found.items()}
    _check_sizes(tensors, snapshot)
    if archive:
        return {name: _stored(tensor, name, snapshot) for name, tensor in tensors.items()}, notes
    return {name: Held(tensor) for name, tensor in tensors.items()}, (
        *notes,
        "older format without an archive: read into memory",
    )


def _load(snapshot: Snapshot | Section, archive: bool) -> tuple[Any, tuple[str, ...]]:
    """What was saved, and the names of classes that were skipped.

    Tensors of an archive have no data (they are on the meta device); their storages know where it lies.
    """
    file, plain, content = snapshot.path.name, False, b""
    if archive:
        listing, records = _check_archive(snapshot)
        begin, size = records[listing]

        def load() -> Any:
            return list_archive(snapshot.read(size, begin), listing, records)

    else:
        content = snapshot.read_all()
        plain = not content.startswith(_TORCH_MAGIC)

        def load() -> Any:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)

    try:
        with quiet():  # remarks about files of other tools, which nobody here can act on
            if not archive:
                refuse_deep_tuples(content, _LEGACY_PICKLES)
            return load_with_stand_ins(load)
    except Exception as problem:  # noqa: BLE001 - torch raises a dozen kinds here, KeyError and AttributeError among them
        text = str(problem)
        wanted = re.search(r"(?:GLOBAL|class|function) ([\w.]+)", text)
        if wanted:
            raise _refused(f"{file} wants to run code: {wanted.group(1)}", file, plain) from None
        if "Quantized" in text:
            raise _unmergeable(f"{file}: a tensor in it is quantised") from None
        if plain or isinstance(problem, pickle.UnpicklingError):
            raise _refused(
                f"{file} cannot be read without running what is in it ({_reason(problem)})", file, plain
            ) from None
        raise damaged(file, _reason(problem)) from None


def single_tensor(snapshot: Snapshot | Section, name: str) -> Stored:
    """Where the numbers of an archive lie that `torch.save` made of one tensor. Raises `CheckpointError`."""
    saved, _ = _load(snapshot, snapshot.read(4, 0) == ZIP_MAGIC)
    if not isinstance(saved, torch.Tensor) or getattr(saved.untyped_storage(), "record", None) is None:
        raise damaged(snapshot.path.name, f"what it has for {name!r} is no tensor in an archive of its own")
    return stored_tensor(saved, name, snapshot)


def saved_in(snapshot: Snapshot) -> Any:
    """What an archive of `torch.save` holds, unknown classes as stand-ins; its tensors are on the meta device.

    Raises: `CheckpointError`, also for a file that is no archive.
    """
    if snapshot.read(min(4, snapshot.size), 0) != ZIP_MAGIC:
        raise damaged(snapshot.path.name, "it is no archive of torch.save")
    return _load(snapshot, True)[0]


def list_archive(content: bytes, listing: str, records: Mapping[str, tuple[int, int]]) -> Any:
    """Unpickle `data.pkl`, the member `listing`, as `torch.load(weights_only=True)` does; storages stay in the file.

    Torch itself would read them all, or guess where they lie from how it writes archives; other tools write them
    otherwise.
    """
    storages: dict[Any, torch.storage.TypedStorage] = {}

    def storage(saved_id: Any) -> torch.storage.TypedStorage:
        kind, key, _, count = saved_id[1:]
        if key not in storages:
            dtype = torch.uint8 if kind is torch.UntypedStorage else kind.dtype
            begin, size = records[f"{listing.removesuffix('data.pkl')}data/{key}"]
            if count * dtype.itemsize > size:
                raise ValueError("a record is shorter than the tensors in it")
            untyped = torch.UntypedStorage(count * dtype.itemsize, device="meta")
            untyped.record = begin, size  # type: ignore[attr-defined]
            storages[key] = torch.storage.TypedStorage(wrap_storage=untyped, dtype=dtype, _internal=True)
        return storages[key]

    refuse_deep_tuples(content)
    unpickler = _weights_only_unpickler.Unpickler(io.BytesIO(content), encoding="utf-8")
    unpickler.persistent_load = storage  # type: ignore[assignment]
    try:
        return unpickler.load()
    finally:
        _sparse_tensors_to_validate.clear()  # they are refused, and must not come up in a later torch.load


def _check_archive(snapshot: Snapshot | Section) -> tuple[str, Mapping[str, tuple[int, int]]]:
    """The name of the list of tensors, and first byte and size of each member's content by its name."""
    file = snapshot.path.name
    members = members_of(snapshot)
    names = {short(name): name for name in members}
    if "data.pkl" not in names:
        raise damaged(file, "it is a zip archive that torch.save did not write")
    if not all(member.plain for member in members.values()):
        raise damaged(file, "its archive is compressed, which torch.save never does")
    if members[names["data.pkl"]].size > MAX_PICKLE_BYTES:
        raise damaged(file, f"the list of tensors in it is longer than {MAX_PICKLE_BYTES} bytes")
    order = members.get(names.get("byteorder", ""))
    if order is not None and content_of(snapshot, order, 8) != b"little":
        raise damaged(file, "its numbers are big-endian")
    listing = next(name for name in members if short(name) == "data.pkl")
    return listing, {name: (member.begin, member.size) for name, member in members.items()}


def stored_tensor(tensor: torch.Tensor, name: str, snapshot: Snapshot | Section) -> Stored:
    """Where the numbers of a listed tensor lie. Raises `CheckpointError` for a kind that cannot be merged."""
    return _stored(_plain(tensor, name, snapshot.path.name), name, snapshot)


def _stored(tensor: torch.Tensor, name: str, snapshot: Snapshot | Section) -> Stored:
    """Where the numbers of a tensor without data lie."""
    record = getattr(tensor.untyped_storage(), "record", None)
    if record is None:
        raise _unmergeable(f"{snapshot.path.name}: tensor {name!r} has no data (meta device)")
    first = tensor.storage_offset() * tensor.itemsize
    strides = None if tensor.is_contiguous() else tuple(tensor.stride())
    found = Stored(snapshot, record[0] + first, tensor.dtype, tuple(tensor.shape), strides, tensor.is_neg())
    if first + found.span * tensor.itemsize > record[1]:  # without data, torch lets a tensor reach beyond its storage
        raise damaged(snapshot.path.name, f"tensor {name!r} reaches beyond its record")
    return found


def _plain(value: torch.Tensor, name: str, file: str) -> torch.Tensor:
    """The bare tensor: without gradient, hooks or attributes that a file may attach to it."""
    tensor = torch.Tensor.detach(value)
    kind = None
    if type(tensor) is not torch.Tensor:
        kind = f"is a {type(tensor).__name__}"
    elif tensor.is_quantized:
        kind = "is quantised"
    elif tensor.layout != torch.strided:
        kind = f"is sparse ({str(tensor.layout).removeprefix('torch.')})"
    elif tensor.dtype not in DTYPE_NAMES:
        kind = f"has the dtype {str(tensor.dtype).removeprefix('torch.')}"
    if kind:
        raise _unmergeable(f"{file}: tensor {name!r} {kind}")
    return tensor


def _check_sizes(tensors: Mapping[str, torch.Tensor], snapshot: Snapshot | Section) -> None:
    size, path = snapshot.size, snapshot.path
    for name, tensor in tensors.items():
        if tensor.numel() * tensor.itemsize > size:
            raise damaged(path.name, f"tensor {name!r} of shape {tuple(tensor.shape)} is larger than the file")
    check_unfolded(tensors.values(), size, path.name)


def check_unfolded(tensors: Iterable[torch.Tensor | Kept], size: int, file: str) -> None:
    """Raises `CheckpointError` where tensors have many times the bytes of what holds them."""
    total = sum(math.prod(tensor.shape) * tensor.dtype.itemsize for tensor in tensors)
    if total > _SHARING * size + _SLACK_BYTES:
        raise damaged(file, f"its tensors unfold to {total} bytes out of {size}")


def _about_stand_ins(saved: Any, skipped: tuple[str, ...]) -> tuple[str, ...]:
    if not skipped:
        return ()
    names = ", ".join(skipped[:3]) + (", ..." if len(skipped) > 3 else "")
    whole = any(is_network(item) for item in (saved, *(saved.values() if isinstance(saved, Mapping) else ())))
    what = (
        "a whole pickled network: its tensors were read, none of its code was run"
        if whole
        else "skipped without being called"
    )
    return (f"{what} ({len(skipped)} {'name' if len(skipped) == 1 else 'names'} of classes: {names})",)


def _refused(got: str, file: str, plain: bool = False) -> CheckpointError:
    """The error for a pickle that only its own code can read, with lines that convert it; `plain`: not written by
    torch.save.
    """
    target = f"{file.rpartition('.')[0] or file}.safetensors"
    load = (
        f"pickle.load(open({file!r}, 'rb'))"
        if plain
        else f"torch.load({file!r}, map_location='cpu', weights_only=False)"
    )
    save = f"safetensors.torch.save_file(found, {target!r}) if found else print('Found no tensors by name')"
    lines = "\n    ".join((f"import pickle, torch, safetensors.torch; saved = {load};", *_FIND_TENSORS, save))
    return CheckpointError(
        f"{got}; it was refused and nothing was run",
        "a file of tensors alone",
        f"If you trust it, convert it in the environment that made it:\n    {lines}\nand open the new file",
    )


def _unmergeable(got: str) -> CheckpointError:
    return CheckpointError(
        got,
        "dense tensors of real numbers",
        "Convert it to a dense float tensor where the file was made, and save again",
    )


def _no_names(file: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{file} has no tensors by name: {reason}",
        "a state dict (a dict of tensors)",
        "Save model.state_dict() where the file was made",
    )


def _reason(problem: Exception) -> str:
    first = re.sub(r"\x1b\[[0-9;]*m", "", str(problem)).strip().split("\n")[0].split(". ")[0]
    if first.startswith("Weights only load failed"):
        return "its pickle is no state dict"
    return first[:160] if " " in first else "it is truncated or damaged"
