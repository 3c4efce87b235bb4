"""What lies at a path: tensors of whatever format, under the names that they have there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fusionlib.checkpoints.archives import ZIP_MAGIC
from fusionlib.checkpoints.deepspeed import find_step
from fusionlib.checkpoints.distributed import paths_of, read_list
from fusionlib.checkpoints.exported import load_exported
from fusionlib.checkpoints.hub_folder import (
    IN_METADATA,
    HubFolder,
    check_weights,
    described_in,
    folder_name,
    hub_folder,
    of_metadata,
)
from fusionlib.checkpoints.pickled import PICKLE_MAGIC, load_pickled
from fusionlib.checkpoints.posterior import split
from fusionlib.checkpoints.safetensors_format import SafetensorsFile
from fusionlib.checkpoints.sharded import INDEX_ENDING, find_index, open_shards, read_index
from fusionlib.checkpoints.snapshot import Snapshot
from fusionlib.checkpoints.stored import Kept
from fusionlib.contracts import Description
from fusionlib.errors import CheckpointError
from fusionlib.listing import CHECKPOINT_ENDINGS, DCP_LIST, list_folder

SORTED_NOTE = "the file lists its tensors by dtype and name, not in the network's order"
"""The note of a checkpoint whose file does not tell in which order the network registered its tensors."""

_OTHER_CONTENT = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}


@dataclass(frozen=True)
class Found:
    """What lies in the files of a checkpoint, under the names that it has there."""

    path: Path
    name: str
    files: tuple[Snapshot, ...]
    size: int
    stored: Mapping[str, Kept]
    notes: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    index: Snapshot | None = None
    description: Description | None = None
    further: Mapping[str, Kept] = field(default_factory=dict)


def found_at(path: Path, name: str | None, limit: int | None) -> Found:
    """What lies at `path`, of at most so many bytes. Raises `CheckpointError`, or `OSError` where it cannot be read."""
    if path.is_dir():
        if (folder := hub_folder(path)) is not None:
            return _in_hub_folder(path, folder, name or folder.name, limit)
        training = list_folder(path, CHECKPOINT_ENDINGS).training
        if training:
            return _with_description((_in_distributed if training == "DCP" else _in_deepspeed)(path, name, limit))
        check_weights(path)
        return _in_shards(path, find_index(path), name or path.name or path.resolve().name, limit)
    if path.name.lower().endswith(INDEX_ENDING):
        return _in_shards(path, path, name or folder_of(path), limit)
    return _in_file(path, name or path.stem, limit)


def folder_of(path: Path) -> str:
    """Of the folder as it was named: a link may lead to one whose name says nothing."""
    return Path(os.path.abspath(path)).parent.name


def _in_file(path: Path, name: str, limit: int | None) -> Found:
    file = Snapshot(path)
    size = _check_size(path.name, [file], limit)
    if _format_of(file) == "safetensors":
        opened = SafetensorsFile(file)
        stored, further = split({key: opened.stored(key) for key in opened.entries}, opened.metadata)
        said = of_metadata(opened.metadata.get(IN_METADATA, ""))
        notes = _order_note(opened)
        return Found(path, name, (file,), size, stored, notes, opened.metadata, description=said, further=further)
    exported = load_exported(file) if file.read(len(ZIP_MAGIC), 0) == ZIP_MAGIC else None
    return Found(path, name, (file,), size, *(exported or load_pickled(file)))


def _in_shards(path: Path, index: Path, name: str, limit: int | None) -> Found:
    listing = Snapshot(index)
    weight_map, paths = read_index(listing)
    files = tuple(Snapshot(shard) for shard in paths)
    size = _check_size(index.name, files, limit)
    stored = {key: shard.stored(key) for key, shard in open_shards(index, weight_map, files).items()}
    return Found(path, name, files, size, stored, (f"{len(files)} shards listed in {index.name}",), index=listing)


def _in_hub_folder(path: Path, folder: HubFolder, name: str, limit: int | None) -> Found:
    sharded = folder.weights.name.endswith(INDEX_ENDING)
    found = _in_shards(path, folder.weights, name, limit) if sharded else _in_file(folder.weights, name, limit)
    files, notes = (*found.files, *folder.described), (folder.note, *found.notes)
    return replace(found, path=path, files=files, notes=notes, description=folder.description)


def _in_distributed(path: Path, name: str | None, limit: int | None) -> Found:
    listing = Snapshot(path / DCP_LIST)
    listed = read_list(path, listing)
    files = tuple(Snapshot(part) for part in paths_of(path, listed))
    size = _check_size(path.name, files, limit)
    note = f"checkpoint of torch.distributed in {len(files)} file{'s' if len(files) > 1 else ''}; nothing was run"
    return Found(path, name or folder_name(path), (*files, listing), size, listed.stored(files), (note, *listed.notes))


def _in_deepspeed(path: Path, name: str | None, limit: int | None) -> Found:
    step, latest = find_step(path)
    files = tuple(Snapshot(file) for file in step.files)
    size = _check_size(path.name, files, limit)
    index = Snapshot(latest) if latest else None
    return Found(path, name or folder_name(path), files, size, *step.stored(files), index=index)


def _with_description(found: Found) -> Found:
    """The state of a training with what a trainer says beside it of the network."""
    described = described_in(found.path)
    if described is None:
        return found
    return replace(found, files=(*found.files, *described[0]), description=described[1])


def _check_size(file: str, files: Sequence[Snapshot], limit: int | None) -> int:
    size = sum(item.size for item in files)
    if limit is not None and size > limit:
        raise CheckpointError(
            f"{file} has {size} bytes",
            f"at most {limit} bytes",
            "Raise the limit, or save without the optimizer's state",
        )
    return size


def _format_of(file: Snapshot) -> str:
    path, start = file.path, file.read(min(32, file.size), 0)
    if not start:
        raise CheckpointError(f"{path.name} is empty", "a complete checkpoint file", "Copy or download it again")
    # No archive and no pickle has a brace at byte 8, where the header of safetensors starts.
    if start[8:9] == b"{":
        return "safetensors"
    other = next((what for magic, what in _OTHER_CONTENT.items() if start.startswith(magic)), None)
    if not other and path.suffix.lower() == ".safetensors":
        if start.startswith(ZIP_MAGIC):  # torch.load goes by this ending, so it cannot be asked to read the file
            raise CheckpointError(
                f"{path.name} was written by torch.save, not as safetensors",
                "an ending that fits",
                f"Rename it to {path.stem}.pth",
            )
        return "safetensors"
    if not other and path.suffix == ".distcp":
        other = "a part of a checkpoint of torch.distributed, whose folder is to be opened"
    if not other and start.startswith((ZIP_MAGIC, PICKLE_MAGIC)):
        return "pickle"
    raise CheckpointError(
        f"{path.name} is {other or 'not a checkpoint'}",
        "a file written by torch.save or as safetensors",
        "Choose the file with the network's weights",
    )


def _order_note(opened: SafetensorsFile) -> tuple[str, ...]:
    names = list(opened.entries)
    if len(names) > 2 and names == sorted(names, key=lambda key: (-opened.entries[key].dtype.itemsize, key)):
        return (SORTED_NOTE,)
    return ()
