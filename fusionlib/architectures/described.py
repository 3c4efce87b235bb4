"""Networks as a description beside their tensors has them: sizes, classes, mean and std of a folder of Hugging Face.

What is written there is data of anybody: every value is checked, and one that is no such value counts as not written.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from fusionlib.architectures.spaces import space_of_names
from fusionlib.contracts import Architecture, Description, OwnClasses, Preprocessing, TensorShapes, class_count
from fusionlib.errors import ArchitectureError, clipped, printable
from fusionlib.registry import Registry

Shapes = Mapping[str, tuple[int, ...]]

Family = Callable[[Description], "Architecture | None"]
"""The network of a description; None for one that the family does not have, `ArchitectureError` for one that it cannot
make.
"""

ANY = ""
FAMILIES: dict[str, Family] = {}
"""Which networks a `model_type` means; those of `ANY` are asked where it is none of the others', or they have none."""

MOST_CLASSES = 255
_LONGEST_NAME = 80


def family(model_type: str) -> Callable[[Family], Family]:
    """Decorator: file what makes the networks of a `model_type`."""

    def file(make: Family) -> Family:
        FAMILIES[model_type] = make
        return make

    return file


class Described:
    """A network with the classes and the preprocessing of a description; everything else is that of `base`."""

    listed = False

    def __init__(self, base: Architecture, key: str, preprocessing: Preprocessing, names: tuple[str, ...]) -> None:
        self.base, self.key, self.preprocessing, self.names_of_classes = base, key, preprocessing, names
        self.title, self.citation, self.head = f"{base.title} of a folder", base.citation, base.head
        self.code = f"{getattr(base, 'code', base.title)} {key}"

    def __getattr__(self, name: str) -> Any:
        if name == "base":  # not there yet: a copy is being made
            raise AttributeError(name)
        return getattr(self.base, name)

    def recognise(self, shapes: Shapes) -> int | None:
        """The class count of tensors with this very description."""
        found = _matched(shapes)
        return found.classes if found is not None and found.key == self.key else None

    def build(self, classes: int) -> Any:
        """As `base`."""
        return self.base.build(classes)

    def label_space(self, classes: int) -> str | OwnClasses:
        """The classes that are named, else as `base`."""
        named = len(self.names_of_classes) == class_count(classes)
        return space_of_names(self.names_of_classes) if named else self.base.label_space(classes)


class _Match(NamedTuple):
    base: Architecture
    classes: int
    key: str
    preprocessing: Preprocessing
    names: tuple[str, ...]


def described(shapes: Shapes, architectures: Registry[Architecture]) -> tuple[str, int] | None:
    """Name and class count of the network that a description and tensors of these shapes agree on; None without one.

    A built-in network whose classes and preprocessing are as usual is that network; others are registered under its
    name and a digest.
    """
    found = _matched(shapes)
    if found is None:
        return None
    name = next((name for name, item in architectures.items() if item is found.base), None)
    usual = found.base.label_space(found.classes)
    named = space_of_names(found.names) if found.names else usual
    if name is not None and named == usual and found.preprocessing == found.base.preprocessing:
        return name, found.classes
    name = f"{name or shapes.description.model_type}:{found.key}"  # type: ignore[attr-defined]
    if name not in architectures:
        architectures.put(name, Described(found.base, found.key, found.preprocessing, found.names))
    return name, found.classes


def is_described(shapes: Shapes) -> bool:
    """Whether a description beside these tensors names a network."""
    return isinstance(shapes, TensorShapes) and shapes.description is not None and bool(shapes.description.network)


def _matched(shapes: Shapes) -> _Match | None:
    description = shapes.description if isinstance(shapes, TensorShapes) else None
    for make in _makers(description):
        with suppress(ArchitectureError):
            base = make(description)  # type: ignore[arg-type]
            classes = base.recognise(shapes) if base is not None else None
            if base is not None and classes is not None and description is not None:
                return _match(base, classes, description)
    return None


def _makers(description: Description | None) -> list[Family]:
    if description is None:
        return []
    return [FAMILIES[kind] for kind in (description.model_type, ANY) if kind in FAMILIES]


def _match(base: Architecture, classes: int, description: Description) -> _Match:
    about = preprocessing_of(description, base.preprocessing)
    names = class_names(description)
    names = names if len(names) == class_count(classes) else ()
    text = json.dumps([getattr(base, "code", base.title), asdict(about), names])
    return _Match(base, classes, hashlib.sha256(text.encode()).hexdigest()[:8], about, names)


def unknown_to_us(shapes: Shapes, readings: Iterable[Shapes]) -> tuple[str, str] | None:
    """What a description says that the network is and why it cannot be run, and what to do; None without one.

    `readings` are the shapes under the names of the file, and under those of networks here.
    """
    description = shapes.description if isinstance(shapes, TensorShapes) else None
    problem_said: tuple[str, str] | None = None
    for make in _makers(description):
        try:
            base = make(description)  # type: ignore[arg-type]
        except ArchitectureError as problem:
            problem_said = problem_said or (problem.got, problem.do)
            continue
        if base is not None:
            own: Shapes = base.shapes(0)  # type: ignore[attr-defined]
            there = max(readings, key=lambda one: len(own.keys() & one.keys()))
            return _difference(own, there, shown_network(description))  # type: ignore[arg-type]
    return problem_said


def _difference(own: Shapes, shapes: Shapes, network: str) -> tuple[str, str]:
    lacking = [name for name in own if name not in shapes and not name.endswith("num_batches_tracked")]
    odd = [name for name in own if name in shapes and not _fits(shapes[name], own[name])]
    what = f"{len(lacking)} of its tensors are missing" + (f" ({', '.join(lacking[:3])})" if lacking else "")
    if odd and not lacking:
        sizes = ", ".join("classes" if size == 0 else str(size) for size in own[odd[0]])
        what = f"{odd[0]} is {shapes[odd[0]]} and not ({sizes})"
    return f"its folder says {network}: {what}", "Download the folder again, or give code with --model FILE.py:FACTORY"


def _fits(shape: tuple[int, ...], own: tuple[int, ...]) -> bool:
    """Whether a shape is that of a network whose class count, 0 in `own`, is open."""
    return len(shape) == len(own) and all(one == size or size == 0 for one, size in zip(shape, own, strict=True))


def shown_network(description: Description) -> str:
    """The class that it names, as a message may have it."""
    return clipped(printable(description.network), _LONGEST_NAME)


def class_names(description: Description) -> tuple[str, ...]:
    """The names of `id2label` in the order of the outputs, double ones with their number; none where they are numbers
    only (`LABEL_0`), or no names.
    """
    table = description.config.get("id2label")
    if not isinstance(table, dict) or not 1 <= len(table) <= MOST_CLASSES:
        return ()
    found = [table.get(str(number)) for number in range(len(table))]
    if not all(isinstance(name, str) and name.strip() for name in found):
        return ()
    names = [clipped(printable(str(name).strip()), _LONGEST_NAME) for name in found]
    if all(name == f"LABEL_{number}" for number, name in enumerate(names)):
        return ()
    folded = [name.casefold() for name in names]
    return tuple(f"{name} ({at})" if folded.count(name.casefold()) > 1 else name for at, name in enumerate(names))


def preprocessing_of(description: Description, usual: Preprocessing) -> Preprocessing:
    """`usual` with the scale, mean and std of `preprocessor_config.json`, and its order of the channels.

    Its size is not taken: pictures are seen as large as they are.
    """
    about = description.preprocessor
    if not about:
        return usual
    mean, std = _triple(about.get("image_mean"), usual.mean), _triple(about.get("image_std"), usual.std)
    if about.get("do_normalize") is False or ("image_mean" not in about and about.get("do_flip_channel_order")):
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if min(std) <= 0:
        return usual
    scale, factor = (255 if about.get("do_rescale") is False else 1), about.get("rescale_factor")
    if (
        scale == 1
        and isinstance(factor, int | float)
        and 0 < factor < 256
        and not math.isclose(factor * 255, 1, rel_tol=1e-4)
    ):
        mean, std = (tuple(value / (255 * factor) for value in values) for values in (mean, std))  # type: ignore[assignment]
    order = "BGR" if about.get("do_flip_channel_order") is True else "RGB"
    return replace(usual, mean=mean, std=std, scale=scale, order=order)


def whole(config: Mapping[str, Any], name: str, default: int, most: int = 1 << 14) -> int | None:
    """A whole number from 1 to `most`, `default` where nothing is written; None for anything else."""
    value = config.get(name, default)
    return value if type(value) is int and 1 <= value <= most else None


def wholes(
    config: Mapping[str, Any], name: str, default: tuple[int, ...], most: int = 1 << 14
) -> tuple[int, ...] | None:
    """As many whole numbers from 1 to `most` as `default` has; None for anything else."""
    values = config.get(name, default)
    if not isinstance(values, list | tuple) or len(values) != len(default):
        return None
    return tuple(values) if all(type(value) is int and 1 <= value <= most for value in values) else None


def _triple(given: Any, usual: tuple[float, float, float]) -> tuple[float, float, float]:
    if not isinstance(given, list) or len(given) != 3:
        return usual
    if not all(type(value) in (int, float) and math.isfinite(value) and abs(value) < 1e6 for value in given):
        return usual
    red, green, blue = map(float, given)
    return red, green, blue
