"""Self-training on unlabelled pictures, by the labels of a teacher that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusionlib.contracts import REGIMES, Batch, Point, Span, Training, parameter
from fusionlib.lab.descent import Scheduled, epoch_name

if TYPE_CHECKING:
    import numpy as np
    import torch


@REGIMES.register("ema-teacher")
@dataclass(frozen=True)
class EmaTeacher(Scheduled):
    """`L(source) + q L(target, argmax of the teacher)`; the teacher is `d teacher + (1 - d) student` after each step.

    q is the share of the batch's pixels at which the teacher's confidence is above the threshold, one number a batch,
    from the first step on. The teacher answers in evaluation mode, with the student's running statistics. Both losses
    are the same cross-entropy; target pictures are cropped and flipped, without the mixing of the public code.
    """

    title = "Self-training with an EMA teacher"
    summary = "Adapts to unlabelled pictures by pseudo-labels of a teacher that follows the student"
    leaves = "epoch-001, epoch-002, ... of the student, and teacher at the end"
    helps = "A domain without masks: its expert from a start with masks, to be merged with experts of others"
    citation = "Tranheden et al. 2021 (DACS), equations 1 to 4; Training-free merging paper, figure 4"
    wants_start = True
    needs_target = True

    decay: float = parameter(
        0.999, "d: 0 makes the teacher a copy of the student (EMA off), 1 leaves it at the start", min=0.0, max=1.0
    )
    threshold: float = parameter(0.968, "Confidence above which a pixel counts", min=0.0, max=1.0, step=0.001)

    @property
    def passes(self) -> int:
        """The source, the target, and the teacher's forward pass, which is about a third of one."""
        return 2

    def saved(self, span: Span) -> Sequence[int]:
        """The student after each epoch, and the teacher."""
        return *span.epoch_ends, span.steps

    def begin(self, training: Training) -> None:
        """The teacher is the start."""
        training.memory["teacher"] = {name: tensor.clone() for name, tensor in training.parameters.items()}

    def step(self, training: Training, batch: Batch) -> torch.Tensor:
        """A step of the student, and the teacher's after it."""
        pseudo, weight = self.pseudo_labelled(training, training.target())
        loss = training.update(training.loss(batch) + weight * training.loss(pseudo))
        for name, teacher in training.memory["teacher"].items():
            teacher.mul_(self.decay).add_(training.parameters[name], alpha=1 - self.decay)
        return loss

    def pseudo_labelled(self, training: Training, images: np.ndarray) -> tuple[Batch, float]:
        """Target pictures with the teacher's labels, and q."""
        confidence, labels = training.probabilities(training.memory["teacher"], images).max(1)
        share = float((confidence > self.threshold).double().mean())
        return Batch(images, labels.byte().cpu().numpy()), share

    def after_epoch(self, training: Training) -> Sequence[Point]:
        """The student."""
        return (Point(epoch_name(training), training.tensors(), "student"),)

    def finish(self, training: Training) -> Sequence[Point]:
        """The teacher."""
        return (Point("teacher", training.tensors(training.memory["teacher"]), "teacher"),)
