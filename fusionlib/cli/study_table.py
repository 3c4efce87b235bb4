"""The table of any study for people: numbers as their measures declare them, whatever is long left to `--json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusionlib.cli.common import percent
from fusionlib.contracts import MEASURES, Figure

FEW = 10
"""So many values of a list are shown."""

Plain = str | int | float | bool | None


def study_lines(table: Mapping[str, Any]) -> list[str]:
    """Values, then entries that are tables themselves side by side, then lists of entries with a line each."""
    declared = {figure.name: figure for _, measure in MEASURES.items() for figure in measure.figures}
    lines, sides, left = [], {}, []
    for name, value in table.items():
        if isinstance(value, Mapping):
            sides[name] = value
        elif _entries(value):
            lines += ["", name, *_listed(value, declared)]
        elif isinstance(value, list) and len(value) > FEW:
            left.append(name)
        elif isinstance(value, list):
            lines.append(f"{name}: {', '.join(_text(None, one) for one in value)}")
        elif value is not None:
            lines.append(f"{name}: {_text(declared.get(name), value)}")
    lines += ["", *_side_by_side(sides, declared)] if sides else []
    more = left or any(not _plain(one) for row in _rows(table) for one in row.values())
    return [*lines, "", "--json has everything, by class and by bin too"] if more else lines


def _rows(table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every entry that is a table itself."""
    found = [value for value in table.values() if isinstance(value, Mapping)]
    return found + [row for value in table.values() if _entries(value) for row in value]


def _entries(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, Plain)


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is one value in every entry that has it, and somewhere a value."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if all(_plain(row.get(name)) for row in rows)]


def _side_by_side(sides: Mapping[str, Mapping[str, Any]], declared: Mapping[str, Figure]) -> list[str]:
    names = _names(list(sides.values()))
    cells = [[name, *(_text(declared.get(name), side.get(name), name in side) for side in sides.values())]
             for name in names]  # fmt: skip
    return _aligned([["", *sides], *cells])


def _listed(rows: Sequence[Mapping[str, Any]], declared: Mapping[str, Figure]) -> list[str]:
    names = _names(rows)
    return _aligned(
        [names, *([_text(declared.get(name), row.get(name), name in row) for name in names] for row in rows)]
    )


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """The first column at the left, numbers at the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def line(first: str, *rest: str) -> str:
        numbers = (text.rjust(width) for text, width in zip(rest, widths[1:], strict=True))
        return "  ".join((first.ljust(widths[0]), *numbers)).rstrip()

    return [line(*row) for row in cells]


def _text(figure: Figure | None, value: Any, there: bool = True) -> str:
    """A value as its figure is written; nothing where the entry has none of it."""
    if value is None:
        return "n/a" if there else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if not isinstance(value, int | float):
        return "..."
    if figure is None or isinstance(value, int):
        return f"{value:g}" if isinstance(value, float) else f"{value:,}"
    return percent(value).strip() if figure.unit == "%" else f"{value:,.{figure.digits}f}"
