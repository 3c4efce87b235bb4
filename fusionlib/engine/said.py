"""What the learners inside a network say in a pass, as measures take it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from fusionlib.contracts import Fusion
from fusionlib.engine.build import Built
from fusionlib.engine.learners import Answers, answers_of, usable
from fusionlib.measures.observation import Inside, Observation


@dataclass(frozen=True)
class Said:
    """The learners' answers to pictures, of which `cut` keeps what is measured."""

    answers: Answers
    cut: Callable[[Tensor], Tensor]

    @classmethod
    def by(cls, built: Built, images: np.ndarray, cut: Callable[[Tensor], Tensor]) -> Said | None:
        """One pass of a network of learners; None of any other, of several networks and of scaled logits."""
        member = built.members[0] if len(built.members) == 1 and built.temperature == 1 else None
        if member is None or member.network.learners is None:
            return None
        member.enter()
        return cls(answers_of(member.network, images), cut)

    def logits(self, fusion: Fusion | None = None, members: Sequence[int] | None = None) -> Tensor:
        """Log-probabilities (N, C, h, w) of these learners together; by default what the network says."""
        return self.cut(self.answers.fused(fusion, members))

    def inside(self, rows: slice, truth: Tensor | None, mapping: Tensor | None, classes: int) -> Inside:
        """The same of one of the pictures, observed as that picture is."""
        about = self.answers.learners

        def by(fusion: Fusion, members: Sequence[int] | None) -> Observation:
            return Observation(self.logits(fusion, members)[rows], truth, mapping, classes)

        return Inside(about.names, usable(about), by)
