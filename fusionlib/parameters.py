"""Hyper-parameters as dataclass fields, with what a widget or a command line needs to know of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any


def parameter(
    default: Any,
    help: str,
    *,
    min: float | None = None,
    max: float | None = None,
    step: float | None = None,
    choices: Sequence[str] | None = None,
    checkpoint: bool = False,
    said_by: str = "",
    from_start: Any = None,
) -> Any:
    """A dataclass field with what a widget needs to draw it: range, step, choices and one line of help.

    `checkpoint` says that the number is the place of a checkpoint, which people would rather choose by name;
    `said_by` names another parameter that says the same for any number of checkpoints. `from_start` is the default of a
    training run that begins at a trained network, where that is another one.
    """
    about = {
        "help": help,
        "min": min,
        "max": max,
        "step": step,
        "choices": tuple(choices) if choices else None,
        "checkpoint": checkpoint,
        "said_by": said_by,
        "from_start": from_start,
    }
    if isinstance(default, list | dict):
        return field(default_factory=lambda: default, metadata=about)
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class Parameter:
    """One hyper-parameter of a method, as listed to users."""

    name: str
    default: Any
    help: str
    min: float | None
    max: float | None
    step: float | None
    choices: tuple[str, ...] | None
    checkpoint: bool = False
    said_by: str = ""
    from_start: Any = None

    def usual(self, start: bool) -> Any:
        """The default of a training run, which begins at a trained network or not."""
        return self.from_start if start and self.from_start is not None else self.default


@cache
def parameters_of(method: type) -> tuple[Parameter, ...]:
    """The hyper-parameters of a dataclass, in order of declaration: what `parameter` declares."""
    listed = []
    for item in fields(method):
        if "help" not in item.metadata:
            continue
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        listed.append(Parameter(item.name, default, **item.metadata))
    return tuple(listed)
