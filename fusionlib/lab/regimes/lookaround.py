"""Lookaround: heads on different augmentations, averaged again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusionlib.contracts import REGIMES, Batch, Point, Training, parameter
from fusionlib.errors import UsageError, shown
from fusionlib.lab.augment import AUGMENTATIONS, augmented
from fusionlib.lab.descent import Scheduled, epoch_name

if TYPE_CHECKING:
    import torch


@REGIMES.register("lookaround")
@dataclass(frozen=True)
class Lookaround(Scheduled):
    """d heads take k steps each, head j on `AUG_j(B)` of the same batches B; their mean is where all go on.

    Every head has a momentum of its own, kept over an averaging; running statistics are one set, which all heads update
    in turn. The authors' code draws other batches for each head; the printed algorithm, and this, gives all the same.
    Saved is the mean as it was last, also where an epoch ends between two averagings.
    """

    title = "Lookaround"
    summary = "d heads, each on its own augmentation of the same batches, averaged every k steps"
    leaves = "epoch-001, epoch-002, ...: the means"
    helps = "One network for d times the price, in the middle of a wide basin: a strong member of any soup"
    citation = "Zhang et al. 2023 (Lookaround Optimizer), algorithm 1; lecture, Lookaround"

    period: int = parameter(5, "k, steps between two averagings", min=1, max=10000, step=1)
    augmentations: str = parameter(
        "flip,colour,crop", f"One for each head, with commas between: {', '.join(AUGMENTATIONS)}"
    )

    def __post_init__(self) -> None:
        """Raises `UsageError` for an augmentation that there is not."""
        if unknown := [name for name in self._names if name not in AUGMENTATIONS]:
            raise UsageError(
                f"Augmentation {shown(unknown[0])}", f"one of {', '.join(AUGMENTATIONS)}", "Correct augmentations"
            )

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.augmentations.split(","))

    @property
    def heads(self) -> int:
        """d."""
        return len(self._names)

    @property
    def passes(self) -> int:
        """One a head."""
        return self.heads

    def begin(self, training: Training) -> None:
        """All heads are where the run begins."""
        start = training.parameters
        training.memory["heads"] = [{name: one.clone() for name, one in start.items()} for _ in self._names]
        training.memory["mean"] = {name: one.clone() for name, one in start.items()}

    def step(self, training: Training, batch: Batch) -> torch.Tensor:
        """A step of each head; the mean loss."""
        losses = []
        for number, (head, name) in enumerate(zip(training.memory["heads"], self._names, strict=True)):
            training.set_parameters(head)
            seen = augmented(name, batch, (training.seed, training.step))
            losses.append(training.update(training.loss(seen), number))
            for one, tensor in training.parameters.items():
                head[one].copy_(tensor)
        return sum(losses[1:], losses[0]) / len(losses)

    def after_step(self, training: Training) -> Sequence[Point]:
        """The mean, where it is due."""
        if training.step % self.period == 0:
            heads = training.memory["heads"]
            for name, mean in training.memory["mean"].items():
                mean.copy_(heads[0][name])
                for head in heads[1:]:
                    mean.add_(head[name])
                mean.div_(len(heads))
                for head in heads:
                    head[name].copy_(mean)
        return ()

    def after_epoch(self, training: Training) -> Sequence[Point]:
        """The mean."""
        return (Point(epoch_name(training), training.tensors(training.memory["mean"]), "mean"),)
