"""What a merge is taken away as: a file, or a folder of Hugging Face; and the download of what was written."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from fusionlib.studio.hub_export import zipped
from pages.widgets.problems import plain


def folder_button(place: Any, key: str, why: str) -> bool:
    """Whether a folder of Hugging Face is asked for; `why` it cannot be, empty where it can."""
    return place.button(
        "Write Hugging Face folder",
        key=key,
        icon=":material/folder_zip:",
        disabled=bool(why),
        help=plain(why) or "config.json, model.safetensors and what else the folder has: from_pretrained opens it",
    )


def download(place: Any, path: Path, name: str, key: str) -> None:
    """Of a written file, or of a written folder as an archive, which is made when it is asked for."""
    kind, content, suffix, mime = "Checkpoint", path.read_bytes, "safetensors", "application/octet-stream"
    if path.is_dir():
        kind, content, suffix, mime = "Folder", partial(zipped, path), "zip", "application/zip"
    size = sum(one.stat().st_size for one in (path.iterdir() if path.is_dir() else (path,)))
    place.download_button(
        f"{kind} ({size / 1e6:.1f} MB)",
        content,
        f"{name}.{suffix}",
        mime,
        key=key,
        icon=":material/download:",
        on_click="ignore",
        width="stretch",
    )
