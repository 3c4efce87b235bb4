"""What the built-in networks of public code have in common: they are recognised by all their tensors, strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import torch
from torch import nn

from fusionlib.architectures.spaces import usual_space
from fusionlib.architectures.wiring import WiredPermutations
from fusionlib.contracts import Preprocessing, Stage

Shapes = Mapping[str, tuple[int, ...]]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of RGB from 0 to 1, which networks that start from ImageNet classifiers are trained with."""

_COUNTER = "num_batches_tracked"


class BuiltIn:
    """One network of a file.

    `make(classes)` builds it. `outputs` are the tensors whose first axis is the class count, or pairs of a tensor and
    that axis, the one that it is read off first; `head` are name prefixes; `names` says whose public code names tensors
    so; `stride` is the number of pixels of the picture a side of one of the backbone's output. One that is not
    `movable` declares no permutations. Tensors whose names begin with `unused` ones may lie beside its own.
    """

    version = 1

    def __init__(
        self,
        title: str,
        citation: str,
        make: Callable[[int], nn.Module],
        *,
        head: tuple[str, ...],
        outputs: tuple[str | tuple[str, int], ...],
        names: str,
        stride: int,
        pad: int = 1,
        movable: bool = True,
        unused: tuple[str, ...] = (),
    ) -> None:
        self.title, self.citation, self.head = title, citation, head
        self.names, self.stride = names, stride
        self.code = f"{title} {self.version}"
        self.preprocessing = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, channels_last=True, pad=pad)
        if movable:
            self.permutations = WiredPermutations(lambda: make(2))
        self.class_axes = tuple((one, 0) if isinstance(one, str) else one for one in outputs)
        self._make, self._unused = make, unused

    def recognise(self, shapes: Shapes) -> int | None:
        """The class count, where every tensor of the network is there and no further weight under its modules.

        Tensors under other names may lie beside them: an auxiliary head, a loss. Batch counters may be missing.
        """
        name, axis = self.class_axes[0]
        if len(shapes.get(name, ())) <= axis:
            return None
        classes = shapes[name][axis]
        expected = self.shapes(classes)
        if any(shapes.get(name, shape if _is_counter(name) else None) != shape for name, shape in expected.items()):
            return None
        own = {name.partition(".")[0] for name in expected}
        further = (name for name in shapes if name not in expected and name.endswith(".weight"))
        inside = (name for name in further if not name.startswith(self._unused))
        return None if any(name.partition(".")[0] in own for name in inside) else classes

    def build(self, classes: int) -> nn.Module:
        """A fresh network."""
        return self._make(classes)

    def shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Shape by name of its tensors; the network is made once, whatever the class counts are."""
        return with_classes(_shapes(self), self.class_axes, classes)

    def stages(self, module: nn.Module) -> Sequence[Stage]:
        """Those of the module."""
        stages: Callable[[], Sequence[Stage]] = module.stages  # type: ignore[assignment]
        return stages()

    def label_space(self, classes: int) -> str:
        """By the class count."""
        return usual_space(classes)


class OnRequest(BuiltIn):
    """A network that computes something else with the tensors of another one: recognised where the operator chose
    it.
    """

    chosen = False


@cache
def _shapes(architecture: BuiltIn) -> Shapes:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in architecture.build(1).state_dict().items()}


def _is_counter(name: str) -> bool:
    return name.endswith(_COUNTER)


def with_classes(shapes: Shapes, axes: Sequence[tuple[str, int]], classes: int) -> dict[str, tuple[int, ...]]:
    """The shapes with another class count at these axes."""
    found = dict(shapes)
    for name, axis in axes:
        found[name] = (*found[name][:axis], classes, *found[name][axis + 1 :])
    return found


def in_turn(stages: Sequence[Stage], x: torch.Tensor) -> torch.Tensor:
    """The forward pass that the stages are."""
    for stage in stages:
        x = stage.call(x)
    return x


def repeated(shapes: Shapes, start: str, count: int) -> dict[str, tuple[int, ...]]:
    """The shapes with `count` blocks, named `start` and a number: those that are there, and more like the last."""
    last = max((int(name[len(start) :].partition(".")[0]) for name in shapes if name.startswith(start)), default=0)
    block = {name: shape for name, shape in shapes.items() if name.startswith(f"{start}{last}.")}
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        found[name] = shape
        if block and name == next(reversed(block)):
            for number in range(last + 1, count):
                found |= {name.replace(f"{start}{last}.", f"{start}{number}.", 1): one for name, one in block.items()}
    return found
