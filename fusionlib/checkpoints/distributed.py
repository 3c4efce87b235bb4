"""Folders of torch.distributed.checkpoint: `.metadata`, a pickle of where every part of every tensor lies, and files of
such parts, each an archive of `torch.save` of its own. Read as data; nothing of torch.distributed is imported.

A tensor is whole where its parts lie in it one beside the other; gaps, overlaps and parts of another size than the list
says are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fusionlib.checkpoints.archives import damaged
from fusionlib.checkpoints.closed_pickle import load_closed
from fusionlib.checkpoints.pickled import single_tensor
from fusionlib.checkpoints.safetensors_format import DTYPE_NAMES
from fusionlib.checkpoints.snapshot import Section, Snapshot
from fusionlib.checkpoints.stand_ins import StandIn
from fusionlib.checkpoints.stored import Assembled, Kept, fills
from fusionlib.checkpoints.unwrap import find_tensors
from fusionlib.errors import CheckpointError
from fusionlib.listing import DCP_LIST, DCP_PART

MOST_LIST_BYTES = 16 * 2**20
"""A thousand tensors over sixteen processes take a sixth of that."""

_MOST_BYTES = 2**50
_DEEPEST = 32

Box = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Listed:
    """A tensor as the list has it: `boxes` are offsets and sizes of its parts."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Place:
    """Where a part lies: in which file, from which byte on, and how long it is there."""

    file: str
    begin: int
    size: int


@dataclass(frozen=True)
class DistributedList:
    """What `.metadata` says: the network's `tensors` by name, `places` of all parts by key and offsets."""

    folder: str
    tensors: Mapping[str, tuple[str, Listed]]
    places: Mapping[tuple[str, tuple[int, ...]], Place]
    notes: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files in which the network lies, sorted."""
        return tuple(sorted({place.file for place, _, _ in self._parts()}))

    def stored(self, files: Sequence[Snapshot]) -> dict[str, Kept]:
        """The tensors in their files. Raises `CheckpointError` where a part is not what the list says."""
        opened = {file.path.name: file for file in files}
        total = sum(file.size for file in files)
        if sum(math.prod(one.shape) * one.dtype.itemsize for _, one in self.tensors.values()) > total:
            raise damaged(self.folder, "its list promises more numbers than its files have bytes")
        return {name: self._whole(opened, key, one) for name, (key, one) in self.tensors.items()}

    def _whole(self, files: Mapping[str, Snapshot], key: str, listed: Listed) -> Kept:
        parts = []
        for offsets, sizes in listed.boxes:
            place = self._place(key, offsets)
            part = single_tensor(Section(files[place.file], place.begin, place.size), key)
            if part.shape != sizes or part.dtype != listed.dtype or part.numel * part.dtype.itemsize > place.size:
                raise damaged(self.folder, f"a part of {key!r} in {place.file} is of another size than its list says")
            parts.append((offsets, part))
        if len(parts) == 1:
            return parts[0][1]
        return Assembled(listed.dtype, listed.shape, listed.shape, tuple(parts))

    def _parts(self) -> Iterator[tuple[Place, str, Box]]:
        for key, listed in self.tensors.values():
            for box in listed.boxes:
                yield self._place(key, box[0]), key, box

    def _place(self, key: str, offsets: tuple[int, ...]) -> Place:
        if (key, offsets) not in self.places:
            raise damaged(self.folder, f"its list does not say where the part of {key!r} at {offsets} lies")
        return self.places[key, offsets]


def read_list(folder: Path, listing: Snapshot) -> DistributedList:
    """What a folder's `.metadata` lists. Raises `CheckpointError`."""
    if listing.size > MOST_LIST_BYTES:
        raise damaged(folder.name, f"its list {DCP_LIST} is longer than {MOST_LIST_BYTES} bytes")
    try:
        fields = _fields(load_closed(listing.read(listing.size, 0), _is_record))
        tensors = {key: _listed(about) for key, about in fields["state_dict_metadata"].items()}
        places = dict(_placed(folder.name, key, about) for key, about in fields["storage_data"].items())
        nested = _nested(tensors, fields.get("planner_data"))
        found, notes = find_tensors(nested)
    except CheckpointError:
        raise
    except Exception as problem:  # of whatever a list may hold in place of what it should
        raise _no_list(folder, problem) from problem
    named = {name: tensor.key for name, tensor in found.items()}  # type: ignore[attr-defined]
    chosen = {name: (key, one) for name, key in named.items() if (one := tensors[key]) is not None}
    for key, one in chosen.values():
        _check(folder.name, key, one)
    return DistributedList(folder.name, chosen, places, notes)


def paths_of(folder: Path, listed: DistributedList) -> tuple[Path, ...]:
    """The files of the network. Raises `CheckpointError` for one that is missing or lies elsewhere."""
    for name in listed.files:
        if not name.endswith(DCP_PART) or any(sign in name for sign in "/\\\0"):
            raise damaged(folder.name, f"its list points to {name[:80]!r}, which is no file *{DCP_PART} in it")
        if not (folder / name).is_file():
            raise damaged(folder.name, f"its list points to {name!r}, which does not exist")
    return tuple(folder / name for name in listed.files)


def _is_record(path: str) -> bool:
    return path.startswith("torch.distributed.") or path == "torch.serialization._get_layout"


def _fields(record: Any) -> Mapping[str, Any]:
    if not isinstance(record, StandIn) or not isinstance(record.state, dict):
        raise ValueError("no record with fields")
    return record.state


def _listed(about: Any) -> Listed | None:
    """None for what is no tensor."""
    if about.path.rpartition(".")[2] != "TensorStorageMetadata":
        return None
    fields = _fields(about)
    dtype, shape = fields["properties"].state[0], fields["size"]
    boxes = [(one["offsets"], one["sizes"]) for one in map(_fields, fields["chunks"])]
    if any(not _is_size(values) or len(values) != len(shape) for box in ((shape,), *boxes) for values in box):
        raise ValueError("parts of other dimensions than their tensor")
    if not isinstance(dtype, torch.dtype) or not all(0 <= size < _MOST_BYTES for size in shape):
        raise ValueError("a tensor of no size")
    return Listed(dtype, shape, tuple(box for box in boxes if 0 not in box[1]))  # a process may have had none of it


def _is_size(value: Any) -> bool:
    """Whether it is a tuple of whole numbers: nothing deeper, whose hash could overflow the stack."""
    return type(value) is tuple and all(type(one) is int for one in value)


def _placed(folder: str, key: Any, about: Any) -> tuple[tuple[str, tuple[int, ...]], Place]:
    index, fields = _fields(key), _fields(about)
    name, offset = index["fqn"], index.get("offset") or ()
    file, begin, size = fields["relative_path"], fields["offset"], fields["length"]
    if not (_is_size(offset) and _is_size((begin, size)) and isinstance(file, str) and isinstance(name, str)):
        raise ValueError("a part without a place")
    if fields.get("transform_descriptors"):
        raise CheckpointError(
            f"The parts in {folder} were changed when they were written ({str(fields['transform_descriptors'])[:80]})",
            "parts as torch.save writes them",
            _convert(folder),
        )
    return (name, offset), Place(file, begin, size)


def _nested(tensors: Mapping[str, Listed | None], planner: Any) -> dict[Any, Any]:
    """What was saved, as it was nested: tensors without data that know their key, None in place of all else."""
    told = isinstance(planner, dict) and planner.keys() == tensors.keys()
    paths = planner if told else {key: (key,) for key in tensors}
    root: dict[Any, Any] = {}
    for key, path in paths.items():
        steps = isinstance(path, tuple) and all(isinstance(step, str | int) for step in path)
        if not steps or not 1 <= len(path) <= _DEEPEST or not isinstance(key, str):
            raise ValueError("a key without a path")
        table = root
        for step in path[:-1]:
            table = table.setdefault(step, {})
        listed = tensors[key]
        if listed is None:
            table[path[-1]] = None
        elif math.prod(listed.shape) * listed.dtype.itemsize >= _MOST_BYTES:
            raise ValueError("a tensor larger than any file")
        else:
            table[path[-1]] = torch.empty(listed.shape, dtype=listed.dtype, device="meta")
            table[path[-1]].key = key
    return root


def _check(folder: str, key: str, listed: Listed) -> None:
    if listed.dtype not in DTYPE_NAMES:
        raise CheckpointError(
            f"{folder}: tensor {key!r} has the dtype {str(listed.dtype).removeprefix('torch.')}",
            "dense tensors of real numbers",
            "Convert it to a dense float tensor where it was made, and save again",
        )
    if not fills(listed.shape, listed.boxes):
        raise damaged(folder, f"the parts of {key!r} leave gaps in it, overlap or reach beyond it")


def _no_list(folder: Path, problem: Exception) -> CheckpointError:
    text = str(problem)
    if text.startswith("GLOBAL "):
        return CheckpointError(
            f"{folder.name} wants to run code: {text.split()[1][:120]}; it was refused and nothing was run",
            "a list of tensors alone",
            f"If you trust it, convert it in the environment that made it. {_convert(folder.name)}",
        )
    return damaged(
        folder.name, f"its list {DCP_LIST} is none of torch.distributed.checkpoint ({text[:100] or 'cut off'})"
    )


def _convert(folder: str) -> str:
    return f"Convert it: python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} {folder}.pth"
