"""What decides a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fusionlib.errors import UsageError
from fusionlib.lab.schedule import SCHEDULES

LARGEST_SEED = 2**40
"""Seeds of the epochs are derived from it and must fit torch's 64 bits."""


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides what a run produces. Two runs of one plan on one machine give the same checkpoints."""

    architecture: str = "enet"
    classes: int = 19
    seed: int = 0
    epochs: int = 10
    batch: int = 8
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 2e-4
    schedule: str = "cosine"
    crop: tuple[int, int] = (128, 256)
    class_weights: bool = True

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise UsageError(
                f"Unknown schedule {self.schedule!r}", f"one of {', '.join(SCHEDULES)}", "Correct --schedule"
            )
        for name in ("epochs", "batch", "lr", "classes"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name} is {getattr(self, name)}", "a number above 0", f"Correct --{name}")
        for name, limit in (("momentum", 1), ("weight_decay", math.inf), ("seed", LARGEST_SEED)):
            if not 0 <= getattr(self, name) < limit:
                raise UsageError(
                    f"{name} is {getattr(self, name)}",
                    f"a number from 0, below {limit}",
                    f"Correct --{name.replace('_', '-')}",
                )
