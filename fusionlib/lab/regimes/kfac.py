"""KFAC-Laplace: a Gaussian as wide as the curvature at a trained network allows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fusionlib.contracts import REGIMES, START, Point, Span, Training, parameter
from fusionlib.lab.descent import Scheduled, epoch_name

TRIED = 7
"""Values of tau that are tried: `fusionlib.lab.laplace.TAUS`."""


@REGIMES.register("kfac")
@dataclass(frozen=True)
class KfacLaplace(Scheduled):
    """Fine-tuning, then in each layer the precision `N A x G + tau I` of one pass, exact by eigendecomposition.

    The loss of a picture is its mean cross-entropy without class weights, and labels are drawn from the network's own
    answers (the public codes take the true ones, which is the empirical Fisher information). N counts pictures, as the
    mean loss has it, or with `examples` the pixels, as if each were independent of the others. Without `tau` it is the
    best of 1, 10, ... 1e6 by the negative log-likelihood of the samples' mean probabilities on the pictures of
    --select. Running statistics stay those of the network. Which tensors have a diagonal instead of factors
    (`fusionlib.lab.curvature`) stands in the file's `posterior_about`.
    """

    title = "KFAC-Laplace"
    summary = "Fine-tuning, then a Gaussian as wide as the curvature of the loss allows"
    leaves = "epoch-001, epoch-002, ... and kfac, a posterior: the last network, with factors of its curvature"
    helps = "Uncertainty of a network that is trained already: one pass more, and with train=false nothing else"
    citation = "Ritter et al. 2018 (Laplace Approximation), section 3; Daxberger et al. 2021"
    wants_start = True

    train: bool = parameter(True, "Fine-tune first; without, the posterior is that of the start itself")
    tau: float = parameter(0.0, "Precision of the prior; 0: chosen on the pictures of --select", min=0.0, max=1e12)
    trials: int = parameter(5, "Samples by which tau is chosen", min=1, max=100, step=1)
    examples: str = parameter("pictures", "What N counts", choices=("pictures", "pixels"))
    widest: int = parameter(2304, "Largest side of a factor; wider layers get a diagonal", min=1, max=16384, step=1)

    @property
    def needs_select(self) -> bool:
        """Unless tau is given."""
        return self.tau == 0

    def steps(self, span: Span) -> int:
        """Those of the epochs, or none."""
        return span.asked if self.train else 0

    def rate(self, step: int, span: Span) -> float:
        """As fine-tuning has it."""
        return super().rate(step, span) if span.steps else self.lr

    def closing(self, span: Span) -> int:
        """The pass for the factors, and the choice of tau."""
        return span.pass_batches + (TRIED * span.select_batches if self.needs_select else 0)

    def saved(self, span: Span) -> Sequence[int]:
        """The epochs, and the posterior."""
        return *span.epoch_ends, span.steps

    def finish(self, training: Training) -> Sequence[Point]:
        """The posterior."""
        from fusionlib.checkpoints.posterior import ABOUT, KIND, further
        from fusionlib.lab.laplace import best, chosen, fitted
        from fusionlib.merging.posteriors.kfac import TAU

        parts, about = fitted(training, self.widest, self.examples)
        about[TAU] = self.tau
        if self.needs_select:
            about["select_nll"] = chosen(training, parts, about, self.trials)
            about[TAU] = best(about["select_nll"])
        tensors = training.tensors()
        for part, found in parts.items():
            tensors |= further(part, {name: tensor.float() for name, tensor in found.items()})
        parents = (epoch_name(training),) if training.step else (START,)
        return (Point("kfac", tensors, "posterior", parents, {KIND: "kfac", ABOUT: json.dumps(about)}),)
