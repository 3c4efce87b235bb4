"""Files that are whole or not there: written beside their place, synced, then renamed into it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from fusionlib.errors import WriteError

_TEMPORARY = re.compile(r"\.fusion-[0-9a-f]{16}\.tmp")
_tidied: set[str] = set()


class AtomicFile:
    """Context manager around a temporary beside `path`, which takes its place at the end of a block without an error.

    Until then the old file stays; after any exception, an interrupt included, the temporary is gone. File and folder
    are synced, so a crash leaves the old file or the new one. A process that is killed leaves its temporary behind,
    unlocked: the next one to write into the folder removes it. A link stays one: the file that it leads to is replaced.

    Raises: `WriteError` for a folder or a device as target, a missing folder, missing rights, a full disk.
    """

    def __init__(self, path: Path) -> None:
        check_target(path)
        if _is_stream(path):
            raise _refused(path, "got a device or a pipe of this name", "a file name", "Choose another name")
        self.path = Path(os.path.realpath(path))
        self._fd = -1

    def __enter__(self) -> Self:
        folder = self.path.parent
        if str(folder) not in _tidied:
            _tidied.add(str(folder))
            tidy(folder)
        try:
            self._temporary, self._fd = _locked_temporary(folder)
        except OSError as problem:
            raise _failed(self.path, problem) from problem
        return self

    def write(self, data: bytes | memoryview, offset: int = 0) -> None:
        """All of `data`, although one call writes 2 GiB at most."""
        left = memoryview(data)
        try:
            while left:
                written = os.pwrite(self._fd, left, offset)
                left, offset = left[written:], offset + written
        except OSError as problem:
            raise _failed(self.path, problem) from problem

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                os.fsync(self._fd)
                os.replace(self._temporary, self.path)
                _sync_folder(self.path.parent)
        except OSError as failure:
            raise _failed(self.path, failure) from failure
        finally:
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)
            with suppress(OSError):
                os.close(self._fd)


@contextmanager
def atomic_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """Inside the block an empty temporary folder beside `path`, which takes that name after a block without an error.

    `path` is free or an empty folder; with `replace`, any folder; a link to one stays a link. After any exception
    nothing is left, and what a killed process leaves is removed as a temporary file is.

    Raises: `WriteError` for a name that is taken, a missing folder, missing rights, a full disk.
    """
    path = Path(os.path.realpath(path))
    descriptors: list[int] = []
    made: list[Path] = []

    def another() -> Path:
        folder, fd = _locked_folder(path.parent)
        made.append(folder)
        descriptors.append(fd)
        return folder

    try:
        folder = another()
        yield folder
        while not _renamed(folder, path, replace):
            with suppress(FileNotFoundError):  # somebody else moved it aside
                os.replace(path, another())
        _sync_folder(path.parent)
    except OSError as problem:
        raise _failed(path, problem) from problem
    finally:
        for leftover in made:
            shutil.rmtree(leftover, ignore_errors=True)
        for fd in descriptors:
            os.close(fd)


def write_atomically(path: Path, content: bytes | memoryview | str) -> None:
    """Put `content` (text as UTF-8) in the place of `path`, whole or not at all; into a device or a pipe as it comes.

    Raises: `WriteError`, as `AtomicFile` does.
    """
    data = content.encode() if isinstance(content, str) else content
    check_target(path)
    if _is_stream(path):
        try:
            with path.open("ab") as stream:
                stream.write(data)
        except OSError as problem:
            raise _failed(path, problem) from problem
        return
    with AtomicFile(path) as file:
        file.write(data)


def check_target(path: Path) -> None:
    """Raises `WriteError` where nothing can be written to `path`, which can be said before any work is done for it."""
    try:
        if path.is_dir():
            raise _refused(path, "got a folder of this name", "a file name", "Add the name of a file")
        if _is_stream(path):
            return
        folder = Path(os.path.realpath(path)).parent
        if not folder.is_dir():
            raise _refused(path, f"got no folder {folder.name!r}", "an existing folder", "Create the folder first")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(0, f"no right to write into {folder.name!r}")
    except OSError as problem:
        raise _failed(path, problem) from problem


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, unless it is there. Raises `WriteError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise WriteError(
            f"The folder {folder.name!r} cannot be made: {reason(problem)}",
            "a place that can be written to",
            "Make room, correct the rights or choose another folder",
        ) from problem


def tidy(folder: Path) -> None:
    """Remove the temporaries in `folder` whose writers are gone. Whatever stands in the way of that, it is no error."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if _TEMPORARY.fullmatch(name):
                _remove_unless_locked(folder / name)


def reason(problem: OSError) -> str:
    """What the system says went wrong, without the path, in words that name a file where a folder should be."""
    if isinstance(problem, (FileExistsError, NotADirectoryError)):
        return "a file is where a folder should be"
    return problem.strerror or str(problem)


def _locked_temporary(folder: Path) -> tuple[Path, int]:
    """A new file and its descriptor. The lock tells others that its writer lives; the system takes it back however that
    ends.

    Between making and locking somebody else may have taken it for a leftover: then it has no name any more, and another
    is made.
    """
    while True:
        path = folder / f".fusion-{secrets.token_hex(8)}.tmp"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(OSError):  # a file system without locks, where nothing is ever taken for a leftover
            fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return path, fd
        os.close(fd)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """As `_locked_temporary`, a folder."""
    while True:
        path = parent / f".fusion-{secrets.token_hex(8)}.tmp"
        path.mkdir()
        with suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX)
            if path.is_dir():
                return path, fd
            os.close(fd)


def _renamed(folder: Path, path: Path, replace: bool) -> bool:
    """Whether `path` is now what `folder` was; False where a folder that may be replaced is in the way."""
    try:
        os.replace(folder, path)
    except OSError as problem:
        if replace and problem.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _remove_unless_locked(path: Path) -> None:
    is_folder = path.is_dir() and not path.is_symlink()
    with suppress(OSError):
        fd = os.open(path, (os.O_RDONLY if is_folder else os.O_WRONLY) | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_folder:
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        finally:
            os.close(fd)


def _is_stream(path: Path) -> bool:
    """Whether writing goes somewhere else than into a file: a device, a pipe, or one of the process's own
    descriptors.
    """
    folder = os.path.realpath(path.parent)
    return (
        folder == "/dev" or folder.startswith("/proc/") or (path.exists() and not path.is_file() and not path.is_dir())
    )


def _sync_folder(folder: Path) -> None:
    """A rename lasts once the folder itself is on disk.

    The file is in its place by now, so a folder that cannot be synced is no error.
    """
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _refused(path: Path, got: str, needs: str, do: str) -> WriteError:
    return WriteError(f"{path.name or path} cannot be written: {got}", needs, do)


def _failed(path: Path, problem: OSError) -> WriteError:
    return _refused(
        path,
        reason(problem),
        "a folder that can be written to, with room in it",
        "Make room, correct the rights or choose another folder",
    )
