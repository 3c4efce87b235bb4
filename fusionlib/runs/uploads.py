"""Uploaded files, kept by content: the same bytes are stored once, under their SHA-256, and survive a reload."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from fusionlib.atomic import make_folder, reason, write_atomically
from fusionlib.errors import UsageError, WriteError
from fusionlib.listing import CHECKPOINT_ENDINGS, PICTURE_ENDINGS, list_folder
from fusionlib.runs.names import UploadNames

REMOVED_SECONDS = 24 * 3600
"""How long a removed upload can be brought back."""


class UploadFolder:
    """Checkpoints and pictures that came through the browser.

    The browser's file name is shown, never used as a path.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.pictures, self.limit_bytes = folder, folder / "pictures", limit_bytes
        self._removed = folder / "removed"
        self._names = UploadNames(folder)

    def checkpoints(self) -> list[Path]:
        """Stored checkpoints, oldest first."""
        return sorted(_files(self.folder, CHECKPOINT_ENDINGS), key=lambda path: (path.stat().st_mtime_ns, path.name))

    def has_pictures(self) -> bool:
        """Whether any picture was uploaded."""
        return bool(_files(self.pictures, PICTURE_ENDINGS))

    def shown_name(self, path: Path) -> str:
        """The name that the file had on the user's machine, without its ending."""
        return self._names.get(path.name) or path.stem[:12]

    def add(self, name: str, content: bytes | memoryview) -> Path:
        """Keep a file, until `call` or `discard`.

        Raises: `UsageError` when it is too large or of no known kind, `WriteError` where it cannot be kept.
        """
        ending = Path(name).suffix.lower()
        if ending not in (*CHECKPOINT_ENDINGS, *PICTURE_ENDINGS):
            raise UsageError(
                f"{name} ends in {ending or 'nothing'}",
                f"one of {', '.join((*CHECKPOINT_ENDINGS, *PICTURE_ENDINGS))}",
                "Choose a checkpoint or a picture",
            )
        if len(content) > self.limit_bytes:
            raise UsageError(
                f"{name} has {len(content) >> 20} MB",
                f"at most {self.limit_bytes >> 20} MB",
                "Put it into a folder named with --checkpoints, or start with a larger --upload-mb",
            )
        digest = hashlib.sha256(content).hexdigest()
        folder = self.pictures if ending in PICTURE_ENDINGS else self.folder
        stem = f"{Path(name).stem[:60]}-{digest[:8]}" if ending in PICTURE_ENDINGS else digest
        path = folder / "".join(c if c.isalnum() or c in "-_." else "_" for c in stem + ending).lstrip(".")
        make_folder(folder)
        if not path.exists():
            write_atomically(path, content)
        return path

    def call(self, path: Path, name: str) -> None:
        """Show a kept file as `name`, the one that it had on the user's machine."""
        self._names.put(path.name, Path(name).stem[:80])

    def discard(self, path: Path) -> None:
        """Keep the file no longer."""
        path.unlink()
        self._names.drop(path.name)

    def remove(self, path: Path) -> Path:
        """Set an upload aside for a day, for `restore`. Returns where it is."""
        if path.parent not in (self.folder, self.pictures):
            raise UsageError(f"{path.name} is no upload", "an uploaded file", "Remove other files where they lie")
        try:
            self._removed.mkdir(exist_ok=True)
            for earlier in self._removed.iterdir():
                if time.time() - earlier.stat().st_ctime > REMOVED_SECONDS:
                    earlier.unlink(missing_ok=True)
            aside = path.rename(self._removed / path.name)
        except OSError as problem:
            raise WriteError(
                f"{self.shown_name(path)} cannot be removed: {reason(problem)}",
                "a folder that can be written to",
                "Correct the rights of the home folder",
            ) from problem
        self._names.drop(path.name)
        return aside

    def restore(self, removed: Path, name: str) -> None:
        """Undo `remove`. Raises `UsageError` where the day is over."""
        try:
            self.call(removed.rename(self.folder / removed.name), name)
        except FileNotFoundError as problem:
            raise UsageError(f"{name} was removed too long ago", "the file", "Upload it again") from problem


def _files(folder: Path, endings: tuple[str, ...]) -> tuple[Path, ...]:
    """The files of a folder with these endings; nothing where it is not there or cannot be read."""
    try:
        return list_folder(folder, endings).files
    except OSError:
        return ()
