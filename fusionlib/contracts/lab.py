"""What a regime is, a way of training that leaves checkpoints or a posterior, and what it sees of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from fusionlib.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import torch

    from fusionlib.contracts.architectures import Architecture


@dataclass(frozen=True)
class Span:
    """How long a run is: `epochs` that were asked for, `pictures` to train on, `batch` of them a step; `steps` in all.

    A run may end within an epoch, or have more epochs than were asked for: its regime decides. `select` further
    pictures are there to choose by.
    """

    epochs: int
    pictures: int
    batch: int
    steps: int = 0
    select: int = 0

    @property
    def length(self) -> int:
        """Steps an epoch. The ragged rest of the pictures is left out: it would disturb running statistics."""
        return max(1, self.pictures // self.batch)

    @property
    def asked(self) -> int:
        """T, steps of the epochs that were asked for."""
        return self.epochs * self.length

    @property
    def epoch_ends(self) -> tuple[int, ...]:
        """Steps after which an epoch ends, the run's last one among them."""
        return tuple(sorted({*range(self.length, self.steps + 1, self.length), self.steps} - {0}))

    @property
    def pass_batches(self) -> int:
        """Batches of one pass over all pictures, the rest among them."""
        return -(-self.pictures // self.batch)

    @property
    def select_batches(self) -> int:
        """Batches of one pass over the pictures to choose by."""
        return -(-self.select // self.batch)


@dataclass(frozen=True)
class Batch:
    """Crops `images` (N, h, w, 3) uint8 RGB with their `truths` (N, h, w) uint8, `IGNORE` for void."""

    images: np.ndarray
    truths: np.ndarray


@dataclass(frozen=True)
class Point:
    """A file that a run leaves: `NAME.safetensors` with these tensors.

    `role` says what it is in the tree of the run (epoch, cycle, member, mean, teacher ...). `parents` are names of the
    points that it was made of, `START` for where the run began; None for the point before. `about` is metadata of the
    file; a posterior has `posterior`, its kind, and what is needed to sample it, as JSON texts.
    """

    name: str
    tensors: Mapping[str, torch.Tensor]
    role: str
    parents: tuple[str, ...] | None = None
    about: Mapping[str, str] = field(default_factory=dict)


START = "start"
"""The parent of whatever was made of the network at which a run began."""


class Training(Protocol):
    """What a regime sees of a run while it lasts.

    A resumed run is the unbroken one to the bit, because all that decides what comes next is kept: the network, the
    optimisers, `memory`, `step` and the state of torch's random numbers. So a regime keeps whatever it must know later
    in `memory`, and draws random numbers from `generator`, or from seed and step alone.
    """

    span: Span
    seed: int
    network: torch.nn.Module
    architecture: Architecture
    step: int
    """Steps done."""
    memory: dict[str, Any]
    """Numbers, texts, tensors on the network's device, and lists and dicts of these: what a regime knows of the run."""

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """Parameters by name, without gradients: to write into one is to change the network."""
        ...

    @property
    def normalised(self) -> bool:
        """Whether the network has running statistics."""
        ...

    def loss(self, batch: Batch) -> torch.Tensor:
        """Cross-entropy in nats, class-weighted where the plan says so, with a gradient; training mode. Of all outputs
        that the network declares, each as it counts.
        """
        ...

    def logits(self, images: np.ndarray) -> torch.Tensor:
        """Logits (N, C, h, w) at the size of the pictures, with a gradient, in the mode that the network is in."""
        ...

    def gather(self, loss: torch.Tensor) -> torch.Tensor:
        """Add the gradients of a loss to those that lie ready; the loss without its gradient.

        For a step that looks at several networks: put parameters in, gather, put others in, gather, put back, advance.
        """
        ...

    def advance(self, head: int = 0) -> None:
        """A step of optimiser number `head` by the gradients that lie ready, clipped where the plan says so; they are
        then gone.
        """
        ...

    def update(self, loss: torch.Tensor, head: int = 0) -> torch.Tensor:
        """`gather` and `advance`."""
        ...

    def probabilities(self, parameters: Mapping[str, torch.Tensor], images: np.ndarray) -> torch.Tensor:
        """Softmax (N, C, h, w) with other parameters and the network's own buffers: evaluation mode, no gradient."""
        ...

    def target(self) -> np.ndarray:
        """Crops (N, h, w, 3) uint8 of the unlabelled pictures of this step; of a regime that `needs_target`."""
        ...

    def tensors(self, parameters: Mapping[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        """A copy on the CPU of all tensors of the network as a file has them, with other parameters where given."""
        ...

    def set_parameters(self, parameters: Mapping[str, torch.Tensor]) -> None:
        """Copy parameters into the network; optimisers and buffers stay as they are."""
        ...

    def restart(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Load all tensors, buffers too, and begin with fresh optimisers."""
        ...

    def recalibrated(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The same with running statistics measured anew in one pass over all `pictures`."""
        ...

    def pictures(self) -> Iterator[Batch]:
        """All labelled pictures once, cropped and flipped: `Span.pass_batches` batches, which `closing` counts."""
        ...

    def selection(self) -> Iterator[Batch]:
        """The pictures to choose by once, the same crops each time: `Span.select_batches` batches; mostly none."""
        ...

    def generator(self, *key: int) -> torch.Generator:
        """Random numbers on the network's device, which follow from the run's seed and the key alone."""
        ...


@dataclass(frozen=True)
class Regime(ABC):
    """A way of training: a frozen dataclass whose fields are its hyper-parameters, declared by `parameter`.

    The trainer calls `begin`, then for each batch `step` and `after_step`, at the end of each epoch (and of the run)
    `after_epoch`, and once at the end `finish`. Whatever the hooks return is saved. Its module loads no torch: pages
    ask it for its schedule and its cost.
    """

    title: ClassVar[str]
    summary: ClassVar[str]
    """One line on what it does."""
    leaves: ClassVar[str]
    """What it leaves: files by their names."""
    helps: ClassVar[str]
    """When it is worth trying."""
    citation: ClassVar[str]
    """Its source."""
    version: ClassVar[int] = 1
    """Raised whenever checkpoints come out otherwise: runs of other versions are not resumed."""
    wants_start: ClassVar[bool] = False
    """Whether it is meant to begin at a trained network."""
    needs_target: ClassVar[bool] = False
    """Whether it must be given unlabelled pictures."""

    @property
    def needs_select(self) -> bool:
        """Whether it must be given labelled pictures to choose by, apart from those that it trains on."""
        return False

    @property
    def heads(self) -> int:
        """How many optimisers it needs, each with a state of its own."""
        return 1

    @property
    def passes(self) -> int:
        """Forward and backward passes of a step: for the time left."""
        return 1

    def steps(self, span: Span) -> int:
        """How many steps it takes. Raises `UsageError` where its parameters do not fit the epochs."""
        return span.asked

    def closing(self, span: Span) -> int:
        """Batches that `finish` looks at."""
        return 0

    def saved(self, span: Span) -> Sequence[int]:
        """The step after which each file is saved, in order; for those of `finish` the last one."""
        return span.epoch_ends

    def order(self, epoch: int, span: Span) -> tuple[int, int]:
        """Which batches epoch number `epoch` sees: what is added to the run's seed, and the number of the epoch."""
        return 0, epoch

    @abstractmethod
    def optimiser(self, parameters: Sequence[torch.Tensor] | Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """A fresh optimiser of parameters, or of groups of them; its learning rate is set before every step."""

    @abstractmethod
    def rate(self, step: int, span: Span) -> float:
        """The learning rate of the step after `step` others."""

    def begin(self, training: Training) -> None:  # noqa: B027 - a hook that most have no use for
        """Called once, before the first step; not where a run is resumed."""

    def step(self, training: Training, batch: Batch) -> torch.Tensor:
        """One step; the loss, without a gradient."""
        return training.update(training.loss(batch))

    def after_step(self, training: Training) -> Sequence[Point]:
        """Called when `training.step` steps are done."""
        return ()

    def after_epoch(self, training: Training) -> Sequence[Point]:
        """Called after the last step of an epoch and of the run, and after its `after_step`."""
        return ()

    def finish(self, training: Training) -> Sequence[Point]:
        """Called once at the end, again where it was broken off: it leaves network and memory as they are."""
        return ()


REGIMES: Registry[type[Regime]] = Registry("regime", "fusionlib.lab.regimes", "REGIMES")
