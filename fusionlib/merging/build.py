"""Making a merge method from what a user wrote: name and hyper-parameters, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusionlib.contracts import METHODS, MergeMethod, Parameter, parameters_of
from fusionlib.errors import UsageError, shown


def build_method(name: str, parameters: Mapping[str, Any]) -> MergeMethod:
    """The method `name` with these hyper-parameters.

    Raises `UsageError` for an unknown name, type or a value out of range.
    """
    factory = METHODS.get(name)
    return factory(**check_values(f"Method {name!r}", factory, parameters))


def check_values(what: str, kind: type, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Values for the parameters of a dataclass, `what` in words. Raises `UsageError` as `build_method`."""
    known = {item.name: item for item in parameters_of(kind)}
    for key in parameters:
        if key not in known:
            if not known:
                raise UsageError(f"{shown(key)} for {what}", "no settings: it has no parameters", "Leave it out")
            raise UsageError(f"{what} has no parameter {shown(key)}", f"one of {', '.join(known)}", "Correct the name")
    return {key: _checked(known[key], value) for key, value in parameters.items()}


def _checked(item: Parameter, value: Any) -> Any:
    if isinstance(item.default, tuple):
        if not isinstance(value, list | tuple):
            raise UsageError(f"{item.name} = {shown(value)}", "a list of numbers", f"Give {item.name} as a list")
        return tuple(_number(item, entry) for entry in value)
    if isinstance(item.default, Mapping):
        if not isinstance(value, Mapping) or not all(
            isinstance(key, str) and isinstance(row, list | tuple) for key, row in value.items()
        ):
            raise UsageError(
                f"{item.name} = {shown(value)}", "names with a list of numbers each", f"Correct {item.name}"
            )
        return {key: tuple(_number(item, entry) for entry in row) for key, row in value.items()}
    if isinstance(item.default, bool | str):
        if not isinstance(value, type(item.default)) or (item.choices and value not in item.choices):
            raise UsageError(
                f"{item.name} = {shown(value)}", f"one of {', '.join(item.choices or ('true', 'false'))}", "Correct it"
            )
        return value
    if isinstance(item.default, int) and isinstance(value, float):
        raise UsageError(f"{item.name} = {shown(value)}", _range("a whole number", item), f"Correct {item.name}")
    return _number(item, value)


def _number(item: Parameter, value: Any) -> float | int:
    low, high = item.min, item.max
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or (low is not None and not value >= low) or (high is not None and not value <= high):
        raise UsageError(f"{item.name} = {shown(value)}", _range("a number", item), f"Correct {item.name}: {item.help}")
    return value


def _range(what: str, item: Parameter) -> str:
    if item.min is None and item.max is None:
        return what
    if item.min is None or item.max is None:
        return f"{what} of {item.min} or more" if item.max is None else f"{what} up to {item.max}"
    return f"{what} from {item.min} to {item.max}"
