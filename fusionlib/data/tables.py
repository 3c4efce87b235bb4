"""Tables of which class of one label space counts as which of another, a YAML file each:

    from: mapillary-v1.2
    to: cityscapes
    classes:
      Road: road
      Bird: null        # none; so are classes that are not listed

Those in `maps/` beside this file come along; the operator names a folder of more (`--class-tables DIR`), which go
before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fusionlib.errors import DataError, shown
from fusionlib.listing import list_folder
from fusionlib.plain_yaml import read_yaml

_LARGEST = 256 << 10
_FIELDS = {"from", "to", "classes"}
_EXAMPLE = "from: mine, to: cityscapes and classes: {asphalt: road, bird: null}"


@dataclass(frozen=True)
class Table:
    """What classes of `source` count as in `target`, None for none of them; `own`: of the operator's folder."""

    file: str
    source: str
    target: str
    classes: tuple[tuple[str, str | None], ...]
    own: bool = False


_own: dict[tuple[str, str], Table] = {}


def use(tables: Iterable[Table]) -> None:
    """Take the operator's tables, in place of those taken before."""
    found = {(table.source, table.target): table for table in tables}
    _own.clear()
    _own.update(found)


def own_tables() -> tuple[Table, ...]:
    """The operator's tables, to be taken by another process."""
    return tuple(_own.values())


def table_of(source: str, target: str) -> Table | None:
    """The table between two spaces by their names, the operator's first."""
    return _own.get((source, target)) or _built_in().get((source, target))


def known_pairs() -> tuple[tuple[str, str], ...]:
    """Names of the spaces that there are tables between."""
    return tuple(sorted({*_own, *_built_in()}))


def own_key(source: str) -> str:
    """SHA-256 of the operator's tables from a space; empty without any. What they say decides figures."""
    mine = sorted(repr((table.target, table.classes)) for table in _own.values() if table.source == source)
    return hashlib.sha256("\n".join(mine).encode()).hexdigest() if mine else ""


def read_tables(folder: Path, own: bool = True) -> tuple[Table, ...]:
    """The tables of a folder. Raises `DataError` that names the file."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", "a folder of tables, YAML files", "Correct --class-tables")
    found: dict[tuple[str, str], Table] = {}
    for path in list_folder(folder, (".yaml", ".yml")).files:
        table = read_table(path, own)
        pair = table.source, table.target
        if pair in found:
            raise DataError(
                f"{found[pair].file} and {path.name} both map {pair[0]} to {pair[1]}", "one table each", "Remove one"
            )
        found[pair] = table
    return tuple(found.values())


def read_table(path: Path, own: bool = True) -> Table:
    """The table in a file. Raises `DataError` that names the file and the entry."""
    try:
        content = read_yaml(path, _LARGEST)
    except (OSError, ValueError) as problem:
        raise DataError(
            f"{path} cannot be read: {problem}", "a YAML file", f"Write for example {_EXAMPLE}"
        ) from problem
    if not isinstance(content, dict) or content.keys() != _FIELDS:
        got = sorted(shown(key) for key in content)[:5] if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{path} has {got} at its top", "from, to and classes", f"Write for example {_EXAMPLE}")
    for name in ("from", "to"):
        if not isinstance(content[name], str) or not content[name].strip():
            raise DataError(f"{path} has {name} {shown(content[name])}", "the name of a label space", "Correct it")
    classes = content["classes"]
    if not isinstance(classes, dict) or not classes:
        raise DataError(f"{path} has classes {shown(classes)}", "a class of `to`, or null, for each", "Correct classes")
    for source, target in classes.items():
        if not isinstance(source, str) or not isinstance(target, str | None):
            raise DataError(
                f"{path} has {shown({source: target})} in classes",
                "a name and what it counts as, a name or null",
                "Correct it (quote names that YAML takes for numbers, yes or no)",
            )
    return Table(path.name, content["from"].strip(), content["to"].strip(), tuple(classes.items()), own)


@cache
def _built_in() -> dict[tuple[str, str], Table]:
    tables = read_tables(Path(__file__).with_name("maps"), own=False)
    return {(table.source, table.target): table for table in tables}
