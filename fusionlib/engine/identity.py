"""What decides a figure beside weights, pictures and meters: the network's code and declarations, its classes, how and
where it runs.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from fusionlib.contracts import Architecture, Output, OwnClasses, Preprocessing
from fusionlib.data.labels import LabelSpace, label_space, mapping
from fusionlib.data.tables import own_key
from fusionlib.errors import DataError

Network = tuple[Architecture, int]
"""An architecture and its class count, as a checkpoint was recognised."""

LIBRARY = Path(__file__).resolve().parents[1]


def identities(networks: Iterable[Network | None], target: LabelSpace | None) -> list[str]:
    """What tells these networks from others, equal ones once; None is an unknown one.

    `target` is the label space of the pictures.
    """
    return sorted({_identity(*known, target) if known else "" for known in networks})


def architecture_key(architecture: Architecture, classes: int) -> str:
    """SHA-256 over what turns weights into answers: the code (user's) or the class and its version, the preprocessing
    and the classes.
    """
    kind = type(architecture)
    name = f"{kind.__module__}.{kind.__qualname__} {getattr(architecture, 'version', 1)}"
    space = _found(architecture.label_space(classes))
    about = {
        "code": getattr(architecture, "code", None) or (name if _is_ours(kind) else _code_of(kind)),
        "classes": classes,
        "preprocessing": _declared(architecture.preprocessing),
        "output": repr(getattr(architecture, "output", None)),
        "space": [repr(architecture.label_space(classes)), space.names if space else None],
    }
    if tables := own_key(space.name) if space else "":
        about["tables"] = tables
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _declared(about: Preprocessing) -> dict[str, Any]:
    """What is declared; without a window as it was before there were any, so that stored answers stay known."""
    return {name: value for name, value in asdict(about).items() if name != "window" or value is not None}


@cache
def _is_ours(kind: type) -> bool:
    try:
        return Path(inspect.getfile(kind)).resolve().is_relative_to(LIBRARY)
    except (OSError, TypeError):
        return False


def _identity(architecture: Architecture, classes: int, target: LabelSpace | None) -> str:
    """SHA-256 over the code, the declarations, the classes and what they count as in `target`."""
    space = _found(architecture.label_space(classes))
    counterparts = None
    with suppress(DataError):  # whoever measures says so
        counterparts = mapping(space, target).tolist() if space and target else None
    about = {
        "code": getattr(architecture, "code", None) or _code_of(type(architecture)),
        "classes": classes,
        "head": list(architecture.head),
        "preprocessing": _declared(architecture.preprocessing),
        "output": asdict(getattr(architecture, "output", Output())),
        "space": [architecture.label_space(classes), space.names if space else None],
        "mapping": counterparts,
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=asdict).encode()).hexdigest()


def _found(name: str | OwnClasses) -> LabelSpace | None:
    try:
        return label_space(name)
    except DataError:
        return None


@cache
def _code_of(kind: type) -> str:
    """The class's name and, of one that lies outside of this library, its file's SHA-256: the library's own sources are
    in every key.
    """
    name = f"{kind.__module__}.{kind.__qualname__}"
    try:
        file = Path(inspect.getfile(kind)).resolve()
        return name if file.is_relative_to(LIBRARY) else f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()}"
    except (OSError, TypeError):  # made at run time
        return name
