"""Linear CKA: do two networks represent the same pictures alike, block by block?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fusionlib.contracts import DIAGNOSTICS, Diagnostic

CHANNELS = 512
"""Blocks with more channels are represented by that many of them, evenly spaced: covariances grow with the square."""

POSITIONS = 2048
"""Positions taken of a batch's feature maps, at random: neighbours say nearly the same, and products of all of them
would take longer than the forward passes. Not evenly spaced: a stride that shares a factor with the width sees few
columns, or one.
"""


def linear_cka(first: Any, second: Any) -> float | None:
    """Similarity of two representations of the same n examples: (n, p) and (n, q) -> 0 to 1; None for a constant
    representation.

    With columns centred, `|Y'X|_F^2 / (|X'X|_F |Y'Y|_F)`: 1 for representations that agree up to rotation and scale.
    The plug-in (biased) estimator; its bias is of the order p / n, so it wants many more examples than channels.

    Source: Kornblith et al. 2019, equation 5 with the linear kernel.
    """
    left, right = (torch.as_tensor(np.asarray(one)).double() for one in (first, second))
    similarity = ActivationSimilarity(2, [(0, 1)])
    similarity.add_rows("x", [left, right])
    return similarity.compute()[0]["x"]


class ActivationSimilarity:
    """Linear CKA of M networks per block, streamed: sums and products of channels, never the activations.

    A position of a feature map is one example, its channels are the features: `POSITIONS` of each batch, drawn without
    replacement and the same for all networks, so thousands of examples from a few pictures. What is drawn follows from
    `seed`, the number of the batch and the map's size alone, not from who else is compared. The plug-in (biased)
    estimator, see `linear_cka`. Rows are shifted by the first batch's mean, so that products in their own precision
    lose nothing to large means; sums are float64.
    """

    version = 1

    def __init__(self, members: int, pairs: Sequence[tuple[int, int]], seed: int = 0) -> None:
        self.members, self.pairs, self.seed = members, tuple(pairs), seed
        self._batches: Counter[str] = Counter()
        self.counts: dict[tuple[str, int, int], int] = {}
        self._shifts: dict[tuple[str, int], torch.Tensor] = {}
        self._sums: dict[tuple[str, int], torch.Tensor] = {}
        self._products: dict[tuple[str, int, int], torch.Tensor] = {}

    def add(self, block: str, activations: Sequence[torch.Tensor | None]) -> None:
        """Add a batch of one block: M feature maps (N, C, h, w) or token sequences (N, T, C); None for a network
        without the block.

        Pairs whose positions differ are left out: their rows are not the same examples.
        """
        maps = [None if one is None else _channels_last(one) for one in activations]
        shapes = [None if one is None else tuple(one.shape[:-1]) for one in maps]
        drawn = {shape: _drawn(shape, (self.seed, self._batches[block])) for shape in shapes if shape is not None}
        self._batches[block] += 1
        self.add_rows(
            block,
            [
                None if one is None or shape is None else one[drawn[shape]]
                for one, shape in zip(maps, shapes, strict=True)
            ],
            shapes,
        )

    def add_rows(
        self, block: str, rows: Sequence[torch.Tensor | None], shapes: Sequence[tuple[int, ...] | None] | None = None
    ) -> None:
        """Add M matrices (n, C); those of equal `shapes` (by default: of equal n) hold the same n examples."""
        shapes = [None if one is None else one.shape[:1] for one in rows] if shapes is None else shapes
        moved = [
            None if one is None else self._shifted(block, number, _thinned(one)) for number, one in enumerate(rows)
        ]
        for number, one in enumerate(moved):
            if one is not None:
                self._accumulate(self._sums, (block, number), one.double().sum(0))
                self._add_product(block, number, number, one, one)
        for a, b in self.pairs:
            left, right = moved[a], moved[b]
            if left is not None and right is not None and shapes[a] == shapes[b]:
                self._add_product(block, a, b, left, right)

    def compute(self) -> list[dict[str, float | None]]:
        """For each pair, block -> CKA in the order in which the blocks ran; None where a representation is constant.

        Blocks that a pair did not share in every batch are left out.
        """
        blocks = dict.fromkeys(block for block, _, _ in self.counts)
        return [
            {
                block: self._similarity(block, a, b)
                for block in blocks
                if self.counts.get((block, a, b))
                == self.counts.get((block, a, a))
                == self.counts.get((block, b, b))
                is not None
            }
            for a, b in self.pairs
        ]

    def _add_product(self, block: str, a: int, b: int, left: torch.Tensor, right: torch.Tensor) -> None:
        self.counts[block, a, b] = self.counts.get((block, a, b), 0) + left.shape[0]
        self._accumulate(self._products, (block, a, b), (left.T @ right).double())

    def _shifted(self, block: str, number: int, rows: torch.Tensor) -> torch.Tensor:
        shift = self._shifts.setdefault((block, number), rows.mean(0))
        return rows - shift

    def _similarity(self, block: str, a: int, b: int) -> float | None:
        cross, left, right = (float(self._centred(block, i, j).square().sum()) for i, j in ((a, b), (a, a), (b, b)))
        # Constant channels leave rounding behind, not exactly 0: compare with what their mean would give.
        floors = [
            (1e-12 * self.counts[block, i, i] * float(self._shifts[block, i].double().square().sum())) ** 2
            for i in (a, b)
        ]
        if left <= floors[0] or right <= floors[1]:
            return None
        return float(min(1.0, cross / (left * right) ** 0.5))

    def _centred(self, block: str, a: int, b: int) -> torch.Tensor:
        sums = self._sums
        return self._products[block, a, b] - torch.outer(sums[block, a], sums[block, b]) / self.counts[block, a, b]

    @staticmethod
    def _accumulate(table: dict, key: tuple, value: torch.Tensor) -> None:
        table[key] = table[key] + value if key in table else value


def _channels_last(activations: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) as a view (N, h, w, C); (N, T, C) as it is."""
    return activations.permute(0, 2, 3, 1) if activations.ndim == 4 else activations


def _drawn(shape: tuple[int, ...], seed: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    """Indices (n,) into each axis of `shape` that pick a random `POSITIONS` of its elements, in their order; all where
    there are fewer.
    """
    count = math.prod(shape)
    chosen = (
        np.arange(count)
        if count <= POSITIONS
        else np.sort(np.random.default_rng(seed).choice(count, POSITIONS, replace=False, shuffle=False))
    )
    return tuple(torch.from_numpy(axis) for axis in np.unravel_index(chosen, shape))


def _thinned(rows: torch.Tensor) -> torch.Tensor:
    channels = rows.shape[1]
    if channels <= CHANNELS:
        return rows
    return rows[:, torch.linspace(0, channels - 1, CHANNELS, device=rows.device).round().long()]


DIAGNOSTICS.register("cka")(
    Diagnostic(
        "Activation similarity",
        "Linear CKA per block: 1 where both networks represent the pictures alike",
        "Kornblith et al. 2019, equation 5, linear kernel, biased estimator, positions as examples",
        "pictures",
        linear_cka,
    )
)
