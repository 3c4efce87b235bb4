"""Which registered network takes tensors of given names and shapes. Mappings in, names and networks out: no files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch

from fusionlib.architectures.described import described, is_described
from fusionlib.architectures.sized import made_for
from fusionlib.contracts import ARCHITECTURES, Architecture, Permutation
from fusionlib.registry import Registry

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

Known = tuple[Architecture, int]
"""An architecture with its class count."""

_MADE: WeakKeyDictionary[Architecture, dict[int, Shapes | None]] = WeakKeyDictionary()


def recognise(shapes: Shapes, architectures: Registry[Architecture] = ARCHITECTURES) -> tuple[str, int] | None:
    """Name and class count of the registered architecture that takes tensors of these shapes, else None.

    Of several the one that takes most of them; of equals one that was chosen, else the one registered last, because the
    user's own code comes after ours. Where none is the user's and a description beside the tensors names a network, it
    is that network or none: others may have the same tensors and compute something else.
    """
    found = [
        (name, classes)
        for name, architecture in architectures.items()
        if getattr(architecture, "chosen", True) and (classes := architecture.recognise(shapes)) is not None
    ]
    if is_described(shapes) and not any(hasattr(architectures.get(name), "named") for name, _ in found):
        return described(shapes, architectures)
    if not found:
        return made_for(shapes, architectures)
    if len(found) == 1:
        return found[0]

    def rank(item: tuple[int, tuple[str, int]]) -> tuple[int, bool, int]:
        number, (name, classes) = item
        architecture = architectures.get(name)
        return _tensor_count(architecture, classes), getattr(architecture, "chosen", False), number

    return max(enumerate(found), key=rank)[1]


def on_request(architectures: Registry[Architecture] = ARCHITECTURES) -> tuple[str, ...]:
    """Names of the networks that are recognised only where the operator chose them."""
    return tuple(name for name, item in architectures.items() if hasattr(item, "chosen"))


def choose(names: Collection[str], architectures: Registry[Architecture] = ARCHITECTURES) -> None:
    """Recognise those of these names, and none of the others that wait for it."""
    for name in on_request(architectures):
        item: Any = architectures.get(name)
        item.chosen = name in names


def network_of(shapes: Shapes) -> Known | None:
    """The architecture itself that `recognise` names, with the class count: it stays the same where another takes its
    name.
    """
    known = recognise(shapes)
    return (ARCHITECTURES.get(known[0]), known[1]) if known else None


def permutations_of(shapes: Shapes) -> tuple[Permutation, ...]:
    """What the network of these tensors declares to be movable; nothing where it declares none, or is not known."""
    known = network_of(shapes)
    return tuple(getattr(known[0], "permutations", ())) if known else ()


def tensor_shapes(architecture: Architecture, classes: int) -> Shapes | None:
    """Shape by name of the network's tensors; None where it cannot be made with so many classes. Found out once."""
    made = _MADE.setdefault(architecture, {})
    if classes not in made:
        own = getattr(architecture, "shapes", None)
        try:
            made[classes] = own(classes) if own else _built(architecture, classes)
        except Exception:  # noqa: BLE001 - the user's own code, which may refuse a count in whichever way
            made[classes] = None
    return made[classes]


def was_made(architecture: Architecture) -> bool:
    """Whether the network could be made with any class count that `tensor_shapes` was asked for."""
    return any(_MADE.get(architecture, {}).values())


def _tensor_count(architecture: Architecture, classes: int) -> int:
    return len(tensor_shapes(architecture, classes) or ())


def _built(architecture: Architecture, classes: int) -> Shapes:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in architecture.build(classes).state_dict().items()}
