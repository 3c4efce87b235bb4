"""What regimes share: an optimiser, a rate that falls over the run, a checkpoint an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fusionlib.contracts import Point, Regime, Span, Training, parameter
from fusionlib.lab.schedule import SCHEDULES

if TYPE_CHECKING:
    import torch

LOWEST, HIGHEST = 1e-9, 10.0
"""Of learning rates."""


@dataclass(frozen=True)
class Descent(Regime):
    """Stochastic gradient descent with momentum, or AdamW."""

    lr: float = parameter(0.01, "Learning rate at its highest", min=LOWEST, max=HIGHEST, step=0.001)
    momentum: float = parameter(0.9, "Momentum; of AdamW its first decay", min=0.0, max=0.999, step=0.01)
    weight_decay: float = parameter(2e-4, "Weight decay", min=0.0, max=1.0, step=1e-4)
    algorithm: str = parameter(
        "sgd", "Optimiser: sgd, or adamw, which transformers are trained with", choices=("sgd", "adamw")
    )

    def optimiser(self, parameters: Sequence[torch.Tensor] | Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """As declared."""
        import torch

        if self.algorithm == "adamw":
            betas = (self.momentum, 0.999)
            return torch.optim.AdamW(parameters, lr=self.lr, betas=betas, weight_decay=self.weight_decay)
        return torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Scheduled(Descent):
    """One schedule over the whole run, a checkpoint at the end of each epoch."""

    schedule: str = parameter("cosine", "How the rate falls", choices=tuple(SCHEDULES))

    def rate(self, step: int, span: Span) -> float:
        """`lr s(t, T)`."""
        return self.lr * SCHEDULES[self.schedule](step, span.steps)

    def after_epoch(self, training: Training) -> Sequence[Point]:
        """The network as it is."""
        return (Point(epoch_name(training), training.tensors(), "epoch"),)


def epoch_name(training: Training) -> str:
    """`epoch-012` after twelve of them."""
    return f"epoch-{training.step // training.span.length:03d}"
