"""A file as it was when it was opened: the one place through which bytes leave a checkpoint.

Nothing is memory-mapped: a map shows what others write, and ends the process where they truncate. Bytes are copied out
in pieces, and the file's identity is compared before and after each piece. A file that was written to since is an
error; one that was only touched, renamed or deleted is hashed once more and goes on where its content is the same.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import time
import weakref
from collections.abc import Iterable
from pathlib import Path
from threading import RLock

from fusionlib.errors import ChangedCheckpointError, CheckpointError

FileIdentity = tuple[int, int, int, int, int]
"""(device, inode, bytes, mtime in ns, ctime in ns): equal identities mean an untouched file.

Nobody can set a ctime back.
"""

PIECE = 1 << 20
"""Bytes read at a time: few enough to stay in the cache between reading and use, many enough that calls cost
nothing.
"""

_TICK, _COARSE_TICK = 0.012, 2.0
"""Seconds within which a file system may stamp two writes alike: a kernel's tick, or the whole seconds of a coarse
clock.
"""

_known: dict[FileIdentity, str] = {}
_lock = RLock()


class Snapshot:
    """An open regular file whose bytes are those of `fingerprint`, or an error.

    Raises: `CheckpointError` for what is no regular file, `OSError` where it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise CheckpointError(f"There is no {path.name}", "a checkpoint file or folder", "Correct the path")
        if not stat.S_ISREG(os.stat(path).st_mode):  # before opening: a pipe would wait for ever
            raise CheckpointError(
                f"{path.name} is not a regular file", "a checkpoint file or folder", "Correct the path"
            )
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)
        self._lock = RLock()
        self._shown: list[tuple[int, bytes]] = []
        self._digest: str | None = None
        self._identity = _settled(self._fd)
        self.size = self._identity[2]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all bytes as 64 hexadecimal digits: one pass at the first use, remembered by identity for the
        process's life.
        """
        with self._lock:
            if self._digest is None:
                self.verify()
                digest = _known.get(self._identity) or self._hash()
                if _identity(self._fd) != self._identity:
                    raise self._changed()
                with _lock:
                    _known[self._identity] = digest
                self._digest, self._shown = digest, []
            return self._digest

    def verify(self) -> None:
        """Raises `CheckpointError` where the content is no longer what it was when it was opened."""
        with self._lock:
            if _identity(self._fd) == self._identity:
                return
            identity = _settled(self._fd)
            if identity[2] != self.size or not self._same_content(identity) or _identity(self._fd) != identity:
                raise self._changed()
            self._identity = identity

    def is_at_its_path(self) -> bool:
        """Whether opening the path again would find this very content, as far as a look at the file can tell."""
        try:
            return _identity(self.path) == self._identity
        except OSError:
            return False

    def read(self, count: int, offset: int) -> bytes:
        """Bytes `offset` to `offset + count`, for headers and lists of tensors."""
        content = bytearray(count)
        self.read_into(memoryview(content), offset)
        if self._digest is None:
            self._shown.append((offset, bytes(content)))
        return bytes(content)

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill `target` with the bytes from `offset`.

        Raises `CheckpointError` where the file was changed or ends before.
        """
        self.verify()
        for start in range(0, len(target), PIECE):
            piece = target[start : start + PIECE]
            while True:
                before = self._identity
                self._fill(piece, offset + start)
                self.verify()
                if self._identity == before:  # else the piece may be of either content, although both were found equal
                    break

    def stream(self) -> io.BufferedReader:
        """The file for readers that want to seek; every read is verified like any other."""
        return io.BufferedReader(_Stream(self))

    def read_all(self) -> bytes:
        """The whole content, hashed as it is: for formats that can only be read as a whole."""
        content, before = bytearray(self.size), None
        while before != self._identity:
            before = self._identity
            self.read_into(memoryview(content), 0)
        with self._lock:
            self._digest = self._digest or hashlib.sha256(content).hexdigest()
        return bytes(content)

    def _fill(self, piece: memoryview, offset: int) -> None:
        while piece:
            count = os.preadv(self._fd, [piece], offset)
            if not count:
                raise self._changed()
            piece, offset = piece[count:], offset + count

    def _hash(self) -> str:
        """The digest of what is there now; whoever asks compares the identity afterwards."""
        digest, buffer = hashlib.sha256(), memoryview(bytearray(min(PIECE, max(1, self.size))))
        for start in range(0, self.size, PIECE):
            piece = buffer[: min(PIECE, self.size - start)]
            self._fill(piece, start)
            digest.update(piece)
        return digest.hexdigest()

    def _same_content(self, identity: FileIdentity) -> bool:
        """Whether a file of another identity and the same size still holds what was read from it."""
        if self._digest is not None:
            return self._hash() == self._digest
        # So far only headers were read, and the rest is whatever will be hashed.
        return identity[3] == self._identity[3] and all(
            self._again(offset, len(shown)) == shown for offset, shown in self._shown
        )

    def _again(self, offset: int, count: int) -> bytes:
        content = bytearray(count)
        self._fill(memoryview(content), offset)
        return bytes(content)

    def _changed(self) -> ChangedCheckpointError:
        when = time.strftime("%H:%M", time.localtime(os.fstat(self._fd).st_ctime))
        return ChangedCheckpointError(
            f"{self.path.name} was changed after it was opened, last at {when}",
            "a file that stays as it is",
            "Look at the folders again, which opens it anew",
        )


def combined_fingerprint(parts: Iterable[Snapshot]) -> str:
    """SHA-256 over the sorted file names and the digest of each: independent of the folder and of the index."""
    total = hashlib.sha256()
    for part in sorted(parts, key=lambda item: item.path.name):
        total.update(f"{part.path.name}\0{part.fingerprint}\n".encode())
    return total.hexdigest()


class Section:
    """`size` bytes of a snapshot from `begin` on, read as if they were a file: what lies whole in a larger one.

    Raises: `CheckpointError` where the snapshot ends before.
    """

    def __init__(self, snapshot: Snapshot, begin: int, size: int) -> None:
        self._snapshot, self._begin, self.path = snapshot, begin, snapshot.path
        self.size = size
        if begin < 0 or size < 0 or begin + size > snapshot.size:
            raise CheckpointError(
                f"{self.path.name} has {snapshot.size} bytes, and {size} are to lie at {begin}",
                "a complete file",
                "Copy or download it again",
            )

    @property
    def fingerprint(self) -> str:
        """That of the whole file."""
        return self._snapshot.fingerprint

    def read(self, count: int, offset: int) -> bytes:
        """As `Snapshot.read`."""
        self._check(count, offset)
        return self._snapshot.read(count, self._begin + offset)

    def read_into(self, target: memoryview, offset: int) -> None:
        """As `Snapshot.read_into`."""
        self._check(len(target), offset)
        self._snapshot.read_into(target, self._begin + offset)

    def read_all(self) -> bytes:
        """All of it."""
        return self.read(self.size, 0)

    def stream(self) -> io.BufferedReader:
        """As `Snapshot.stream`."""
        return io.BufferedReader(_Stream(self))

    def _check(self, count: int, offset: int) -> None:
        if not 0 <= offset <= offset + count <= self.size:
            raise CheckpointError(
                f"A part of {self.path.name} ends before what it names",
                "a complete file",
                "Copy or download it again",
            )


class _Stream(io.RawIOBase):
    def __init__(self, snapshot: Snapshot | Section) -> None:
        self._snapshot, self._at = snapshot, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._snapshot.size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = max(0, min(len(buffer), self._snapshot.size - self._at))
        buffer[:count] = self._snapshot.read(count, self._at)
        self._at += count
        return count


def _identity(file: int | Path) -> FileIdentity:
    found = os.stat(file)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _settled(fd: int) -> FileIdentity:
    """The identity, once the tick of its last change is over: a later write is then sure to be stamped otherwise."""
    while True:
        identity = _identity(fd)
        tick = _TICK if identity[4] % 10**9 else _COARSE_TICK
        age = time.time() - identity[4] / 1e9
        if not 0 <= age < tick:  # also where the clock of another machine is ahead: its files would never settle
            return identity
        time.sleep(tick - age)
