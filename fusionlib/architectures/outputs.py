"""Logits out of whatever a network returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fusionlib.contracts import Output
from fusionlib.errors import ArchitectureError, shown

USUAL = ("out", "logits")
"""Where networks that return a dict keep their logits."""

_LIMITS = {"softmax": "probabilities of the classes", "sigmoid": "a probability for each output"}
_ROUNDING = 1e-2
_BELOW_ONE = 1 - 2**-24
_EXAMPLES = 6


def logits_of(output: object, about: Output = Output()) -> Tensor:  # noqa: B008 - frozen
    """Logits (N, C, h, w), C > 1: of a tensor, a dict with `out` or `logits`, a tuple (its first), an object with
    `logits`, or where `about` says.

    With the activation `softmax` it is `log p`, with `sigmoid` `log(p / (1 - p))`. A single output z becomes the logits
    0 and z, of which it is the sigmoid's argument.

    Raises `ArchitectureError` that says what is there, where this is no tensor of that shape or no probability.
    """
    found = _usual(output) if about.key is None else _at(output, about.key)
    if not isinstance(found, Tensor) or found.ndim != 4 or not found.is_floating_point():
        raise _refused(output, about)
    if about.activation != "logits":
        found = _without_activation(found.float(), about.activation)
    return torch.cat((torch.zeros_like(found), found), 1) if found.shape[1] == 1 else found


def _usual(output: object) -> object:
    if isinstance(output, Mapping):
        return output.get(USUAL[0], output.get(USUAL[1]))
    if isinstance(output, tuple | list):
        return output[0] if output else None
    return output if isinstance(output, Tensor) else getattr(output, USUAL[1], None)


def _at(output: object, key: str | int) -> object:
    if isinstance(output, Mapping):
        return output.get(key)
    if isinstance(key, str):
        return None if isinstance(output, Tensor) else getattr(output, key, None)
    if isinstance(output, tuple | list) and -len(output) <= key < len(output):
        return output[key]
    return None


def _without_activation(found: Tensor, activation: str) -> Tensor:
    lowest, highest = found.detach().aminmax()
    if lowest < -_ROUNDING or highest > 1 + _ROUNDING:  # false for NaN, which others look for
        raise ArchitectureError(
            f"ACTIVATION is {activation!r}, and the network returned numbers from {lowest:.3g} to {highest:.3g}",
            f"{_LIMITS[activation]}, from 0 to 1",
            "Correct ACTIVATION of the model file, or leave it out",
        )
    positive = found.clamp_min(torch.finfo(found.dtype).tiny)
    if activation == "softmax":
        return positive.log()
    return positive.log() - torch.log1p(-found.clamp_max(_BELOW_ONE))


def _refused(output: object, about: Output) -> ArchitectureError:
    asked = "" if about.key is None else f", and OUTPUT is {about.key!r}"
    fitting = [key for key, part in _parts(output) if isinstance(part, Tensor) and part.ndim == 4]
    declare = f"OUTPUT = {fitting[0]!r}" if fitting else "OUTPUT, the key or the place of it,"
    return ArchitectureError(
        f"The network returned {described(output)}{asked}",
        "logits of shape (N, classes, h, w), alone or under 'out' or 'logits', or where OUTPUT says",
        f"Write {declare} in the model file, or return them from forward",
    )


def _parts(output: object) -> list[tuple[Any, Any]]:
    """Key and value of what is in an output; nothing where it is a tensor or unknown inside."""
    if isinstance(output, Mapping):
        return list(output.items())
    if isinstance(output, tuple | list):
        return list(enumerate(output))
    return [] if isinstance(output, Tensor) else list(getattr(output, "__dict__", {}).items())


def described(output: object) -> str:
    """What an output is: the shape of a tensor, the keys and shapes of a dict, the places and shapes of a tuple."""
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}" + (
            "" if output.is_floating_point() else f" of {str(output.dtype).removeprefix('torch.')}"
        )
    if output is None:
        return "None"
    kind, parts = type(output).__name__, _parts(output)
    if not parts:
        return f"an empty {kind}" if isinstance(output, Mapping | tuple | list) else f"an object of class {kind}"
    inside = ", ".join(f"{shown(key)}: {_short(part)}" for key, part in parts[:_EXAMPLES])
    more = f" and {len(parts) - _EXAMPLES} more" if len(parts) > _EXAMPLES else ""
    return f"a {kind} with {inside}{more}"


def _short(part: object) -> str:
    return str(tuple(part.shape)) if isinstance(part, Tensor) else "None" if part is None else type(part).__name__
