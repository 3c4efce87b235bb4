"""Weights that gradients find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusionlib.candidate import Learning, Outcome
from fusionlib.contracts import STRATEGIES, Objective, Strategy, parameter

PASSES = 3
"""What forward and backward of a picture take, in forward passes."""


@dataclass(frozen=True)
class Soup(Strategy):
    """`w = softmax(r)` lowers the cross-entropy of `beta * logits` of the network with weights `sum_k w_k theta_k`.

    AdamW on r and beta without weight decay, from equal weights and beta 1, on random crops in evaluation mode; running
    statistics are averaged with w and have no gradient. One backward pass a batch: `dL/dw_k = <dL/dtheta, theta_k>`, so
    that no checkpoint is held twice. What is found is measured with statistics measured anew.
    """

    several: ClassVar[bool] = False
    by_tensor: ClassVar[bool] = False

    rate: float = parameter(0.05, "Learning rate", min=1e-4, max=1.0, step=0.01)
    epochs: int = parameter(5, "Times that every picture is seen", min=1, max=100, step=1)
    batch: int = parameter(4, "Pictures of a step", min=1, max=64, step=1)
    seed: int = parameter(0, "Seed of order and crops", min=0, max=2**31 - 1, step=1)

    def expected(self, members: int, pictures: int) -> int:
        """The epochs, and the network that was found."""
        return (PASSES * self.epochs + 1) * pictures

    def search(self, objective: Objective) -> Outcome:
        """Learn, then measure."""
        found = objective.learned(Learning(self.by_tensor, self.rate, self.epochs, self.batch, self.seed))
        objective.scores([found.candidate])
        return Outcome(found.candidate, (), {"beta": found.beta, "losses": list(found.losses)})


@STRATEGIES.register("learned")
@dataclass(frozen=True)
class LearnedSoup(Soup):
    """One weight per checkpoint. Source: Wortsman et al. 2022, "Model soups", appendix I, and its code."""

    title: ClassVar[str] = "Learned soup"
    summary: ClassVar[str] = "One weight per checkpoint, found by gradients on the pictures to choose by"
    source: ClassVar[str] = "Wortsman et al. 2022, Model soups, appendix I"
    version: ClassVar[int] = 1
    buffers: ClassVar[str] = "recalibrate"
