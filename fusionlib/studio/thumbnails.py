"""Thumbnails of pictures: made once, kept in the home folder by content."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from fusionlib.atomic import make_folder, write_atomically
from fusionlib.data.cache import DecodedCache
from fusionlib.errors import WriteError
from fusionlib.imaging.thumbnail import SIDE, thumbnail

MOST = 20_000
"""Thumbnails kept, about 150 MB; those made longest ago go first, a tenth at a time."""

LARGEST = 1 << 20
"""Bytes: what is larger is none, whoever put it there."""

_JPEG = b"\xff\xd8\xff"


class Thumbnails:
    """Those of a folder. One that cannot be kept is made again when it is asked for."""

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self.folder, self.most = folder, most
        self._count = -1

    def of(self, pictures: DecodedCache, index: int) -> bytes:
        """Picture `index` as JPEG of at most 192 pixels a side. Raises `DataError` that names a file that cannot be
        read.
        """
        key = hashlib.sha256(f"{SIDE} {pictures.picture_key(index)}".encode()).hexdigest()
        path = self.folder / f"{key}.jpg"
        found = _read(path)
        if found is None:
            found = thumbnail(pictures.load(index).image)
            with suppress(WriteError):
                make_folder(self.folder)
                write_atomically(path, found)
                self._make_room()
        return found

    def _make_room(self) -> None:
        if self._count < 0:
            self._count = sum(1 for _ in self.folder.glob("*.jpg"))
        else:
            self._count += 1
        if self._count > self.most:
            with suppress(OSError):
                oldest = sorted(self.folder.glob("*.jpg"), key=os.path.getmtime)
                for path in oldest[: len(oldest) - self.most + self.most // 10]:
                    path.unlink(missing_ok=True)
            self._count = -1


def _read(path: Path) -> bytes | None:
    """The JPEG in a file; None where there is none, or something else."""
    try:
        with path.open("rb") as file:
            found = file.read(LARGEST + 1)
    except OSError:
        return None
    return found if found.startswith(_JPEG) and len(found) <= LARGEST else None
