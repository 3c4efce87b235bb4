"""One pass over logits: what is kept of each pixel, band by band in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

_BAND = 16
"""Rows copied at a time."""

_CACHED = 440_000
"""Logits worked on at a time by each thread: few enough for the cache beside it, enough that starting the threads costs
little.
"""


class Planes(NamedTuple):
    """What one pass over the logits leaves of each pixel, (N, H, W) each, floats in float32.

    `peak`: the largest logit; `labels` uint8: the first class that has it, C where a logit is NaN; `predicted` uint8:
    the same in the target space (without a mapping the same tensor). Relative to the exponential of `peak`: `total`,
    the sum of exponentials; `said` and `truth`, of those that count as the predicted and as the true class (any class
    at void pixels); `squares`, the sum of squares over the classes of the target space and "outside". Without a mapping
    `said` is 1 everywhere and not held, and `truth` a logit less `peak`, which keeps its digits.
    """

    peak: torch.Tensor
    labels: torch.Tensor
    predicted: torch.Tensor
    total: torch.Tensor
    said: torch.Tensor | None
    truth: torch.Tensor
    squares: torch.Tensor

    def part(self, image: int, rows: slice) -> Planes:
        """Views (h, W) of some rows of one picture."""
        place = image, rows
        return Planes(
            self.peak[place],
            self.labels[place],
            self.predicted[place],
            self.total[place],
            None if self.said is None else self.said[place],
            self.truth[place],
            self.squares[place],
        )


def first_maximum(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest logit of each pixel and its class: (N, C, H, W) -> (N, H, W) float, (N, H, W) int64; C up to 255.

    Ties go to the lowest class, as `logits.max(1)` does, and a pixel with a NaN gets C (no class). Comparing with the
    maximum and reducing bytes takes a third of the time of `max(1)`, whose index bookkeeping is not vectorised.
    """
    peak = logits.amax(1)
    return peak, first_at(logits, peak).long()


def first_at(logits: torch.Tensor, peak: torch.Tensor) -> torch.Tensor:
    """(N, H, W) uint8: the first class whose logit is the pixel's largest."""
    classes = logits.shape[1]
    countdown = torch.arange(classes, 0, -1, dtype=torch.uint8, device=logits.device).view(1, -1, 1, 1)
    return classes - _reaches(logits, peak.unsqueeze(1)).mul_(countdown).amax(1)


def _reaches(logits: torch.Tensor, peak: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) uint8: 1 where the logit is not below `peak`.

    NumPy compares three times faster than torch on CPUs.
    """
    if logits.device.type == "cpu" and logits.dtype == torch.float32:
        return torch.from_numpy(np.greater_equal(logits.detach().numpy(), peak.detach().numpy()).view(np.uint8))
    return (logits >= peak).view(torch.uint8)


def plain_layout(logits: torch.Tensor) -> torch.Tensor:
    """`logits.contiguous()`: reductions over the class axis are 2-10 times slower on channels_last than this copy.

    Band by band the transposition stays in the processor's cache, which makes it three times faster.
    """
    if logits.is_contiguous() or logits.is_cuda:
        return logits.contiguous()
    plain = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
    for top in range(0, logits.shape[2], _BAND):
        plain[:, :, top : top + _BAND] = logits[:, :, top : top + _BAND]
    return plain


class Look:
    """The pass itself. `logits` (N, C, H, W) float32 in any layout, `truth` (N, H, W) int64 ids, above `classes` - 1
    void, `targets` (C + 1,) int64: the target id of each label, `classes` for none; None where both spaces are one.
    """

    def __init__(self, logits: torch.Tensor, truth: torch.Tensor, targets: torch.Tensor | None, classes: int) -> None:
        self.logits, self.truth, self.targets, self.classes = logits, truth, targets, classes
        self._members = None if targets is None else _members(targets[:-1].tolist(), classes)

    def planes(self) -> Planes:
        """All planes of all pictures."""
        shape, device = (self.logits.shape[0], *self.logits.shape[2:]), self.logits.device
        mapped = self.targets is not None
        peak, total, truth, squares = (torch.empty(shape, device=device) for _ in range(4))
        said = torch.empty(shape, device=device) if mapped else None
        labels = torch.empty(shape, dtype=torch.uint8, device=device)
        predicted = torch.empty_like(labels) if mapped else labels
        planes = Planes(peak, labels, predicted, total, said, truth, squares)
        with torch.autocast(device.type, enabled=False):
            scratch = self._scratch()
            for image, rows in self._bands():
                self._fill(planes.part(image, rows), image, rows, scratch)
        return planes

    def _rows(self) -> int:
        _, classes, height, width = self.logits.shape
        return height if self.logits.is_cuda else max(1, _CACHED * torch.get_num_threads() // (classes * width))

    def _bands(self) -> Iterator[tuple[int, slice]]:
        for image in range(self.logits.shape[0]):
            for top in range(0, self.logits.shape[2], self._rows()):
                yield image, slice(top, top + self._rows())

    def _scratch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Room for the exponentials of a band and for their sums by target: fresh memory would cost as much as the
        arithmetic.
        """
        _, classes, height, width = self.logits.shape
        pixels = min(height, self._rows()) * width
        counts = (classes, len(self._members or ()))
        first, second = (torch.empty(count * pixels, device=self.logits.device) for count in counts)
        return first, second

    def _fill(self, band: Planes, image: int, rows: slice, scratch: tuple[torch.Tensor, torch.Tensor]) -> None:
        logits = self.logits[image, :, rows]
        weights = scratch[0][: logits.numel()].view(logits.shape).copy_(logits)
        torch.amax(weights, 0, out=band.peak)
        band.labels.copy_(first_at(weights.unsqueeze(0), band.peak.unsqueeze(0))[0])
        weights.sub_(band.peak)
        true = self.truth[image, rows].clamp(max=self.classes - 1).unsqueeze(0)
        if self.targets is None:
            torch.gather(weights, 0, true, out=band.truth.unsqueeze(0))
        torch.sum(weights.exp_(), 0, out=band.total)
        if self.targets is not None and band.said is not None:
            weights = self._by_target(weights, scratch[1])
            said = self.targets.take(band.labels.long())
            band.predicted.copy_(said)
            torch.gather(weights, 0, true, out=band.truth.unsqueeze(0))
            torch.gather(weights, 0, said.unsqueeze(0), out=band.said.unsqueeze(0))
        torch.sum(weights.mul_(weights), 0, out=band.squares)

    def _by_target(self, weights: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
        """Sums of `weights` (C, h, W) over the classes that count as each target, and as none: (classes + 1, h, W).

        Plane by plane: faster than a product of matrices, and a pixel's sum has one order whatever lies beside it.
        """
        assert self._members is not None
        sums = room[: len(self._members) * weights[0].numel()].view(-1, *weights.shape[1:])
        for total, members in zip(sums, self._members, strict=True):
            if len(members) < 2:
                total.copy_(weights[members[0]]) if members else total.zero_()
                continue
            torch.add(weights[members[0]], weights[members[1]], out=total)
            for member in members[2:]:
                total += weights[member]
        return sums


def _members(targets: list[int], classes: int) -> list[list[int]]:
    """Which of the network's classes count as each target, and last which count as none."""
    return [[label for label, own in enumerate(targets) if own == target] for target in range(classes + 1)]
