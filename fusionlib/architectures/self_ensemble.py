"""What networks with a learner at each level of a pyramid have in common: answers of one pass, their fusion, the loss.

Source: "Efficient Self-Ensemble for Semantic Segmentation", sections 3.1, 3.2 and 4.1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fusionlib.architectures.backbones import STRIDES
from fusionlib.architectures.built_in import in_turn
from fusionlib.contracts import Fusion, Learners, Stage, Supervised

Maps = tuple[Tensor, ...]

State = tuple[Maps, Maps]
"""Maps of the pyramid, and the answers (N, C, h, w) that are there."""


class SelfEnsembleNetwork(nn.Module, ABC):
    """Input `(N, 3, H, W)` float32, output log-probabilities `(N, classes, H / 4, W / 4)`, sides rounded up.

    Who inherits has `fusion` and its name, `merge`, the module that a trained one reads, and `steps`, whose last
    returns a `State`.
    """

    fusion: Fusion
    fusion_name: str
    merge: nn.Module | None

    @abstractmethod
    def steps(self) -> Sequence[Stage]:
        """Every stage up to the learners' answers."""

    def stages(self) -> tuple[Stage, ...]:
        """The same, and what makes one answer of them."""
        return *self.steps(), Stage("merge", lambda state: self.fused(torch.stack(state[1])))

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self.stages(), x)

    def answers(self, x: Tensor) -> Tensor:
        """Logits (L, N, C, h, w) of all learners, of one pass."""
        state: State = in_turn(self.steps(), x)  # type: ignore[assignment]
        return torch.stack(state[1])

    def fused(self, answers: Tensor) -> Tensor:
        """What the network returns for these."""
        return self.fusion(answers, self.merge)

    def embeddings(self) -> Sequence[Tensor]:
        """A table (C, d) a learner, where classes have embeddings."""
        return ()


class SelfEnsemble:
    """What an architecture declares of such a network: its learners, and by what it is trained."""

    per_level = 1
    """Learners of a level."""

    def supervised(self, module: Any, x: Tensor) -> Sequence[Supervised]:
        """What the network returns and, as their mean, every learner by itself (section 4.1)."""
        answers = module.answers(x)
        return Supervised(module.fused(answers)), *(Supervised(one, 1 / len(answers)) for one in answers)

    def learners(self, module: Any) -> Learners:
        """As `fusionlib.contracts.Learners` says; they are called as in the paper, d2 to d5."""
        each = [f".{number + 1}" for number in range(self.per_level)] if self.per_level > 1 else [""]
        return Learners(
            names=tuple(f"d{level + 2}{one}" for level in range(len(STRIDES)) for one in each),
            strides=tuple(stride for stride in STRIDES for _ in each),
            logits=module.answers,
            fusion=module.fusion_name,
            attention=module.merge,
            embeddings=module.embeddings,
        )
