"""Which hidden units of a convolutional network may change places, read off its graph.

Every convolution makes new units. Norms, activations, pooling, resizing and convolutions of each channel by itself keep
each unit in its place; a sum ties the units that it adds; a concatenation puts them side by side. So each unit has a
set of places, (tensor, axis, position), that must move together, and units whose places differ in the position alone,
by the same step, may change places with one another. Colours of the picture and the network's outputs stay.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, overload

import torch
from torch import nn

from fusionlib.contracts import Permutation
from fusionlib.errors import ArchitectureError

_UNIT_BY_UNIT = (nn.ReLU, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Dropout, nn.Dropout2d, nn.Identity)
_RESIZING = (nn.functional.interpolate,)
_SUMS = (operator.add, operator.iadd, torch.add)
_OF_SHAPES = (getattr, operator.getitem)
_NORM = ("weight", "bias", "running_mean", "running_var")

_Units = list[int]
_Place = tuple[str, int]
"""A tensor's name and one of its axes."""


class WiredPermutations(Sequence[Permutation]):
    """The permutations of a network that `make` builds without numbers, found out when they are first looked at."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        self._make = make

    @cached_property
    def _found(self) -> tuple[Permutation, ...]:
        with torch.device("meta"):
            return wired_permutations(self._make())

    @overload
    def __getitem__(self, index: int) -> Permutation: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Permutation]: ...

    def __getitem__(self, index: int | slice) -> Permutation | Sequence[Permutation]:
        return self._found[index]

    def __len__(self) -> int:
        return len(self._found)


def wired_permutations(network: nn.Module) -> tuple[Permutation, ...]:
    """All of them, in order of the network, each named after the first convolution that makes its units.

    Raises `ArchitectureError` for a step that is none of those above, such as a convolution of several groups of
    channels: a guess would scramble the network.
    """
    wiring = _Wiring()
    modules = dict(network.named_modules())
    seen: dict[Any, Any] = {}
    for node in torch.fx.symbolic_trace(network).graph.nodes:
        seen[node] = wiring.step(node, seen, modules)
    return tuple(wiring.permutations())


class _Wiring:
    """Units by number, those that were tied as one (union by the smaller number), and their places."""

    def __init__(self) -> None:
        self._same: list[int] = []
        self._places: dict[_Place, _Units] = {}
        self._fixed: set[int] = set()

    def step(self, node: Any, seen: dict[Any, Any], modules: dict[str, nn.Module]) -> Any:
        """The units (C,) of what a node of the graph gives; None for sizes and other plain values."""
        if node.op == "placeholder":
            units = self._new(3)
            self._fixed |= set(units)
            return units
        if node.op == "output":
            self._fixed |= set(seen[node.args[0]])
            return None
        given = [seen[one] for one in node.all_input_nodes]
        if node.op == "call_module":
            return self._through(node.target, modules[node.target], *given)
        if node.op == "call_function":
            if node.target in _SUMS:
                return self._tied(*given)
            if node.target is torch.cat:
                return [unit for one in node.args[0] for unit in seen[one]]
            if node.target in _RESIZING:
                return given[0]
            if node.target in _OF_SHAPES:
                return None
        raise _unknown(f"{node.op} {node.target}")

    def _through(self, name: str, module: nn.Module, units: _Units) -> _Units:
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            made = self._new(module.out_channels)
            self._places[f"{name}.weight", 0] = made
            self._places[f"{name}.weight", 1] = units
            if module.bias is not None:
                self._places[f"{name}.bias", 0] = made
            return made
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels == module.out_channels:
            self._places |= {(f"{name}.{leaf}", 0): units for leaf, _ in module.named_parameters()}
            return units
        if isinstance(module, nn.BatchNorm2d):
            self._places |= {(f"{name}.{leaf}", 0): units for leaf in _NORM}
            return units
        if isinstance(module, _UNIT_BY_UNIT):
            return units
        raise _unknown(f"{type(module).__name__} {name}")

    def _new(self, count: int) -> _Units:
        first = len(self._same)
        self._same += range(first, first + count)
        return list(range(first, first + count))

    def _tied(self, one: _Units, other: _Units) -> _Units:
        for a, b in zip(one, other, strict=True):
            first, second = sorted((self._root(a), self._root(b)))
            self._same[second] = first
        return one

    def _root(self, unit: int) -> int:
        while self._same[unit] != unit:
            self._same[unit] = self._same[self._same[unit]]
            unit = self._same[unit]
        return unit

    def permutations(self) -> Iterator[Permutation]:
        """Runs of units whose places all step on by one."""
        fixed = {self._root(unit) for unit in self._fixed}
        places: dict[int, list[tuple[str, int, int]]] = {}
        for (tensor, axis), units in self._places.items():
            for position, unit in enumerate(units):
                if (root := self._root(unit)) not in fixed:
                    places.setdefault(root, []).append((tensor, axis, position))
        run: list[list[tuple[str, int, int]]] = []
        for _, own in sorted(places.items()):
            if run and own != [(tensor, axis, position + len(run)) for tensor, axis, position in run[0]]:
                yield _permutation(run)
                run = []
            run.append(own)
        if run:
            yield _permutation(run)


def _permutation(run: list[list[tuple[str, int, int]]]) -> Permutation:
    maker = next(tensor for tensor, axis, _ in run[0] if axis == 0)
    return Permutation(maker.rpartition(".")[0], len(run), tuple(run[0]))


def _unknown(what: str) -> ArchitectureError:
    return ArchitectureError(
        f"{what} in the graph of a network whose units are to be moved",
        "convolutions of one group or of each channel by itself, batch norms, sums, concatenations, steps unit by unit",
        "Declare the permutations by hand, or none",
    )
