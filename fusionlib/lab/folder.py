"""A run's folder has one process that trains in it at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fusionlib.errors import UsageError

PATIENCE_S = 0.5
"""How long to try: whoever asks whether a folder is held holds it for a moment."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Nobody else trains in `folder` meanwhile. Raises `UsageError` where somebody does."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        if not _locked(fd, fcntl.LOCK_EX, PATIENCE_S):
            got = f"{folder.name} is being trained in by another process"
            raise UsageError(got, "a folder of its own", "Wait, or stop that one")
        yield
    finally:
        os.close(fd)


def is_held(folder: Path) -> bool:
    """Whether a process trains in `folder`, this one included."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            return not _locked(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)
    return False


def _locked(fd: int, how: int, patience_s: float = 0.0) -> bool:
    end = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.02)
        else:
            return True
