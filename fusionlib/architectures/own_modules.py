"""What a model file imports from its own folder: modules that are its own, whatever the process has loaded beside."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from fusionlib.architectures.sources import imported_files, is_reserved

_SWAPPING = threading.RLock()
"""Held while `sys.modules` holds the modules of one folder in place of others."""

_ACTIVE: list[OwnModules] = []
"""Whose modules these are, the innermost last."""


class OwnModules:
    """The modules of a folder, as one model file of it sees them.

    What the files import from their folder is their own even where the process has loaded another module of that name:
    the app has a page called `layers`, another model file lies beside another `utils.py`. Modules of a folder stand in
    `sys.modules`, in place of others, only while an import statement of one of its files runs, whenever that is, and
    while the file is loaded or builds a network (for imports by functions of `importlib`). Then the folder is first on
    `sys.path`. Names of the standard library and of this one are never the file's.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, path.parent
        self.loaded: dict[str, ModuleType] = {}
        self._offered = frozenset(_names_in(self.folder))
        files = imported_files(path)
        imported = {file.relative_to(self.folder).parts[0].removesuffix(".py") for file in files}
        self._names = self._offered & imported
        self._sources = {file: file.read_bytes() for file in files}
        self.names = {**vars(builtins), "__import__": self._import}
        """The built-in names, as its files see them."""
        importlib.invalidate_caches()

    def run(self) -> ModuleType:
        """Run the model file, as a module that others of its folder can import."""
        name = f"fusion_user_{self.path.stem}"
        spec = importlib.util.spec_from_loader(name, _AsItWas(name, str(self.path), self))
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        self._names |= {name}
        self.loaded = {name: module, **({self.path.stem: module} if self.path.stem in self._names else {})}
        with self.active():
            spec.loader.exec_module(module)
        return module

    def source(self, file: Path) -> bytes:
        """What a file of the folder held when the model file was loaded, or at the first look for one that no import
        statement names.
        """
        if file not in self._sources:
            self._sources[file] = file.read_bytes()
        return self._sources[file]

    @property
    def files(self) -> tuple[Path, ...]:
        """Sources of its folder that were run."""
        files = dict.fromkeys(Path(file) for item in self.loaded.values() if (file := getattr(item, "__file__", None)))
        return tuple(file for file in files if file.suffix == ".py" and file.is_relative_to(self.folder))

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside the block an import of a name of the folder gives the file's own module."""
        with _SWAPPING:
            if _ACTIVE[-1:] == [self]:
                yield
                return
            others = {name: sys.modules.pop(name) for name in list(sys.modules) if self._owns(name)}
            sys.modules.update(self.loaded)
            sys.path.insert(0, str(self.folder))
            sys.meta_path.insert(0, self)  # type: ignore[arg-type]
            _ACTIVE.append(self)
            try:
                yield
            finally:
                _ACTIVE.pop()
                sys.meta_path.remove(self)  # type: ignore[arg-type]
                with suppress(ValueError):  # the user's code may have taken it away
                    sys.path.remove(str(self.folder))
                self.loaded = {name: sys.modules.pop(name) for name in list(sys.modules) if self._owns(name)}
                sys.modules.update(others)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """As a finder of `sys.meta_path`: names of the folder, compiled from their sources."""
        top = name.partition(".")[0]
        if top not in (self._offered if path is None else self._names):
            return None
        spec = PathFinder.find_spec(name, [str(self.folder)] if path is None else path)
        if spec is not None:
            self._names |= {top}
            if type(spec.loader) is SourceFileLoader:
                spec.loader = _AsItWas(name, spec.loader.path, self)
        return spec

    def _owns(self, name: str) -> bool:
        return name.partition(".")[0] in self._names

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """What an import statement of the folder's files calls."""
        start = str((globals or {}).get("__package__") or "") if level else name
        if start.partition(".")[0] not in self._offered:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        with self.active():
            return builtins.__import__(name, globals, locals, fromlist or (), level)


class _AsItWas(SourceFileLoader):
    """Runs a source as it was when the model file was loaded. Bytecode, which knows a source by its second and size
    alone, is neither read nor written.
    """

    def __init__(self, name: str, path: str, own: OwnModules) -> None:
        super().__init__(name, path)
        self._own = own

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self._own.source(Path(self.path)), self.path)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self._own.names
        super().exec_module(module)


def _names_in(folder: Path) -> Iterator[str]:
    """What can be imported from a folder: files, packages, and folders of sources that no module elsewhere is called
    like.
    """
    try:
        entries = list(folder.iterdir())
    except OSError:  # a folder that may be entered, not listed
        return
    for entry in entries:
        name = entry.name.removesuffix(".py")
        if not name.isidentifier() or is_reserved(name):
            continue
        if entry.name.endswith(".py"):
            if entry.is_file():
                yield name
        elif (entry / "__init__.py").is_file() or (_holds_sources(entry) and not _is_elsewhere(name)):
            yield name


def _holds_sources(folder: Path) -> bool:
    try:
        return folder.is_dir() and any(folder.glob("*.py"))
    except OSError:
        return False


def _is_elsewhere(name: str) -> bool:
    """Whether there is a proper module of that name, which Python prefers to a folder without `__init__.py`."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) is not None
    spec = PathFinder.find_spec(name)
    return spec is not None and spec.loader is not None and spec.origin is not None
