"""What a model file declares beside its factory: MEAN, STD, SCALE, ORDER, PAD, RESIZE, WINDOW, OUTPUT, ACTIVATION,
HEAD, LABEL_SPACE and LABEL_MAP. Every one may be left out; a wrong value is said when the file is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from fusionlib.contracts import Output, OwnClasses, Preprocessing
from fusionlib.errors import UsageError, shown

DECLARED = (
    "MEAN",
    "STD",
    "SCALE",
    "ORDER",
    "PAD",
    "RESIZE",
    "WINDOW",
    "OUTPUT",
    "ACTIVATION",
    "HEAD",
    "LABEL_SPACE",
    "LABEL_MAP",
)
"""Every name that is read."""

LARGEST_SIDE = 16384
MOST_CLASSES = 255


def preprocessing_of(module: ModuleType) -> Preprocessing:
    """How pictures become the network's input. Raises `UsageError`."""
    resize, pad, window = _size(module), _whole(module, "PAD", 1), _window(module)
    if resize and pad > 1:
        raise _wrong(module, "PAD", "left out where RESIZE is given", f"{pad} beside RESIZE = {resize}")
    if window and (resize or pad > 1):
        raise _wrong(module, "WINDOW", "left out where RESIZE or PAD is given", f"{window} beside one of them")
    return Preprocessing(
        _triple(module, "MEAN", 0.0),
        _triple(module, "STD", 1.0),
        scale=_one_of(module, "SCALE", (1, 255)),
        order=_one_of(module, "ORDER", ("RGB", "BGR")),
        pad=pad,
        resize=resize,
        window=window,
    )


def output_of(module: ModuleType) -> Output:
    """Where the answer lies in what the network returns. Raises `UsageError`."""
    key = getattr(module, "OUTPUT", None)
    if key is not None and (not isinstance(key, str | int) or isinstance(key, bool)):
        raise _wrong(module, "OUTPUT", "the key or the place of the logits, as 'aux' or 1")
    return Output(key, _one_of(module, "ACTIVATION", ("logits", "softmax", "sigmoid")))


def head_of(module: ModuleType) -> tuple[str, ...]:
    """Name prefixes of the head. Raises `UsageError`."""
    head = getattr(module, "HEAD", ())
    head = (head,) if isinstance(head, str) else head
    if not isinstance(head, tuple | list) or not all(isinstance(prefix, str) and prefix for prefix in head):
        raise _wrong(module, "HEAD", "name prefixes of the head, as ('decode_head',)")
    return tuple(head)


def classes_of(module: ModuleType) -> str | OwnClasses | None:
    """The label space of LABEL_SPACE and LABEL_MAP; None where the file has neither. Raises `UsageError`."""
    space, counts_as = getattr(module, "LABEL_SPACE", None), _label_map(module)
    if space is None:
        if counts_as:
            raise _wrong(module, "LABEL_MAP", "the classes that it maps: LABEL_SPACE", "given without LABEL_SPACE")
        return None
    if isinstance(space, tuple | list):
        _check_names(module, space)
        space = tuple(space)
        for name, _ in counts_as:
            if name not in space:
                raise _wrong(module, "LABEL_MAP", f"names of LABEL_SPACE: {_listed(space)}", f"with {shown(name)}")
    elif not isinstance(space, str) or not space:
        raise _wrong(module, "LABEL_SPACE", "a name, as 'cityscapes', or the names of all classes, as ['road', 'car']")
    return OwnClasses(space, counts_as) if counts_as or isinstance(space, tuple) else space


def _check_names(module: ModuleType, names: tuple[Any, ...] | list[Any]) -> None:
    needs = f"one to {MOST_CLASSES} names of classes, each once, in the order of the outputs"
    if not 1 <= len(names) <= MOST_CLASSES:
        raise _wrong(module, "LABEL_SPACE", needs, f"a list of {len(names)}")
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise _wrong(module, "LABEL_SPACE", needs, f"a list with {shown(name)} in it")
        if name.casefold() in seen:
            raise _wrong(module, "LABEL_SPACE", needs, f"a list with {shown(name)} twice")
        seen.add(name.casefold())


def _label_map(module: ModuleType) -> tuple[tuple[str, str | None], ...]:
    given = getattr(module, "LABEL_MAP", None)
    if given is None:
        return ()
    if not isinstance(given, Mapping) or not all(
        isinstance(own, str) and (other is None or isinstance(other, str)) for own, other in given.items()
    ):
        raise _wrong(
            module,
            "LABEL_MAP",
            "classes and what they count as in the data, as {'car': 'vehicle', 'sky': None}",
        )
    return tuple(given.items())


def _size(module: ModuleType) -> tuple[int, int] | None:
    given = getattr(module, "RESIZE", None)
    if given is None:
        return None
    sides = tuple(given) if isinstance(given, tuple | list) else ()
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in sides):
        raise _wrong(module, "RESIZE", f"height and width in pixels up to {LARGEST_SIDE}, as (512, 1024)")
    return sides


def _window(module: ModuleType) -> tuple[int, int] | None:
    given = getattr(module, "WINDOW", None)
    if given is None:
        return None
    pair = tuple(given) if isinstance(given, tuple | list) else (given,)
    if len(pair) == 1 and type(pair[0]) is int:
        pair = pair[0], max(1, pair[0] * 2 // 3)
    if len(pair) != 2 or not all(type(one) is int for one in pair) or not _slides(*pair):
        raise _wrong(
            module,
            "WINDOW",
            f"a side of 8 to {LARGEST_SIDE} pixels, or the side and a step of an eighth of it or more, as (768, 512)",
        )
    return pair


def _slides(side: int, step: int) -> bool:
    """Whether windows cover a picture without being so many that they do not fit into memory."""
    return 8 <= side <= LARGEST_SIDE and side <= 8 * step <= 8 * side


def _whole(module: ModuleType, name: str, default: int) -> int:
    value = getattr(module, name, default)
    if type(value) is not int or not 1 <= value <= LARGEST_SIDE:
        raise _wrong(module, name, f"a number of pixels from 1 to {LARGEST_SIDE}, as 32")
    return value


def _one_of(module: ModuleType, name: str, choices: tuple[Any, ...]) -> Any:
    value = getattr(module, name, choices[0])
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value not in choices:
        raise _wrong(module, name, f"one of {', '.join(map(repr, choices))}")
    return choices[choices.index(value)]


def _triple(module: ModuleType, name: str, default: float) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(value) for value in getattr(module, name, (default,) * 3))
    except (TypeError, ValueError):
        raise _wrong(module, name, "three numbers") from None
    if not all(map(math.isfinite, (red, green, blue))):
        raise _wrong(module, name, "three numbers")
    if name == "STD" and min(red, green, blue) <= 0:
        raise _wrong(module, name, "three numbers above 0")
    return red, green, blue


def _wrong(module: ModuleType, name: str, needs: str, got: str | None = None) -> UsageError:
    file = Path(module.__file__ or "").name
    return UsageError(f"{name} of {file} is {got or shown(getattr(module, name, None))}", needs, f"Correct {name}")


def _listed(names: tuple[str, ...], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
