"""Folders of Hugging Face: weights with JSON files that say what they are, read as data. Nothing is fetched or run.

The cache of `huggingface_hub` keeps a repository as `models--OWNER--NAME`, with a folder of links for each commit under
`snapshots` and the commits that branches point to under `refs`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from fusionlib.checkpoints.safetensors_format import load_json
from fusionlib.checkpoints.snapshot import Snapshot
from fusionlib.contracts import Description
from fusionlib.errors import CheckpointError, clipped, printable
from fusionlib.listing import CHECKPOINT_ENDINGS, HUB_CONFIG, HUB_WEIGHTS, INDEX_ENDING, list_folder

PREPROCESSOR = "preprocessor_config.json"
LIMIT_BYTES = 1 << 20
"""Of either JSON file: names of a thousand classes take a tenth of that."""

IN_METADATA = "huggingface"
"""The key under which a merged file keeps what its anchor's folder says."""

_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class HubFolder:
    """One checkpoint of a folder: `weights` is a file of tensors or an index of shards, `described` the JSON files."""

    folder: Path
    name: str
    weights: Path
    described: tuple[Snapshot, ...]
    description: Description

    @property
    def note(self) -> str:
        """What the folder says that it is."""
        about = self.description
        kind = f" ({about.model_type})" if about.model_type and about.model_type != about.network else ""
        return f"Hugging Face folder: {_shown(about.network)}{_shown(kind)}" if about.network else "Hugging Face folder"


def hub_folder(folder: Path) -> HubFolder | None:
    """The checkpoint of a folder, or of the newest snapshot in a folder of the cache; None for other folders.

    Raises: `CheckpointError` where its JSON files are too long or hold something else, or no snapshot can be told.
    """
    name = folder_name(folder)
    if (folder / "snapshots").is_dir() and folder.name.startswith("models--"):
        folder = _current_snapshot(folder)
    weights = next((folder / file for file in HUB_WEIGHTS if (folder / file).is_file()), None)
    described = None if weights is None else described_in(folder)
    return None if weights is None or described is None else HubFolder(folder, name, weights, *described)


def check_weights(folder: Path) -> None:
    """Raises `CheckpointError` where a folder, or a snapshot of the cache, says what it is and has no weights."""
    name = folder_name(folder)
    if (folder / "snapshots").is_dir() and folder.name.startswith("models--"):
        folder = _current_snapshot(folder)
    listing = list_folder(folder, CHECKPOINT_ENDINGS)
    described = None if any(one.endswith(INDEX_ENDING) for one in listing.other) else described_in(folder)
    if described is None or not (described[1].model_type or described[1].network):
        return
    broken = [path.name for path in listing.files if not path.exists()]
    there = [path.name for path in listing.files if path.exists()]
    raise CheckpointError(
        f"{name} has {HUB_CONFIG} and no weights" + (f": {broken[0]} is a link to nothing" if broken else ""),
        f"{HUB_WEIGHTS[0]}, whole or in shards with {HUB_WEIGHTS[1]}, or {HUB_WEIGHTS[2]}",
        f"Name its file, {folder.name}/{there[0]}" if there else "Download the folder again, as safetensors",
    )


def described_in(folder: Path) -> tuple[tuple[Snapshot, ...], Description] | None:
    """The JSON files of a folder that say what lies in it, and what they say; None without a config.

    Raises: `CheckpointError` where they are too long or hold something else.
    """
    if not (folder / HUB_CONFIG).is_file():
        return None
    files = [Snapshot(folder / file) for file in (HUB_CONFIG, PREPROCESSOR) if (folder / file).is_file()]
    return tuple(files), Description(*map(_read, files))


def of_metadata(text: str) -> Description | None:
    """What a merged file says of itself; None where that is no description."""
    if not text or len(text) > 2 * LIMIT_BYTES:
        return None
    try:
        found = load_json(text.encode(), IN_METADATA)
    except CheckpointError:
        return None
    config, preprocessor = found.get("config"), found.get("preprocessor", {})
    return Description(config, preprocessor) if isinstance(config, dict) and isinstance(preprocessor, dict) else None


def as_metadata(description: Description | None) -> dict[str, str]:
    """The same as the metadata of a file; nothing without a description."""
    if description is None:
        return {}
    return {IN_METADATA: json.dumps({"config": description.config, "preprocessor": description.preprocessor})}


def _read(file: Snapshot) -> dict:
    if file.size > LIMIT_BYTES:
        raise CheckpointError(
            f"{file.path.name} in {file.path.parent.name} has {file.size} bytes",
            f"at most {LIMIT_BYTES} bytes of JSON",
            "Download the folder again",
        )
    try:
        return load_json(file.read(file.size, 0), file.path.name)
    except CheckpointError as problem:
        raise CheckpointError(
            f"{file.path.name} in {file.path.parent.name} is no JSON object",
            "what save_pretrained writes",
            "Download the folder again",
        ) from problem


def folder_name(folder: Path) -> str:
    """The folder's name; in the cache that of the repository."""
    above = folder.absolute().parents
    in_cache = len(above) > 1 and above[0].name == "snapshots"
    repository = (above[1] if in_cache else folder).name
    if repository.startswith("models--"):
        return repository.split("--")[-1]
    return folder.name or folder.resolve().name


def _current_snapshot(folder: Path) -> Path:
    """The snapshot of the branch main, or the only one."""
    snapshots = sorted(path for path in (folder / "snapshots").iterdir() if path.is_dir())
    main = folder / "refs" / "main"
    if main.is_file() and main.stat().st_size <= 100:
        commit = main.read_text(encoding="ascii", errors="replace").strip()
        if _COMMIT.fullmatch(commit) and folder / "snapshots" / commit in snapshots:
            return folder / "snapshots" / commit
    if len(snapshots) == 1:
        return snapshots[0]
    raise CheckpointError(
        f"{folder.name} holds {len(snapshots)} snapshots, and no branch main that points to one",
        "one snapshot",
        "Name one of the folders in its folder snapshots",
    )


def _shown(text: str) -> str:
    return clipped(printable(text), 80)
