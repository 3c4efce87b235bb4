"""SHA-256 fingerprints of checkpoint files, computed once per file content."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from threading import Lock

from fusionlib.errors import CheckpointError

FileIdentity = tuple[str, int, int, int, int]
"""(resolved path, bytes, mtime in ns, ctime in ns, inode): equal identities mean an untouched file."""

_SETTLED_SECONDS = 2.0
_known: dict[FileIdentity, str] = {}
_lock = Lock()


def file_identity(path: Path) -> FileIdentity:
    """Identity of the file behind `path`. Raises `OSError` where there is none."""
    real = os.path.realpath(path)
    found = os.stat(real)
    return real, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def fingerprint_file(path: Path | str) -> str:
    """SHA-256 of the file's bytes as 64 hexadecimal digits, read as a stream.

    Remembered per file identity for the life of the process. A file written within the last two seconds is not
    remembered: it can change again within one tick of the clock that stamps it.

    Raises: `CheckpointError` where the file cannot be read or changes while it is read.
    """
    path = Path(path)
    try:
        before = file_identity(path)
        with _lock:
            if before in _known:
                return _known[before]
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        after = file_identity(path)
    except OSError as problem:
        raise CheckpointError(f"{path.name} cannot be read: {problem.strerror}", "a readable file",
                              "Check that the file exists and that you may read it") from problem
    if before != after:
        raise CheckpointError(f"{path.name} changed while it was read", "a file that stays as it is",
                              "Wait until it is written, then open it again")
    if time.time() - before[2] / 1e9 > _SETTLED_SECONDS:
        with _lock:
            _known[before] = digest
    return digest


def fingerprint_shards(paths: Iterable[Path]) -> str:
    """SHA-256 over the sorted shard names and the digest of each: independent of the folder and of the index."""
    total = hashlib.sha256()
    for path in sorted(paths, key=lambda item: item.name):
        total.update(f"{path.name}\0{fingerprint_file(path)}\n".encode())
    return total.hexdigest()
