"""Networks that come in more sizes than a list can name: made for the tensors of a checkpoint where no listed one takes
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from fusionlib.contracts import Architecture
from fusionlib.errors import ArchitectureError
from fusionlib.registry import Registry

Shapes = Mapping[str, tuple[int, ...]]

Maker = Callable[[Shapes], "tuple[str, Architecture] | None"]
"""A name that says the sizes, and the network; None for tensors of another kind. Raises `ArchitectureError` for those
that are meant to be one and are none: its `got` and `do` are shown. A network so made has an attribute `listed`: False.
"""

MAKERS: list[Maker] = []

Namer = Callable[[str, Mapping[str, str]], "tuple[str, Architecture] | None"]
"""The other way round: the name under which networks are listed, and what is to be different; None for other kinds.
Raises `UsageError` for what cannot be.
"""

NAMERS: list[Namer] = []

WHOLE = "Choose the file of the whole network: this one was cut, or a part of it was saved"
OWN_CODE = "Give the network's code with --model FILE.py:FACTORY"
_EXAMPLES = 3


def of_any_size(make: Maker) -> Maker:
    """Decorator: file what makes the networks of a kind."""
    MAKERS.append(make)
    return make


def by_name(make: Namer) -> Namer:
    """Decorator: file what makes networks of a kind by a name such as `NAME:width=32,depth=3`."""
    NAMERS.append(make)
    return make


def made_by_name(name: str, architectures: Registry[Architecture]) -> str:
    """The name of a network that is registered from now on; of one that is, or that no kind knows, the name itself.

    Raises `UsageError` for what the kind of network does not have.
    """
    listed, colon, text = name.partition(":")
    if not colon or name in architectures or listed not in architectures:
        return name
    parts = (one.partition("=") for one in text.split(","))
    wanted = {field: value for field, _, value in parts}
    for make in NAMERS:
        if (made := make(listed, wanted)) is not None:
            if made[0] not in architectures:
                architectures.put(*made)
            return made[0]
    return name


def made_for(shapes: Shapes, architectures: Registry[Architecture]) -> tuple[str, int] | None:
    """Name, under which it is registered, and class count of a network that is made for these tensors; else None."""
    for make in MAKERS:
        with suppress(ArchitectureError):
            made = make(shapes)
            if made is None or (classes := made[1].recognise(shapes)) is None:
                continue
            name, network = made
            if name not in architectures:
                architectures.put(name, network)
            return name, classes
    return None


def misfit(shapes: Shapes) -> tuple[str, str] | None:
    """Why tensors that are meant to be such a network are none, and what to do; None for others."""
    for make in MAKERS:
        try:
            make(shapes)
        except ArchitectureError as problem:
            return problem.got, problem.do
    return None


def unfit(title: str, own: Shapes, shapes: Shapes, further: Sequence[str]) -> ArchitectureError:
    """What keeps tensors from being all of the network `title`, whose are `own`, and which has none of `further`."""
    missing = [name for name in own if name not in shapes and not name.endswith("num_batches_tracked")]
    odd = [f"{name} is {shapes[name]} and not {one}" for name, one in own.items() if shapes.get(name, one) != one]
    found = {"missing": missing, "of another shape": odd, "too many": further}
    said = "; ".join(f"{len(names)} {what} ({_some(names)})" for what, names in found.items() if names)
    return ArchitectureError(
        f"they are {title}, but of its {len(own)} tensors there are {said}",
        "all of them, and no further one in its blocks",
        WHOLE if missing else OWN_CODE,
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_EXAMPLES]) + (", ..." if len(names) > _EXAMPLES else "")
