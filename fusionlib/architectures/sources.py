"""Which files a model file consists of: itself and what it imports from its own folder, and a fingerprint of their
content.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

OURS = "fusionlib"
"""The one package that is never the user's, wherever it lies: its sources are part of every key anyway."""

Dotted = tuple[str, ...]


def imported_files(path: Path) -> tuple[Path, ...]:
    """`path` (absolute) and, found in the sources without running them, all files of its folder that it imports, itself
    or through others.

    Imports inside functions count; names made at run time do not.
    """
    folder, found, left = path.parent, {path: None}, [path]
    while left:
        current = left.pop()
        package = current.relative_to(folder).parent.parts
        for name in _imported(current, package):
            for file in _files_of(folder, name):
                if file not in found:
                    found[file] = None
                    left.append(file)
    return tuple(found)


def content_of(folder: Path, files: Iterable[Path]) -> str:
    """SHA-256 over names and bytes of these files of `folder`, in any order.

    Raises `OSError` where one cannot be read.
    """
    digest = hashlib.sha256()
    for name, file in sorted((file.relative_to(folder).as_posix(), file) for file in set(files)):
        content = file.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _imported(path: Path, package: Dotted) -> Iterator[Dotted]:
    """Dotted names of what a file imports, as seen from the folder of the model file."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # loading it will say so
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = (*start, *(node.module.split(".") if node.module else ()))
            yield base
            yield from ((*base, alias.name) for alias in node.names)


def _files_of(folder: Path, name: Dotted) -> Iterator[Path]:
    """The files that importing `name` runs: those of its packages, and its own."""
    if not name or is_reserved(name[0]):
        return
    for depth in range(1, len(name) + 1):
        place = folder.joinpath(*name[:depth])
        for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if file.is_file():
                yield file


def is_reserved(name: str) -> bool:
    """Whether a module of that name is never the user's, whatever lies in the folder."""
    return name in (OURS, "__main__") or name in sys.stdlib_module_names
