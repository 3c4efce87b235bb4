"""Uploaded files, kept by content: the same bytes are stored once, under their SHA-256, and survive a reload."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path

from fusionlib.errors import UsageError
from fusionlib.listing import CHECKPOINT_ENDINGS, PICTURE_ENDINGS, list_folder


class UploadFolder:
    """Checkpoints and pictures that came through the browser. The browser's file name is shown, never used as a path."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.pictures, self.limit_bytes = folder, folder / "pictures", limit_bytes
        self._names_file = folder / "names.json"
        self._names: dict[str, str] = {}
        if self._names_file.exists():
            try:
                self._names = {str(key): str(value) for key, value in json.loads(self._names_file.read_text()).items()}
            except (ValueError, AttributeError):
                self._names = {}  # names are a convenience; the files are found without them

    def checkpoints(self) -> list[Path]:
        """Stored checkpoints, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(list_folder(self.folder, CHECKPOINT_ENDINGS).files, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def has_pictures(self) -> bool:
        """Whether any picture was uploaded."""
        return self.pictures.is_dir() and bool(list_folder(self.pictures, PICTURE_ENDINGS).files)

    def shown_name(self, path: Path) -> str:
        """The name that the file had on the user's machine, without its ending."""
        return self._names.get(path.name, path.stem[:12])

    def add(self, name: str, content: bytes | memoryview) -> Path:
        """Keep a file. Raises `UsageError` when it is too large or of no known kind."""
        ending = Path(name).suffix.lower()
        if ending not in (*CHECKPOINT_ENDINGS, *PICTURE_ENDINGS):
            raise UsageError(f"{name} ends in {ending or 'nothing'}", f"one of {', '.join((*CHECKPOINT_ENDINGS, *PICTURE_ENDINGS))}",
                             "Choose a checkpoint or a picture")
        if len(content) > self.limit_bytes:
            raise UsageError(f"{name} has {len(content) >> 20} MB", f"at most {self.limit_bytes >> 20} MB",
                             "Put it into a folder named with --checkpoints, or start with a larger --upload-mb")
        digest = hashlib.sha256(content).hexdigest()
        folder = self.pictures if ending in PICTURE_ENDINGS else self.folder
        stem = f"{Path(name).stem[:60]}-{digest[:8]}" if ending in PICTURE_ENDINGS else digest
        path = folder / "".join(c if c.isalnum() or c in "-_." else "_" for c in stem + ending).lstrip(".")
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write(path, content)
        self._names[path.name] = Path(name).stem[:80]
        _write(self._names_file, json.dumps(self._names).encode())
        return path

    def remove(self, path: Path) -> bytes:
        """Delete an upload and return its bytes, so that the removal can be undone."""
        if path.parent not in (self.folder, self.pictures):
            raise UsageError(f"{path.name} is no upload", "an uploaded file", "Remove other files where they lie")
        content = path.read_bytes()
        path.unlink()
        return content


def _write(path: Path, content: bytes | memoryview) -> None:
    temporary = path.with_name(f".{secrets.token_hex(6)}.part")
    temporary.write_bytes(content)
    os.replace(temporary, path)
