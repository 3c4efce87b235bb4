"""What one picture shows: logits and truth, and everything that measures derive from them, computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch

from fusionlib.contracts import FUSIONS, IGNORE, Fusion
from fusionlib.errors import UsageError
from fusionlib.measures.planes import Look, Planes, first_at, first_maximum, plain_layout

_FAINT = 1e-30
"""Below this a float32 sum of exponentials has lost digits to underflow and is computed again, relative to itself."""

UNIT = 2.0**-24
"""Step of sums over pixels, in nats or as a fraction. Each pixel is rounded to a multiple of it, at most 3e-8 off:
less than float32's own rounding at 1. The sum is a whole number, the same to the last bit in every order and split.
int64 then holds 5.5e11 nats: a million-pixel picture at 1 nat 550,000 times.
"""

LIMIT = 2.0**24
"""Losses at or above this many nats (and NaN, infinity) are counted instead of being summed."""


class FixedSum(NamedTuple):
    """A sum over labelled pixels in steps of `UNIT`, () int64 each: of those below `LIMIT`, and how many are not."""

    steps: torch.Tensor
    beyond: torch.Tensor


@dataclass(frozen=True)
class Inside:
    """What the learners inside a network say of a picture, one by one or as one: `by(fusion, members)`, of all where
    `members` is None. `fusions` are the names of those that they can be asked by.
    """

    names: tuple[str, ...]
    fusions: tuple[str, ...]
    by: Callable[[Fusion, Sequence[int] | None], Observation]

    def offers(self, fusion: Fusion) -> bool:
        """Whether they can be asked by a fusion: by one that is trained only where the network was trained with it."""
        return FUSIONS.name_of(type(fusion)) in self.fusions


class Observation:
    """One picture, band or batch as one network sees it: what all measures share is computed once, at its first use.

    `logits` (N, C, H, W) floating, at the annotation's size, and computed with in float32; `truth` (N, H, W) uint8 or
    int64 ids of the target space, `IGNORE` for void, or None for pictures without masks; `mapping` (C,) int64 target id
    of each of the network's classes, -1 for none, or None when both spaces are the same; `classes` the target space's
    class count (default C). `activations` are block -> feature map and `learners` what those inside the network say,
    where they were recorded; `picture` is the number of the first picture in its data. An ensemble is observed through
    the logarithms of its probabilities.

    One pass over the logits gives labels and sums of probabilities alike, band by band in the processor's cache. With
    `lean` labels alone are expected to be asked for: they come first, and whatever else is asked costs a pass more.

    Raises `UsageError` when shapes or types do not fit. Ids of `truth` are checked where they are counted.
    """

    def __init__(
        self,
        logits: torch.Tensor,
        truth: torch.Tensor | None,
        mapping: torch.Tensor | None = None,
        classes: int | None = None,
        *,
        activations: Mapping[str, torch.Tensor] | None = None,
        learners: Inside | None = None,
        picture: int = 0,
        lean: bool = False,
    ) -> None:
        self.labelled = truth is not None
        if truth is None:
            truth = torch.full((logits.shape[0], *logits.shape[2:]), IGNORE, dtype=torch.uint8, device=logits.device)
        _check(logits, truth, mapping, classes)
        self._raw = logits.detach().float()
        self.truth = truth
        self.mapping = mapping
        self.classes = logits.shape[1] if classes is None else classes
        self.activations, self.learners = activations or {}, learners
        self.picture = picture
        self._lean = lean

    @cached_property
    def logits(self) -> torch.Tensor:
        """(N, C, H, W) float32, contiguous."""
        return plain_layout(self._raw)

    @cached_property
    def valid(self) -> torch.Tensor:
        """(N, H, W) bool: pixels with a label."""
        return self.truth != IGNORE

    @cached_property
    def pixels(self) -> torch.Tensor:
        """() int64: how many pixels have a label."""
        return self.valid.sum()

    @cached_property
    def truth_ids(self) -> torch.Tensor:
        """(N, H, W) int64: `truth`, void included, in the type that indexing needs."""
        return self.truth.long()

    @cached_property
    def _peak(self) -> torch.Tensor:
        return self._planes.peak if "_planes" in self.__dict__ else self.logits.amax(1)

    @cached_property
    def _labels(self) -> torch.Tensor:
        if self._lean and "_planes" not in self.__dict__:
            return first_at(self.logits, self._peak)
        return self._planes.labels

    @cached_property
    def labels(self) -> torch.Tensor:
        """(N, H, W) int64: argmax in the network's space, ties to the lowest; C where a logit is NaN."""
        return self._labels.long()

    @cached_property
    def predicted_bytes(self) -> torch.Tensor:
        """(N, H, W) uint8: `labels` as target ids; `classes` stands for "outside the target space"."""
        if self._lean and "_planes" not in self.__dict__:
            return self._labels if self.mapping is None else self._targets.take(self.labels).to(torch.uint8)
        return self._planes.predicted

    @cached_property
    def predicted(self) -> torch.Tensor:
        """(N, H, W) int64: the same in the type that indexing needs."""
        return self.predicted_bytes.long()

    @cached_property
    def right(self) -> torch.Tensor:
        """(N, H, W) bool: labelled pixels whose prediction is the truth."""
        return (self.predicted_bytes == self.truth).logical_and_(self.valid)

    @cached_property
    def _targets(self) -> torch.Tensor:
        """(C + 1,) int64: the target id of each label; `classes` for those without, and for NaN."""
        assert self.mapping is not None
        table = torch.where(self.mapping < 0, self.classes, self.mapping)
        return torch.cat([table, table.new_tensor([self.classes])])

    @cached_property
    def _exponentials(self) -> torch.Tensor:
        """(N, C, H, W): exp(logit - largest logit of the pixel), so the largest is exactly 1."""
        return (self.logits - self._peak.unsqueeze(1)).exp_()

    @cached_property
    def _sum(self) -> torch.Tensor:
        if "_exponentials" in self.__dict__:
            return self._exponentials.sum(1)
        return self._planes.total

    @cached_property
    def log_normaliser(self) -> torch.Tensor:
        """(N, H, W) float32: log sum_c exp(logit_c)."""
        return self._sum.log().add_(self._peak)

    @cached_property
    def confidence(self) -> torch.Tensor:
        """(N, H, W) float32: the largest softmax probability, in the network's space."""
        return self._sum.reciprocal()

    @cached_property
    def truth_log_probability(self) -> torch.Tensor:
        """(N, H, W) float32: log of the probability given to the true class; 0 at void pixels.

        log p = log sum_{c: mapping(c) = truth} exp(logit_c) - log_normaliser; -inf for a class that nothing maps to.
        Both terms are taken relative to the largest logit, which keeps float32's digits.
        """
        planes = self._planes
        score = planes.truth if self.mapping is None else self._mapped_score(planes)
        return score.sub(planes.total.log()).masked_fill_(~self.valid, 0.0)

    @cached_property
    def loss(self) -> FixedSum:
        """-log p(true class) in nats, summed over the labelled pixels."""
        loss = -self.truth_log_probability  # 0 at void pixels
        below = loss < LIMIT  # false for NaN too
        return FixedSum(fixed_sum(loss, below), (~below).sum())

    @cached_property
    def target_probabilities(self) -> torch.Tensor:
        """(N, classes, H, W) float32: softmax probabilities summed over the network's classes that count as each
        target.
        """
        if self.mapping is None:
            return self._exponentials / self._sum.unsqueeze(1)
        members = self.mapping.unsqueeze(0) == torch.arange(self.classes, device=self.mapping.device).unsqueeze(1)
        with torch.autocast(self._raw.device.type, enabled=False):
            sums = torch.einsum("tc,nchw->nthw", members.float(), self._exponentials)
        return sums / self._sum.unsqueeze(1)

    @cached_property
    def label_confidence(self) -> torch.Tensor:
        """(N, H, W) float32: the probability of `predicted` in the target space, summed over the network's classes that
        count as it.

        Classes without a counterpart are one category, "outside". The same as `confidence` where both spaces are one.
        """
        planes = self._planes
        return planes.total.reciprocal() if planes.said is None else (planes.said / planes.total).clamp_(max=1.0)

    @cached_property
    def squared_error(self) -> torch.Tensor:
        """(N, H, W) float32: `sum_t (p_t - [t = truth])^2` over the target classes and "outside", 0 to 2; means nothing
        at void.
        """
        planes = self._planes
        true = self.truth_log_probability.exp()
        return (planes.squares / planes.total.square()).sub_(true, alpha=2).add_(1).clamp_(min=0)

    @cached_property
    def _planes(self) -> Planes:
        targets = None if self.mapping is None else self._targets
        return Look(self._raw, self.truth_ids, targets, self.classes).planes()

    def _mapped_score(self, planes: Planes) -> torch.Tensor:
        """(N, H, W): log sum of exp(logit - peak) over the network's classes that count as the true class."""
        score = planes.truth.log()
        faint = (planes.truth < _FAINT) & self.valid
        if bool(faint.any()):
            n, y, x = torch.nonzero(faint, as_tuple=True)
            mine = self._targets[:-1] == self.truth_ids[n, y, x].unsqueeze(1)
            alone = self._raw[n, :, y, x].masked_fill(~mine, -torch.inf).logsumexp(1)
            score[n, y, x] = alone - planes.peak[n, y, x]
        return score


def fixed_sum(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Sum of float32 `values` over the pixels `counted` (bool), in steps of `UNIT`: () int64."""
    return torch.where(counted, values, 0.0).mul_(1 / UNIT).round_().sum(dtype=torch.int64)


def _check(logits: torch.Tensor, truth: torch.Tensor, mapping: torch.Tensor | None, classes: int | None) -> None:
    if logits.ndim != 4 or truth.shape != (logits.shape[0], *logits.shape[2:]):
        raise UsageError(
            f"Logits {tuple(logits.shape)} with truth {tuple(truth.shape)}",
            "(N, C, H, W) with (N, H, W)",
            "Resize the logits to the annotation's size first",
        )
    if truth.dtype not in (torch.uint8, torch.int64):
        raise UsageError(f"Truth of type {truth.dtype}", "uint8 or int64 ids", "Convert the annotation")
    if not 1 <= logits.shape[1] <= IGNORE:
        raise UsageError(f"Logits of {logits.shape[1]} classes", f"1 to {IGNORE} classes", "Check the network's output")
    if mapping is None and classes not in (None, logits.shape[1]):
        raise UsageError(
            f"{logits.shape[1]} logits for {classes} classes",
            "a mapping between the two label spaces",
            "Give the mapping of fusionlib.data.labels.mapping",
        )
    if mapping is not None and (mapping.shape != (logits.shape[1],) or classes is None):
        raise UsageError(
            f"A mapping of shape {tuple(mapping.shape)} for {logits.shape[1]} logits",
            "one target id per logit, and the target's class count",
            "Map from the network's label space",
        )


__all__ = ["LIMIT", "UNIT", "FixedSum", "Observation", "first_maximum", "fixed_sum"]
