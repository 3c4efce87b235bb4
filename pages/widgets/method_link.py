"""Rows of the user's own with everything by name, as they are kept and stand in a link: numbers change with the set."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fusionlib.contracts import METHODS, parameters_of
from fusionlib.errors import FusionError
from fusionlib.merging.build import build_method
from fusionlib.studio import Own, checkpoint_parameters
from pages.widgets import link

IN_URL, MOST = "own", 20
"""Where rows stand in a link, and how many of them are read."""


def into_link(rows: Sequence[dict[str, Any]]) -> None:
    """Put the rows into the page's address."""
    link.put(IN_URL, json.dumps(rows, separators=(",", ":")) if rows else None)


def from_link() -> list[dict[str, Any]]:
    """The rows that the page's address names; what is no row that this page could have made is passed over."""
    try:
        rows = json.loads(link.asked(IN_URL) or "[]")
        return [read for row in rows[:MOST] if (read := _read(row)) is not None]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []


def named(own: Own, members: Sequence[str]) -> dict[str, Any]:
    """The row with its checkpoints, and the checkpoints that its weights belong to, by name."""
    if own.preset:
        return {"method": own.method, "values": {}, "checkpoints": {}, "preset": own.preset}
    numbers, lists = checkpoint_parameters(own.method), _lists(own.method)
    row = {
        "method": own.method,
        "values": {name: value for name, value in own.parameters if name not in numbers | lists},
        "checkpoints": {name: members[value] for name, value in own.parameters if name in numbers},
    }
    shares = {name: dict(zip(members, value, strict=True)) for name, value in own.parameters if name in lists}
    return {**row, "shares": shares} if shares else row


def numbered(row: Mapping[str, Any], members: Sequence[str], presets: Callable[[], Mapping[str, Own]]) -> Own | None:
    """The same by number; None where it is not about this set: a checkpoint, or a weight, of another, or a preset for
    another.
    """
    if "preset" in row:
        return presets().get(row["preset"])
    shares = row.get("shares", {})
    if not set(row["checkpoints"].values()) <= set(members) or any(
        set(found) != set(members) for found in shares.values()
    ):
        return None
    places = {name: members.index(checkpoint) for name, checkpoint in row["checkpoints"].items()}
    weights = {name: tuple(found[member] for member in members) for name, found in shares.items()}
    return Own(row["method"], tuple({**places, **row["values"], **weights}.items()))


def _read(row: Any) -> dict[str, Any] | None:
    method, values, checkpoints, shares = row["method"], row["values"], row["checkpoints"], row.get("shares", {})
    if not isinstance(method, str) or method not in METHODS:
        return None
    if "preset" in row:
        return (
            {"method": method, "values": {}, "checkpoints": {}, "preset": str(row["preset"])}
            if METHODS.get(method).by_preset
            else None
        )
    if set(checkpoints) - checkpoint_parameters(method) or set(shares) - _lists(method):
        return None
    if not all(isinstance(name, str) for name in checkpoints.values()):
        return None
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        build_method(method, {**values, **{name: tuple(found.values()) for name, found in shares.items()}})
    except FusionError:
        return None
    read = {"method": method, "values": values, "checkpoints": checkpoints}
    return {**read, "shares": shares} if shares else read


def _lists(method: str) -> set[str]:
    """Parameters with one number for each checkpoint."""
    return {item.name for item in parameters_of(METHODS.get(method)) if isinstance(item.default, tuple)}
