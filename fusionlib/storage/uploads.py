"""Uploaded files, kept by content: the same bytes are stored once, under their SHA-256, and survive a reload."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from fusionlib.atomic import make_folder, reason, write_atomically
from fusionlib.errors import UsageError, WriteError

CHECKPOINT_ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")


class UploadFolder:
    """Checkpoints and pictures that came through the browser. The browser's file name is shown, never used as a path."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.pictures, self.limit_bytes = folder, folder / "pictures", limit_bytes
        self._names_file = folder / "names.json"
        try:
            self._names = {str(key): str(value) for key, value in json.loads(self._names_file.read_text()).items()}
        except (OSError, ValueError, AttributeError):
            self._names = {}  # names are a convenience; the files are found without them

    def checkpoints(self) -> list[Path]:
        """Stored checkpoints, oldest first."""
        found = [path for path in _files(self.folder) if path.suffix in CHECKPOINT_ENDINGS]
        return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def has_pictures(self) -> bool:
        """Whether any picture was uploaded."""
        return any(path.suffix in PICTURE_ENDINGS for path in _files(self.pictures))

    def shown_name(self, path: Path) -> str:
        """The name that the file had on the user's machine, without its ending."""
        return self._names.get(path.name, path.stem[:12])

    def add(self, name: str, content: bytes | memoryview) -> Path:
        """Keep a file. Raises `UsageError` when it is too large or of no known kind, `WriteError` where it cannot be kept."""
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
        make_folder(folder)
        fresh = not path.exists()
        if fresh:
            write_atomically(path, content)
        names = {**self._names, path.name: Path(name).stem[:80]}
        try:
            write_atomically(self._names_file, json.dumps(names))
        except WriteError:
            if fresh:
                path.unlink(missing_ok=True)  # whoever is told that it failed must not find it later
            raise
        self._names = names
        return path

    def remove(self, path: Path) -> bytes:
        """Delete an upload and return its bytes, so that the removal can be undone."""
        if path.parent not in (self.folder, self.pictures):
            raise UsageError(f"{path.name} is no upload", "an uploaded file", "Remove other files where they lie")
        try:
            content = path.read_bytes()
            path.unlink()
        except OSError as problem:
            raise WriteError(f"{self.shown_name(path)} cannot be removed: {reason(problem)}", "a folder that can be written to",
                             "Correct the rights of the home folder") from problem
        return content


def _files(folder: Path) -> list[Path]:
    """What is in a folder, without hidden files; nothing where it is not there or cannot be read."""
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
