"""What the learners inside one network say of pictures: one pass, of which all subsets and fusions are arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fusionlib.contracts import FUSIONS, Fusion, Learners
from fusionlib.engine.network import BoundNetwork
from fusionlib.errors import UsageError


@dataclass(frozen=True)
class Answers:
    """Logits (L, N, C, h, w) of the learners of a network on N pictures, at its own resolution.

    With all learners and the network's own fusion, `fused` is what `BoundNetwork.logits` gives.
    """

    network: BoundNetwork
    learners: Learners
    logits: Tensor
    pictures: tuple[int, int]
    """Height and width of the pictures."""

    def fused(
        self,
        fusion: Fusion | None = None,
        kept: Sequence[int] | None = None,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """Log-probabilities (N, C, h, w) float32 of the learners `kept` (default: all), at `size` (default: the
        pictures').

        A learner alone is `kept=[number]` under any fusion that is not trained; its softmax is the learner's own.

        Raises `UsageError` for a trained fusion that is not the network's.
        """
        chosen = FUSIONS.get(self.learners.fusion)() if fusion is None else fusion
        name = FUSIONS.name_of(type(chosen))
        if name not in usable(self.learners):
            raise UsageError(
                f"{chosen.title} on {self.network.title}, which was not trained with it",
                f"one of {', '.join(usable(self.learners))}",
                "Choose one of them",
            )
        attention = self.learners.attention if name == self.learners.fusion else None

        def fuse() -> Tensor:
            found = chosen(self.logits, attention, kept).float()
            return self.network.inputs.at_size(found, self.pictures, size or self.pictures)

        return self.network.in_context(fuse)


class LastAnswers:
    """What the learners of a network said last: who toggles one, or asks for the next pane, pays for no pass.

    Weights and pictures are compared bit by bit with copies, as those of a trail. Belongs to the network's thread.
    """

    def __init__(self) -> None:
        self._answers: Answers | None = None
        self._images = np.empty(0, np.uint8)
        self._weights = torch.empty(0)

    def of(self, network: BoundNetwork, images: np.ndarray) -> Answers:
        """As `answers_of`."""
        if self._answers is None or not self._same(network, images):
            self._answers = None
            found = answers_of(network, images)
            self._images, self._weights, self._answers = images.copy(), network.flat.clone(), found
        return self._answers

    def _same(self, network: BoundNetwork, images: np.ndarray) -> bool:
        assert self._answers is not None
        if self._answers.network is not network or not np.array_equal(self._images, images):
            return False
        return torch.equal(network.flat.view(torch.int32), self._weights.view(torch.int32))


def answers_of(network: BoundNetwork, images: np.ndarray) -> Answers:
    """The learners' answers to pictures (N, H, W, 3) uint8 RGB. Raises `UsageError` for a network without learners."""
    logits = network.answers(images)
    assert network.learners is not None  # or it would have raised
    return Answers(network, network.learners, logits, (images.shape[1], images.shape[2]))


def usable(learners: Learners) -> tuple[str, ...]:
    """Names of the fusions that these learners can answer by: those that are not trained, and the network's own."""
    return tuple(name for name in FUSIONS.names() if not FUSIONS.get(name).trained or name == learners.fusion)
