"""Sharded checkpoints: a folder of safetensors files and an index that says which tensor lies where.

The index is as untrusted as any file: a shard is a plain file name inside the index's own folder, nothing else. Where
the files of that folder are links to is up to whoever filled it: a download cache keeps its files elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fusionlib.checkpoints.safetensors_format import MAX_HEADER_BYTES, SafetensorsFile, load_json
from fusionlib.checkpoints.snapshot import Snapshot
from fusionlib.errors import CheckpointError
from fusionlib.listing import CHECKPOINT_ENDINGS, list_folder

INDEX_ENDING = ".index.json"


def find_index(folder: Path) -> Path:
    """The only index in `folder`. Raises `CheckpointError` where there is none, or several."""
    found = list_folder(folder, (INDEX_ENDING,)).files
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointError(
            f"Folder {folder.name} has {len(found)} indexes: {', '.join(item.name for item in found)}",
            "one checkpoint per folder",
            "Open the index itself",
        )
    endings = sorted({item.suffix for item in list_folder(folder, CHECKPOINT_ENDINGS).files})
    named = " ".join(str(Path(folder.name, f"*{ending}")) for ending in endings)
    raise CheckpointError(
        f"Folder {folder.name} has no *{INDEX_ENDING}, so it is not one checkpoint in shards",
        "checkpoint files, not a folder of them",
        (
            f"Name its files, as {named}"
            if endings
            else f"There is no checkpoint file in it; name files of another, as DIR/*{CHECKPOINT_ENDINGS[1]}"
        ),
    )


def read_index(listing: Snapshot) -> tuple[dict[str, str], tuple[Path, ...]]:
    """The map from tensor to shard, and the shards' paths sorted by name.

    Raises: `CheckpointError` for a malformed index, a missing shard, or a shard outside of the folder.
    """
    index = listing.path
    if listing.size > MAX_HEADER_BYTES:
        raise _bad_index(index, f"is longer than {MAX_HEADER_BYTES} bytes")
    weight_map = load_json(listing.read(listing.size, 0), index.name).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise _bad_index(index, "has no weight_map from tensors to files")
    if not weight_map:
        raise _bad_index(index, "lists zero tensors")
    return weight_map, tuple(_shard_path(index, shard) for shard in sorted(set(weight_map.values())))


def open_shards(index: Path, weight_map: dict[str, str], shards: Iterable[Snapshot]) -> dict[str, SafetensorsFile]:
    """The opened shard of every tensor; order: shards by name, then each shard's own order.

    Raises: `CheckpointError` where index and shards disagree or a tensor lies in two shards.
    """
    opened: dict[str, SafetensorsFile] = {}
    for snapshot in shards:
        shard, file = SafetensorsFile(snapshot), snapshot.path.name
        for name in shard.entries:
            if weight_map.get(name) != file:
                problem = "lies in two shards" if name in opened else "is not in the index"
                raise _bad_index(index, f"does not fit {file}: tensor {name!r} {problem}")
            opened[name] = shard
    for name, shard_name in weight_map.items():
        if name not in opened:
            raise _bad_index(index, f"promises tensor {name!r} in {shard_name}, which has none of that name")
    return opened


def _shard_path(index: Path, name: str) -> Path:
    if not name or name in (".", "..") or any(sign in name for sign in "/\\\0"):
        raise _bad_index(index, f"points to {name!r}, which is no plain file name")
    if not name.lower().endswith(".safetensors"):
        raise CheckpointError(
            f"{index.name} points to {name!r}, which is no safetensors file",
            "shards of safetensors",
            "Save it again: from_pretrained(DIR).save_pretrained(OTHER) of transformers writes safetensors",
        )
    path = index.parent / name
    if not path.is_file():
        raise _bad_index(index, f"points to {name!r}, which does not exist")
    return path


def _bad_index(index: Path, problem: str) -> CheckpointError:
    return CheckpointError(
        f"{index.name} {problem}",
        "an index of safetensors files in its own folder",
        "Download the folder again, or save it again as safetensors",
    )
