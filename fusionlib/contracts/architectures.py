"""What a network is: how pictures become its input, which tensors are its own, what can be told of it beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from fusionlib.description import Spelling
from fusionlib.registry import Registry

if TYPE_CHECKING:  # names in annotations: whoever reads a help text does not wait for torch
    import torch


@dataclass(frozen=True)
class Preprocessing:
    """How pictures become the network's input: `(scale * rgb / 255 - mean) / std`, in channels-last memory where that
    is safe.

    `scale` is the value of white, 1 or 255. `order` is that of the channels, of `mean` and `std` too: RGB or BGR.
    With `resize` all pictures are resized to that height and width. With `pad` they are continued at the right and at
    the bottom, by their outermost pixels, until both sides are multiples of it. With `window`, (side, step), the
    network sees squares of that side, a step apart and the last flush with the edge, and logits are averaged where they
    overlap; smaller pictures are continued as with `pad`. Logits come back at the picture's size.
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channels_last: bool = False
    scale: int = 1
    order: Literal["RGB", "BGR"] = "RGB"
    pad: int = 1
    resize: tuple[int, int] | None = None
    window: tuple[int, int] | None = None

    def seen(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what the network sees at a time of a picture of these."""
        if self.window:
            return self.window[0], self.window[0]
        return self.resize or (-(-height // self.pad) * self.pad, -(-width // self.pad) * self.pad)


@dataclass(frozen=True)
class Output:
    """Where the answer lies in what a network returns, and what its numbers are.

    `key` is that of a dict, the name of an attribute or the place in a tuple; None takes what networks usually return
    (`fusionlib.architectures.outputs`). `activation` is what `forward` ends with: probabilities become logits again.
    """

    key: str | int | None = None
    activation: Literal["logits", "softmax", "sigmoid"] = "logits"


@dataclass(frozen=True)
class OwnClasses:
    """Classes that a network declares itself: their names in the order of its outputs, or a label space by its name.

    `counts_as` are pairs of a class and the class of an annotation that it counts as, None for none of them; a class
    without a pair counts as usual.
    """

    space: str | tuple[str, ...]
    counts_as: tuple[tuple[str, str | None], ...] = ()


def class_count(outputs: int) -> int:
    """How many classes that many outputs tell apart: a single one says class 1 against class 0."""
    return 2 if outputs == 1 else outputs


@runtime_checkable
class Architecture(Protocol):
    """A network that can run a checkpoint.

    One that knows better than the file of its class what it consists of has an attribute `code`, a text that is another
    for other code. One that does not simply return logits has an attribute `output`, an `Output`. One that the operator
    named has an attribute `named`, how it was: `--model FILE.py:FACTORY`, `--trust FILE`. One that computes something
    else with the tensors of another, such as an output stride, has an attribute `chosen`: False, and it is never
    recognised, until the operator asks for it by `--model NAME`; then it comes before the other. One that was made for
    a checkpoint, and is on no list of networks, has an attribute `listed`: False. One that stands in where no other
    runs a checkpoint has `last`: True, and other names for its tensors are tried first. One with integer tensors whose
    numbers follow from their shape has a method `check(module)`, which raises `ArchitectureError` where a checkpoint
    has others. Those of this library have two more attributes: `names`, whose names of tensors they go by, and
    `stride`, the pixels of the picture a side of one of the backbone's.
    """

    title: str
    citation: str
    head: tuple[str, ...]
    """Name prefixes of the head; everything else is backbone."""
    preprocessing: Preprocessing

    def recognise(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        """The class count when tensors of these names and shapes belong to this network, else None."""
        ...

    def build(self, classes: int) -> torch.nn.Module:
        """A fresh network: `(N, 3, H, W)` float32 in, logits `(N, C, h, w)` out, or what its `Output` says."""
        ...

    def label_space(self, classes: int) -> str | OwnClasses:
        """The label space that `classes` outputs stand for, by its name, or classes of the network's own."""
        ...


@dataclass(frozen=True)
class Permutation:
    """`size` hidden units whose order does not matter, as long as all that is tied to it follows.

    `axes` are (tensor name, axis, start): positions start ... start + size - 1 of that axis. An architecture that
    declares its permutations has an attribute `permutations`, a tuple of these; running statistics belong to them like
    weights.
    """

    name: str
    size: int
    axes: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Stage:
    """One step of a forward pass. A pass over a picture seen before starts at the first stage whose tensors have
    changed.

    An architecture that declares its stages has a method `stages(module)`, a sequence of these whose calls in turn are
    the forward pass: the first takes the input, every other what the one before returned, the last returns what the
    network returns. In between is the state: a tensor, or a tuple, list or dict of all that later stages need. A call
    leaves the state it gets as it is, and reads no tensor of a later stage.
    """

    name: str
    call: Callable[[Any], Any]
    prefixes: tuple[str, ...] = ()
    """Modules or tensors whose weights the call reads; left out, the one that the stage is named after."""

    def owns(self, tensor: str) -> bool:
        """Whether the tensor of that name is read here."""
        return any(tensor == prefix or tensor.startswith(f"{prefix}.") for prefix in self.prefixes or (self.name,))


@dataclass(frozen=True)
class Supervised:
    """An output of a pass in training, and by how much its cross-entropy counts.

    The loss of a network is the cross-entropy of what it returns. An architecture whose networks are trained by more
    has a method `supervised(module, x)`, a sequence of these for the network's input `(N, 3, H, W)`, of one pass and in
    the mode that the module is in: the loss is `sum_i weight_i CE(output_i)`. `output` is whatever a network may
    return.
    """

    output: Any
    weight: float = 1.0


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are trained otherwise than the others: those whose names `pattern`, a regular expression, finds.

    Their learning rate is `rate` times that of the run; without `decay` nothing pulls them to 0. An architecture that
    has some has an attribute `groups`, a tuple of these; a parameter belongs to the first that finds its name.
    """

    pattern: str
    rate: float = 1.0
    decay: bool = True


@dataclass(frozen=True)
class UsualTraining:
    """How a network is trained in its paper. An architecture that says so has it as its attribute `usual`.

    A regime decides, and nothing follows this by itself: whoever trains by another optimiser is told.
    """

    algorithm: str
    lr: float
    weight_decay: float
    schedule: str
    clip: float | None = None

    @property
    def options(self) -> str:
        """The same on the command line of `train`."""
        rates = f"--lr {self.lr:g} --weight-decay {self.weight_decay:g} --schedule {self.schedule}"
        return f"--set algorithm={self.algorithm} {rates}{'' if self.clip is None else f' --clip {self.clip:g}'}"


ARCHITECTURES: Registry[Architecture] = Registry("architecture", "fusionlib.architectures", "ARCHITECTURES")
SPELLINGS: Registry[Spelling] = Registry("spelling", "fusionlib.architectures", "SPELLINGS")
