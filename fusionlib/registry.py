"""Named collections of implementations, filled by the modules of a package.

One new file and one registration line add an implementation; pages, CLI, the guide's tables and the property tests find
it here.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, TypeVar, cast

from fusionlib.errors import UsageError, shown

T = TypeVar("T")
Item = TypeVar("Item")


class Registry(Generic[T]):
    """Implementations by name. Modules of `package` are imported at the first look, not before.

    Loading lazily keeps `registry` and `contracts` free of imports from the layers above them.
    """

    def __init__(self, noun: str, package: str, constant: str = "[A-Z_]+") -> None:
        """`constant` is the name under which its modules know it, where the package registers elsewhere too."""
        self.noun = noun
        self._registered = re.compile(rf'^@?{constant}\.register\("([^"]+)"\)', re.MULTILINE)
        self._package = package
        self._items: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[Item], Item]:
        """Decorator: file `item` under `name`. Raises `KeyError` where the name is taken."""

        def file(item: Item) -> Item:  # a type of its own, so that a registered class keeps its type for checkers
            if name in self._items:
                raise KeyError(f"{self.noun} {name!r} is registered twice")
            self._items[name] = cast(T, item)
            return item

        return file

    def put(self, name: str, item: T) -> None:
        """File `item` under `name`, in place of what may be there: the user's code as it is now."""
        self._load()
        self._items[name] = item

    def get(self, name: str) -> T:
        """The implementation called `name`. Raises `UsageError` that lists the valid names."""
        self._load()
        if name not in self._items:
            raise UsageError(
                f"Unknown {self.noun} {shown(name)}", f"one of {', '.join(self.names())}", "Correct the name"
            )
        return self._items[name]

    def names(self) -> tuple[str, ...]:
        """All names in alphabetical order: that of registration depends on who imported what first."""
        self._load()
        return tuple(sorted(self._items))

    def names_in_files(self) -> tuple[str, ...]:
        """The same as the package's files give them: read as text, so that a list of names loads none of them.

        What was filed from elsewhere (the user's own code, say) is not among them.
        """
        return tuple(sorted(name for text in self._files() for name in self._registered.findall(text)))

    def texts_in_files(self, attribute: str) -> tuple[str, ...]:
        """The text that `attribute = "..."` gives in the class of each file that registers something, files in order
        of their names.
        """
        given = re.compile(rf'^ +{attribute}(?:: [^=]+)? = "([^"]+)"', re.MULTILINE)
        return tuple(text for file in self._files() if self._registered.search(file) for text in given.findall(file))

    def name_of(self, item: T) -> str:
        """The name under which an item was filed. Raises `KeyError` where it was not."""
        self._load()
        return next(name for name, one in self._items.items() if one is item)

    def items(self) -> Iterator[tuple[str, T]]:
        """Pairs of name and implementation."""
        self._load()
        return iter(tuple(self._items.items()))

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._items

    def _files(self) -> Iterator[str]:
        """The text of each module of the package, in the order in which they are loaded."""
        spec = find_spec(self._package)
        for folder in spec.submodule_search_locations or () if spec else ():
            for path in sorted([*Path(folder).glob("*.py"), *Path(folder).glob("*/__init__.py")]):
                yield path.read_text(encoding="utf-8")

    def _load(self) -> None:
        if self._loaded:
            return
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        self._loaded = True
