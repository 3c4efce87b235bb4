"""Learners inside a network, each with an answer of its own, and what makes one answer of theirs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusionlib.errors import UsageError
from fusionlib.registry import Registry

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Learners:
    """The L learners of one network, whose answers come from one pass.

    An architecture whose networks have some has a method `learners(module)`, which returns these. What the network
    itself returns is `FUSIONS.get(fusion)()(logits(x), attention)`.
    """

    names: tuple[str, ...]
    """As they are shown, in order."""
    strides: tuple[int, ...]
    """Pixels of the picture a side of one that the learner sees."""
    logits: Callable[[torch.Tensor], torch.Tensor]
    """The network's input (N, 3, H, W) -> logits (L, N, C, h, w), all at the sides of the finest: one pass."""
    fusion: str = "average"
    """By which of `FUSIONS` the network makes one answer of them."""
    attention: torch.nn.Module | None = None
    """What of that fusion was trained."""
    embeddings: Callable[[], Sequence[torch.Tensor]] = tuple
    """A table (C, d) a learner, one row a class; nothing where classes have no embeddings."""


@dataclass(frozen=True)
class Fusion(ABC):
    """How learners of one network answer as one: a frozen dataclass whose fields are its hyper-parameters.

    A function of their logits (L, N, C, h, w) and, where it is `trained`, of a module that is part of the checkpoint.
    It gives the logarithm of a distribution over classes (N, C, h, w): its softmax is what the learners say together.
    """

    title: ClassVar[str]
    summary: ClassVar[str]
    """One line on what it does."""
    citation: ClassVar[str]
    trained: ClassVar[bool] = False
    """Whether it reads a module: only networks that were trained with it have one."""
    version: ClassVar[int] = 1
    """Raised whenever its figures move."""

    def attention(self, learners: int, classes: int) -> torch.nn.Module | None:
        """A fresh module of one that is `trained`, which a network keeps as `merge`; None for others."""
        return None

    def __call__(
        self, logits: torch.Tensor, attention: torch.nn.Module | None = None, kept: Sequence[int] | None = None
    ) -> torch.Tensor:
        """The fused log-probabilities (N, C, h, w) of the learners number `kept`, of all where it is None.

        Raises `UsageError` for no learner, one that is not there, and a trained fusion without its module.
        """
        numbers = tuple(range(len(logits)) if kept is None else sorted(set(kept)))
        if not numbers or not 0 <= numbers[0] <= numbers[-1] < len(logits):
            raise UsageError(
                f"Learners {', '.join(map(str, numbers)) or 'none'} of {len(logits)}",
                f"one or more of 0 to {len(logits) - 1}",
                "Choose other learners",
            )
        if self.trained and attention is None:
            raise UsageError(
                f"{self.title} without the module that it reads",
                "a network that was trained with it",
                "Choose another fusion",
            )
        chosen = logits if len(numbers) == len(logits) else logits[list(numbers)]
        return self.fuse(chosen, numbers, attention)

    @abstractmethod
    def fuse(self, logits: torch.Tensor, numbers: Sequence[int], attention: torch.nn.Module | None) -> torch.Tensor:
        """The same for logits of the learners `numbers` alone, in their order."""


FUSIONS: Registry[type[Fusion]] = Registry("fusion", "fusionlib.architectures.fusions", "FUSIONS")
