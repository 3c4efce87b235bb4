"""What a file holds beside a network that is the mean of a posterior: all that samples are drawn from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from fusionlib.checkpoints.prefixes import BESIDE
from fusionlib.checkpoints.safetensors_format import load_json
from fusionlib.checkpoints.stored import Held, Stored
from fusionlib.errors import CheckpointError, shown

KIND, ABOUT = "posterior", "posterior_about"
"""Metadata: which kind of posterior it is; its numbers, as a JSON object."""

_START = f"posterior{BESIDE}"
_DO = "Train it again, or take another file"

Tensors = Mapping[str, Stored | Held]


@dataclass(frozen=True, eq=False)
class PosteriorFile:
    """The further tensors of a posterior: `parts` by part and by the name of the network's tensor that they concern.

    `shapes` are those of the network's floating tensors, `text` the JSON of `about`. Nothing has been checked but names
    and the bounds of the file; see `fusionlib.contracts.Posterior.check`.
    """

    file: str
    kind: str
    text: str
    parts: Mapping[str, Tensors]
    shapes: Mapping[str, tuple[int, ...]]

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """Its numbers. Raises `CheckpointError` where they are no JSON object."""
        return load_json(self.text.encode(), self.file)

    @property
    def tensors(self) -> int:
        """How many further tensors there are."""
        return sum(map(len, self.parts.values()))

    def number(self, name: str) -> float:
        """A number of `about` above 0. Raises `CheckpointError`."""
        value = self.about.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e30:
            raise self.refused(f"its {name} is {shown(value)}", "a number above 0")
        return float(value)

    def only(self, *parts: str) -> None:
        """Raises `CheckpointError` where there are other parts, or tensors that the network has not."""
        for part, tensors in self.parts.items():
            if part not in parts:
                raise self.refused(f"it has {shown(part)}", " and ".join(parts))
            for name in tensors:
                if name not in self.shapes:
                    raise self.refused(f"{part} of {shown(name)}", "tensors of the network")

    def shape(self, part: str, name: str) -> tuple[int, ...]:
        """The shape of one. Raises `CheckpointError` where it is not there."""
        if name not in self.parts.get(part, {}):
            raise self.refused(f"no {part} of {shown(name)}", "all of them")
        return self.parts[part][name].shape

    def need(self, part: str, name: str, shape: tuple[int, ...]) -> None:
        """Raises `CheckpointError` unless it is there, in floating numbers and of that shape."""
        found = self.shape(part, name)
        if found != shape or not self.parts[part][name].dtype.is_floating_point:
            kind = self.parts[part][name].dtype
            raise self.refused(f"{part} of {shown(name)} are {kind} {found}", f"floating numbers {shape}")

    def read(self, part: str, name: str, least: float | None = None) -> Tensor:
        """One tensor, float32 or float64 on the CPU. Raises `CheckpointError` unless all is finite, and >= `least`."""
        stored = self.parts[part][name]
        values = stored.piece(0, math.prod(stored.shape)).reshape(stored.shape)
        values = values if values.dtype in (torch.float32, torch.float64) else values.float()
        if not bool(torch.isfinite(values).all()):
            raise self.refused(f"{part} of {shown(name)} hold NaN or infinity", "finite numbers")
        if least is not None and values.numel() and float(values.min()) < least:
            raise self.refused(f"{part} of {shown(name)} go down to {float(values.min()):g}", f"{least:g} or more")
        return values

    def refused(self, got: str, needs: str) -> CheckpointError:
        """The error for a posterior that cannot be sampled."""
        return CheckpointError(f"{self.file} cannot be sampled: {got}", needs, _DO)


def further(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names that they have in a file beside the network's."""
    return {f"{_START}{part}{BESIDE}{name}": tensor for name, tensor in tensors.items()}


def split(stored: Tensors, metadata: Mapping[str, str]) -> tuple[Tensors, Tensors]:
    """The network's tensors, and the further ones where the file says that it is a posterior."""
    network = {name: item for name, item in stored.items() if not name.startswith(_START)}
    if KIND not in metadata or not network or len(network) == len(stored):
        return stored, {}
    return network, {name: item for name, item in stored.items() if name not in network}


def posterior_of(
    file: str, metadata: Mapping[str, str], tensors: Tensors, clean: Mapping[str, str], network: Tensors
) -> PosteriorFile:
    """The further tensors of a file by what they concern; `clean` maps names of the file to those of the network."""
    parts: dict[str, dict[str, Stored | Held]] = {}
    for name, item in tensors.items():
        part, _, concerned = name.removeprefix(_START).partition(BESIDE)
        parts.setdefault(part, {})[clean.get(concerned, concerned)] = item
    shapes = {name: item.shape for name, item in network.items() if item.dtype.is_floating_point}
    return PosteriorFile(file, metadata[KIND], metadata.get(ABOUT, "{}"), parts, shapes)
