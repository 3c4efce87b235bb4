"""What one batch shows: logits and truth, and everything that meters derive from them, computed once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from fusionlib.contracts import IGNORE
from fusionlib.errors import UsageError

_FAINT = 1e-30
"""Below this a float32 sum of exponentials has lost digits to underflow and is computed again, relative to itself."""


_BAND = 16
"""Rows copied at a time."""

_CACHED = 440_000
"""Logits worked on at a time by each thread: few enough for the cache beside it, enough that starting the threads costs
little.
"""


class Planes(NamedTuple):
    """What one pass over the logits leaves of each pixel, (N, H, W) each, all relative to the exponential of its
    largest logit.

    `total`: sum of exponentials; `label`, `truth`: of those that count as the predicted and as the true class (any
    class at void pixels); `squares`: sum of squares over the classes of the target space and "outside".
    """

    total: torch.Tensor
    label: torch.Tensor
    truth: torch.Tensor
    squares: torch.Tensor


def first_maximum(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest logit of each pixel and its class: (N, C, H, W) -> (N, H, W) float, (N, H, W) int64; C up to 255.

    Ties go to the lowest class, as `logits.max(1)` does, and a pixel with a NaN gets C (no class). Comparing with the
    maximum and reducing bytes takes a third of the time of `max(1)`, whose index bookkeeping is not vectorised.
    """
    peak = logits.amax(1)
    return peak, _first_at(logits, peak)


def _first_at(logits: torch.Tensor, peak: torch.Tensor) -> torch.Tensor:
    """(N, H, W) int64: the first class whose logit is the pixel's largest."""
    classes = logits.shape[1]
    countdown = torch.arange(classes, 0, -1, dtype=torch.uint8, device=logits.device).view(1, -1, 1, 1)
    rank = _reaches(logits, peak.unsqueeze(1)).mul_(countdown).amax(1)
    return classes - rank.long()


def _reaches(logits: torch.Tensor, peak: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) uint8: 1 where the logit is not below `peak`.

    NumPy compares three times faster than torch on CPUs.
    """
    if logits.device.type == "cpu" and logits.dtype == torch.float32:
        return torch.from_numpy(np.greater_equal(logits.detach().numpy(), peak.detach().numpy()).view(np.uint8))
    return (logits >= peak).view(torch.uint8)


def _plain_layout(logits: torch.Tensor) -> torch.Tensor:
    """`logits.contiguous()`: reductions over the class axis are 2-10 times slower on channels_last than this copy.

    Band by band the transposition stays in the processor's cache, which makes it three times faster.
    """
    if logits.is_contiguous() or logits.is_cuda:
        return logits.contiguous()
    plain = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
    for top in range(0, logits.shape[2], _BAND):
        plain[:, :, top : top + _BAND] = logits[:, :, top : top + _BAND]
    return plain


class Observation:
    """One batch, shared by all meters: each property is computed at its first use and kept.

    `logits` (N, C, H, W) floating, at the annotation's size, and computed with in float32; `truth` (N, H, W) uint8 or
    int64 ids of the target space, `IGNORE` for void; `mapping` (C,) int64 target id of each of the network's classes,
    -1 for none, or None when both spaces are the same; `classes` the target space's class count (default C).
    An ensemble is observed through the logarithms of its probabilities.

    Raises `UsageError` when shapes or types do not fit. Ids of `truth` are checked where they are counted.
    """

    def __init__(
        self, logits: torch.Tensor, truth: torch.Tensor, mapping: torch.Tensor | None = None, classes: int | None = None
    ) -> None:
        _check(logits, truth, mapping, classes)
        self.logits = _plain_layout(logits.float())
        self.truth = truth
        self.mapping = mapping
        self.classes = logits.shape[1] if classes is None else classes

    @cached_property
    def valid(self) -> torch.Tensor:
        """(N, H, W) bool: pixels with a label."""
        return self.truth != IGNORE

    @cached_property
    def truth_ids(self) -> torch.Tensor:
        """(N, H, W) int64: `truth`, void included, in the type that indexing needs."""
        return self.truth.long()

    @cached_property
    def _peak(self) -> torch.Tensor:
        return self.logits.amax(1)

    @cached_property
    def labels(self) -> torch.Tensor:
        """(N, H, W) int64: argmax in the network's space, ties to the lowest; C where a logit is NaN."""
        return _first_at(self.logits, self._peak)

    @cached_property
    def predicted(self) -> torch.Tensor:
        """(N, H, W) int64: `labels` as target ids; `classes` stands for "outside the target space"."""
        if self.mapping is None:
            return self.labels
        table = torch.where(self.mapping < 0, self.classes, self.mapping)
        return torch.cat([table, table.new_tensor([self.classes])]).take(self.labels)

    @cached_property
    def _exponentials(self) -> torch.Tensor:
        """(N, C, H, W): exp(logit - largest logit of the pixel), so the largest is exactly 1."""
        return (self.logits - self._peak.unsqueeze(1)).exp_()

    @cached_property
    def _sum(self) -> torch.Tensor:
        return self._planes.total if "_planes" in self.__dict__ else self._exponentials.sum(1)

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
        ids = self.truth_ids.clamp(max=self.classes - 1).unsqueeze(1)  # void: any class, masked below
        if self.mapping is not None:
            score = self._mapped_score(ids, self.mapping)
        elif "_planes" in self.__dict__:
            return self._planes.truth.sub(self._sum.log()).masked_fill_(~self.valid, 0.0)
        else:
            score = self.logits.gather(1, ids).squeeze(1) - self._peak
        return score.sub_(self._sum.log()).masked_fill_(~self.valid, 0.0)

    @cached_property
    def target_probabilities(self) -> torch.Tensor:
        """(N, classes, H, W) float32: softmax probabilities summed over the network's classes that count as each
        target.
        """
        if self.mapping is None:
            return self._exponentials / self._sum.unsqueeze(1)
        return self._sums_by_target(self._members(self.mapping)) / self._sum.unsqueeze(1)

    @cached_property
    def label_confidence(self) -> torch.Tensor:
        """(N, H, W) float32: the probability of `predicted` in the target space, summed over the network's classes that
        count as it.

        Classes without a counterpart are one category, "outside". The same as `confidence` where both spaces are one.
        """
        planes = self._planes
        return self.confidence if self.mapping is None else (planes.label / planes.total).clamp_(max=1.0)

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
        ids = self.truth_ids.clamp(max=self.classes - 1).unsqueeze(1)
        members = (
            None
            if self.mapping is None
            else torch.cat([self._members(self.mapping), (self.mapping < 0).unsqueeze(0)]).float()
        )
        planes = Planes(*(torch.empty_like(self._peak) for _ in Planes._fields))
        with torch.autocast(self.logits.device.type, enabled=False):
            for band in self._bands():
                self._fill(Planes(*(plane[band] for plane in planes)), band, ids, members)
        return planes

    def _bands(self) -> Iterator[tuple[slice, slice]]:
        images, classes, height, width = self.logits.shape
        rows = height if self.logits.is_cuda else max(1, _CACHED * torch.get_num_threads() // (classes * width))
        for image in range(images):
            for top in range(0, height, rows):
                yield slice(image, image + 1), slice(top, top + rows)

    def _fill(self, planes: Planes, band: tuple[slice, slice], ids: torch.Tensor, members: torch.Tensor | None) -> None:
        """One band of `_planes`; without a mapping `truth` is a logit less the largest, exact to float32, and `label`
        is not needed.
        """
        image, rows = band
        shifted = self.logits[image, :, rows] - self._peak[band].unsqueeze(1)
        if members is None:
            torch.gather(shifted, 1, ids[image, :, rows], out=planes.truth.unsqueeze(1))
        weights = shifted.exp_()
        torch.sum(weights, 1, out=planes.total)
        if members is not None:
            weights = torch.matmul(members, weights.flatten(2)).view(1, len(members), *weights.shape[2:])
            planes.label.copy_(weights.gather(1, self.predicted[band].unsqueeze(1)).squeeze(1))
            torch.gather(weights, 1, ids[image, :, rows], out=planes.truth.unsqueeze(1))
        torch.sum(weights.mul_(weights), 1, out=planes.squares)

    def _members(self, mapping: torch.Tensor) -> torch.Tensor:
        """(classes, C) bool: which of the network's classes count as each target."""
        return mapping.unsqueeze(0) == torch.arange(self.classes, device=mapping.device).unsqueeze(1)

    def _sums_by_target(self, members: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.logits.device.type, enabled=False):
            return torch.einsum("tc,nchw->nthw", members.float(), self._exponentials)

    def _mapped_score(self, ids: torch.Tensor, mapping: torch.Tensor) -> torch.Tensor:
        """(N, H, W): log sum of exp(logit - peak) over the network's classes that count as class `ids` (N, 1, H, W)."""
        members = self._members(mapping)
        if "_planes" in self.__dict__:
            total = self._planes.truth
        else:
            total = self._sums_by_target(members).gather(1, ids).squeeze(1)
        score = total.log()
        n, y, x = torch.nonzero((total < _FAINT) & self.valid, as_tuple=True)
        if len(n):
            alone = self.logits[n, :, y, x].masked_fill(~members[ids[n, 0, y, x]], -torch.inf).logsumexp(1)
            score[n, y, x] = alone - self._peak[n, y, x]
        return score


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
