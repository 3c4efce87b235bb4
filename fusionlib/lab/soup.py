"""Soups whose weights are learned: one backward pass a batch, whatever the number of checkpoints is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fusionlib.candidate import Candidate, Learned, Learning
from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import IGNORE, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.inputs import resized
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.observe import target_mapping
from fusionlib.errors import CheckpointError, UsageError
from fusionlib.lab.batches import CropSampler

VERSION = 1
"""Raised whenever learned weights come out otherwise: what other versions have stored is then learned anew."""

CROP = (256, 256)
COST = 3
"""Forward passes' worth of work that a picture takes, forward and backward."""


@dataclass(frozen=True)
class Mixer:
    """Sums of K rows (P,) with weights of their own for each of T groups of slices; what is in none has their mean."""

    rows: Tensor
    groups: tuple[tuple[slice, ...], ...]

    def merged(self, weights: Tensor) -> Tensor:
        """`sum_k w_tk theta_k` in each group t: weights (T, K) -> (P,) in the rows' dtype, without a gradient."""
        with torch.no_grad():
            mean = weights.mean(0).to(self.rows.dtype)
            out = (mean @ self.rows).contiguous()
            for group, row in zip(self.groups, weights.to(self.rows.dtype), strict=True):
                for part in group:
                    torch.mv(self.rows[:, part].T, row, out=out[part])
        return out

    def gradient(self, of_merged: Tensor) -> Tensor:
        """`dL/dw_tk = <dL/dtheta, theta_k>` over group t: the gradient (P,) of what was merged -> (T, K) float64."""
        found = torch.zeros(len(self.groups), len(self.rows), dtype=torch.float64)
        for place, group in enumerate(self.groups):
            for part in group:
                found[place] += torch.mv(self.rows[:, part].double(), of_merged[part].double()).cpu()
        return found


class SoupLearner:
    """Weights `softmax(raw)` of a mixer and the scale `beta` of logits, and AdamW on both.

    `loss_of` takes merged weights (P,), which want a gradient, and beta () and gives the loss ().
    """

    def __init__(self, mixer: Mixer, rate: float) -> None:
        self.mixer = mixer
        self.raw = torch.ones(len(mixer.groups), len(mixer.rows), dtype=torch.float64, requires_grad=True)
        self.beta = torch.ones((), dtype=torch.float64, requires_grad=True)
        self._optimiser = torch.optim.AdamW([self.raw, self.beta], lr=rate, weight_decay=0)

    @property
    def weights(self) -> Tensor:
        """(T, K) float64, rows sum to 1."""
        return self.raw.detach().softmax(1)

    def gradients(self, loss_of: Callable[[Tensor, Tensor], Tensor]) -> float:
        """Put the gradients of raw and beta where the optimiser looks for them; the loss."""
        with torch.enable_grad():
            weights = self.raw.softmax(1)
            leaf = self.mixer.merged(weights.detach()).requires_grad_()
            loss = loss_of(leaf, self.beta)
            of_merged, of_beta = torch.autograd.grad(loss, (leaf, self.beta))
            (of_raw,) = torch.autograd.grad(weights, self.raw, self.mixer.gradient(of_merged))
        self.raw.grad, self.beta.grad = of_raw, of_beta
        return float(loss.detach())

    def step(self, loss_of: Callable[[Tensor, Tensor], Tensor]) -> float:
        """One step; the loss before it. Raises `CheckpointError` where it is no number."""
        loss = self.gradients(loss_of)
        if not np.isfinite(loss):
            raise CheckpointError(
                "The loss of these merges is NaN or infinite, and has no gradient to follow",
                "checkpoints whose merges run in float32",
                "Leave one out, or choose another strategy",
            )
        self._optimiser.step()
        return loss


class Lesson:
    """One learning: checkpoints of an arena, the network that runs them, labelled pictures."""

    def __init__(self, arena: Arena, network: BoundNetwork, pictures: DecodedCache, wish: Learning) -> None:
        self.arena, self.network, self.pictures, self.wish = arena, network, pictures, wish
        self.entries = [entry for entry in arena.layout.entries if entry.kind != "buffer"]
        parts = tuple(slice(entry.offset, entry.end) for entry in self.entries)
        groups = tuple((part,) for part in parts) if wish.by_tensor else (parts,)
        self.learner = SoupLearner(Mixer(arena.weights, groups), wish.rate)
        self.sampler = CropSampler(pictures, CROP, wish.batch, wish.seed)

    @property
    def passes(self) -> int:
        """Forward passes' worth of work."""
        return COST * self.pictures_seen

    @property
    def pictures_seen(self) -> int:
        """How many pictures go forward and backward."""
        return self.wish.epochs * len(self.sampler) * min(self.wish.batch, len(self.pictures))

    def learn(self, run: Callable[[Callable[[], float]], float], progress: Progress) -> Learned:
        """All epochs, every step through `run`. Progress is in forward passes' worth; it may raise `Cancelled`."""
        done, losses = 0, []
        for epoch in range(self.wish.epochs):
            seen = []
            for batch in self.sampler.epoch(epoch):
                progress(done, self.passes)
                seen.append(run(lambda b=batch: self.learner.step(self._loss(b.images, b.truths))))
                done += COST * len(batch.images)
            losses.append(float(np.mean(seen)))
        progress(done, self.passes)
        return Learned(self._candidate(), float(self.learner.beta.detach()), tuple(losses), self.passes)

    def _loss(self, images: np.ndarray, truths: np.ndarray) -> Callable[[Tensor, Tensor], Tensor]:
        """Mean cross-entropy of labelled pixels as a function of merged weights and beta."""
        truth = torch.from_numpy(truths).long().to(self.network.device)

        def loss(merged: Tensor, beta: Tensor) -> Tensor:
            self.network.load(merged.detach())  # statistics: they have no gradient
            logits = self.network.differentiable(merged, images)
            logits = resized(logits, truth.shape[1:])  # of a padded picture off by less than a pixel of the network's
            return cross_entropy(logits * beta.to(logits), truth, self._members)

        return loss

    @cached_property
    def _members(self) -> Tensor | None:
        """(targets, C): which of the network's classes count as each class of the annotation; None: the same ones."""
        target, device = self.pictures.label_space, self.network.device
        mapping = target_mapping(self.network.space, target, device)
        if mapping is None:
            return None
        return (mapping.unsqueeze(0) == torch.arange(target.count, device=device).unsqueeze(1)).float()

    def _candidate(self) -> Candidate:
        weights = self.learner.weights
        whole = _row(weights.mean(0))
        if not self.wish.by_tensor:
            return Candidate(whole)
        units = tuple((entry.name, _row(row)) for entry, row in zip(self.entries, weights, strict=True))
        return Candidate(whole, units, "tensor")


def cross_entropy(logits: Tensor, truth: Tensor, members: Tensor | None = None) -> Tensor:
    """Mean of -log p(truth) over labelled pixels: logits (N, C, H, W), truth (N, H, W) int64, `members` (targets, C) as
    of `Lesson`; 0 where no pixel has a label.
    """
    scores = logits.log_softmax(1)
    if members is not None:
        shares = torch.einsum("tc,nchw->nthw", members, scores.exp())
        scores = shares.clamp(min=torch.finfo(shares.dtype).tiny).log().contiguous()  # what nll_loss goes back through
    labelled = (truth != IGNORE).sum().clamp(min=1)
    return functional.nll_loss(scores, truth, ignore_index=IGNORE, reduction="sum") / labelled


def refuse_other_sizes(pictures: DecodedCache) -> None:
    """Raises `UsageError` for pictures smaller than a crop and of several sizes: they make no batch."""
    sizes: set[Sequence[int]] = {
        tuple(min(side, most) for side, most in zip(pictures.size(index), CROP, strict=True))
        for index in range(len(pictures))
    }
    if len(sizes) > 1:
        raise UsageError(
            f"Pictures of {len(sizes)} sizes, some below {CROP[1]}x{CROP[0]}",
            "pictures of one size, or larger ones",
            "Choose other data, or another strategy",
        )


def _row(weights: Tensor) -> tuple[float, ...]:
    """Weights as they are written: rounded, and summing to 1."""
    row = [round(float(one), 9) for one in weights]
    row[row.index(max(row))] += 1 - sum(row)
    return tuple(row)
