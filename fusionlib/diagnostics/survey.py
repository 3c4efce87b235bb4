"""All weight-space figures of a set of checkpoints from one pass over their files, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from fusionlib.checkpoints.arena import Arena, refuse_unless_finite
from fusionlib.checkpoints.layout import Entry, Layout
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import Progress
from fusionlib.diagnostics.discrepancy import differences
from fusionlib.diagnostics.gram import CHUNK, as_floats, cosine_from_gram, l2_from_gram, norms_from_gram, products_of
from fusionlib.errors import UsageError

PARAMETERS, WITH_STATISTICS = "parameters", "with statistics"
"""The two variants: what training optimises; or every floating tensor with a dimension, running statistics included, as
Listing 3 of the Weight Fusion paper walks them (it drops tensors without dimensions; integer tables, which it would
include, are left out).
"""

CONVOLUTION, NORM, OTHER = "convolution", "batch norm", "other"
GROUPS = (CONVOLUTION, NORM, OTHER)
"""Convolutions and linear layers; normalisation layers; anything else (slopes of activations, embeddings without a
matrix).
"""


@dataclass(frozen=True)
class PairFigures:
    """Two checkpoints over some tensors. None: no such tensors, or a vector of norm 0."""

    cosine: float | None
    l2: float | None
    norms: tuple[float, float] | None
    elements: int


@dataclass(frozen=True, eq=False)
class WeightSurvey:
    """K checkpoints, T floating tensors in the network order of the first that has them.

    `grams` (T, K, K) float64 inner products, 0 where a checkpoint lacks the tensor or has it in another shape; `shared`
    (T, K) bool says where it has it, `same` (T, K, K) bool where two hold equal numbers. With tau, for anchor i < j:
    `moved` (T, K, K) int64 elements with `|theta_j - theta_i| >= |theta_i| / tau`, and `squares` (T, K, K) float64 sums
    of `(theta_j - theta_i)^2`, which do not cancel as distances from the Gram do.
    """

    names: tuple[str, ...]
    entries: tuple[Entry, ...]
    grams: np.ndarray
    shared: np.ndarray
    same: np.ndarray
    moved: np.ndarray
    squares: np.ndarray
    tau: float | None

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Layer names in network order."""
        return tuple(dict.fromkeys(entry.layer for entry in self.entries))

    @cached_property
    def groups(self) -> dict[str, str]:
        """Layer -> convolution, batch norm or other."""
        found = dict.fromkeys(self.layers, OTHER)
        for entry in self.entries:
            if entry.kind in ("norm", "buffer"):
                found[entry.layer] = NORM
            elif entry.kind == "weight" and len(entry.shape) > 1 and found[entry.layer] == OTHER:
                found[entry.layer] = CONVOLUTION
        return found

    @cached_property
    def members(self) -> dict[str, list[int]]:
        """Layer -> numbers of its tensors."""
        found: dict[str, list[int]] = {layer: [] for layer in self.layers}
        for number, entry in enumerate(self.entries):
            found[entry.layer].append(number)
        return found

    @cached_property
    def variants(self) -> dict[str, np.ndarray]:
        """Variant -> (T,) bool: the tensors that take part."""
        return {
            PARAMETERS: np.array([entry.kind != "buffer" for entry in self.entries], dtype=bool),
            WITH_STATISTICS: np.array([len(entry.shape) > 0 for entry in self.entries], dtype=bool),
        }

    def gram(self, a: int, b: int, variant: str = PARAMETERS, tensors: Sequence[int] | None = None) -> np.ndarray:
        """(2, 2) inner products of checkpoints a and b over the tensors that both have, of these numbers or all."""
        return self.grams[np.ix_(self._numbers(a, b, variant, tensors), (a, b), (a, b))].sum(0)

    def pair(self, a: int, b: int, variant: str = PARAMETERS, tensors: Sequence[int] | None = None) -> PairFigures:
        """Cosine, distance and norms of a pair over the tensors that both have."""
        numbers = self._numbers(a, b, variant, tensors)
        elements = sum(self.entries[number].size for number in numbers)
        if not elements:
            return PairFigures(None, None, None, 0)
        products = self.grams[np.ix_(numbers, (a, b), (a, b))].sum(0)
        cosine, norms = cosine_from_gram(products)[0, 1], norms_from_gram(products)
        distance = (
            l2_from_gram(products)[0, 1]
            if self.tau is None
            else self.squares[numbers, min(a, b), max(a, b)].sum() ** 0.5
        )
        return PairFigures(
            None if np.isnan(cosine) else float(cosine), float(distance), (float(norms[0]), float(norms[1])), elements
        )

    def discrepancy(self, a: int, b: int, tensors: Sequence[int] | None = None) -> float | None:
        """Moved elements of all elements of these tensors, running statistics included as in the paper; None without
        tau or tensors.
        """
        numbers = self._numbers(a, b, None, tensors)
        elements = sum(self.entries[number].size for number in numbers)
        low, high = min(a, b), max(a, b)
        return float(self.moved[numbers, low, high].sum() / elements) if elements and self.tau is not None else None

    def of_group(self, group: str, part: str | None = None) -> list[int]:
        """Numbers of the tensors of all layers of a group, of the backbone or head alone where `part` says so."""
        return [
            number
            for number, entry in enumerate(self.entries)
            if self.groups[entry.layer] == group and part in (None, entry.part)
        ]

    def worst_block(self, a: int, b: int) -> tuple[str, float] | None:
        """The block whose convolutions have the lowest cosine, with it; None where no two can be compared."""
        sums: dict[str, np.ndarray] = {}
        for number in self._numbers(a, b, PARAMETERS, self.of_group(CONVOLUTION)):
            block = self.entries[number].block
            sums[block] = sums.get(block, 0) + self.grams[number][(a, a, b), (a, b, b)]
        known = {
            block: float(dot / (left * right) ** 0.5)
            for block, (left, dot, right) in sums.items()
            if left > 0 and right > 0
        }
        worst = min(known, key=known.__getitem__, default=None)
        return None if worst is None else (worst, known[worst])

    def identical(self, a: int, b: int) -> bool:
        """Whether all floating tensors that either has hold equal numbers in both."""
        return self.same_tensors(a, b) and bool((self.same[:, a, b] | ~self.shared[:, a]).all())

    def same_tensors(self, a: int, b: int) -> bool:
        """Whether both have every floating tensor that either has, in equal shapes."""
        return bool((self.shared[:, a] == self.shared[:, b]).all())

    def _numbers(self, a: int, b: int, variant: str | None, tensors: Sequence[int] | None) -> list[int]:
        takes = self.shared[:, a] & self.shared[:, b]
        if variant is not None:
            takes = takes & self.variants[variant]
        return np.flatnonzero(takes).tolist() if tensors is None else [number for number in tensors if takes[number]]


def survey(
    checkpoints: Sequence[Checkpoint],
    *,
    head: Sequence[str] = (),
    tau: float | None = None,
    progress: Progress | None = None,
) -> WeightSurvey:
    """Read every byte of K >= 2 checkpoints once and keep the (K, K) inner products of every floating tensor.

    Whole network, parts, layers and the path between two are sums of those. Memory does not grow with the files:
    tensors are visited one after the other, in pieces that fit the processor's cache, in one thread (a second one made
    it slower). Names and shapes need not agree; a pair is compared over what it shares. With `tau` elements that moved
    (see `discrepancy`) are counted too, for every pair with the earlier one as anchor.

    Raises: `UsageError` for fewer than two, `CheckpointError` for NaN or infinity.
    """
    if len(checkpoints) < 2:
        raise UsageError(f"{len(checkpoints)} checkpoint", "two or more to compare", "Name another checkpoint")
    if tau is not None and not tau > 0:
        raise UsageError(f"tau = {tau}", "a number above 0", "Try 10")
    entries = list(_entries(checkpoints, head))
    count, total, done = len(checkpoints), sum(entry.size for entry in entries), 0
    grams, squares = np.zeros((2, len(entries), count, count))
    moved = np.zeros((len(entries), count, count), dtype=np.int64)
    shared, same = np.zeros((len(entries), count), dtype=bool), np.zeros((len(entries), count, count), dtype=bool)
    for number, entry in enumerate(entries):
        have = [index for index, item in enumerate(checkpoints) if _has(item, entry)]
        shared[number, have] = True
        _add_tensor([checkpoints[index] for index in have], entry, have, grams[number], same[number])
        if tau is not None:
            _add_differences([checkpoints[index] for index in have], entry, have, moved[number], squares[number], tau)
        done += entry.size
        if progress is not None:
            progress(done, total)
    return WeightSurvey(
        tuple(item.name for item in checkpoints), tuple(entries), grams, shared, same, moved, squares, tau
    )


def survey_arena(arena: Arena) -> WeightSurvey:
    """The same without tau from K >= 2 packed checkpoints, whose rows are in memory already; their finite numbers are
    taken for granted.
    """
    entries, count = arena.layout.entries, len(arena)
    grams, squares = np.zeros((2, len(entries), count, count))
    same = np.zeros((len(entries), count, count), dtype=bool)
    for number, entry in enumerate(entries):
        rows = [as_floats(row[entry.offset : entry.end]) for row in arena.weights]
        grams[number] = products_of(rows)
        same[number] = _equal(rows)
    moved = np.zeros(grams.shape, dtype=np.int64)
    return WeightSurvey(
        arena.names, entries, grams, np.ones((len(entries), count), dtype=bool), same, moved, squares, None
    )


def _equal(rows: Sequence[np.ndarray]) -> np.ndarray:
    """(K, K) bool: which of K flat arrays hold equal numbers.

    Those that do not mostly differ in the first piece already.
    """
    found = np.eye(len(rows), dtype=bool)
    for a, b in combinations(range(len(rows)), 2):
        first, second = rows[a], rows[b]
        found[a, b] = found[b, a] = np.array_equal(first[:CHUNK], second[:CHUNK]) and np.array_equal(first, second)
    return found


def _add_tensor(
    holders: Sequence[Checkpoint], entry: Entry, have: Sequence[int], products: np.ndarray, same: np.ndarray
) -> None:
    rows = [as_floats(item.read(entry.name)) for item in holders]
    products[np.ix_(have, have)] = products_of(rows)
    same[np.ix_(have, have)] = _equal(rows)
    if not np.isfinite(products).all():
        for item in holders:
            refuse_unless_finite(item.name, entry.name, item.read(entry.name))


def _add_differences(
    holders: Sequence[Checkpoint], entry: Entry, have: Sequence[int], moved: np.ndarray, squares: np.ndarray, tau: float
) -> None:
    rows = [as_floats(item.read(entry.name)) for item in holders]
    for start in range(0, entry.size, CHUNK):
        pieces = [row[start : start + CHUNK] for row in rows]
        for i, left in enumerate(pieces):
            for j in range(i + 1, len(pieces)):
                count, square = differences(left, pieces[j], tau)
                moved[have[i], have[j]] += count
                squares[have[i], have[j]] += square


def _entries(checkpoints: Sequence[Checkpoint], head: Sequence[str]) -> Iterator[Entry]:
    """Floating tensors by name and shape, in the order of the first checkpoint, then those that only later ones
    have.
    """
    seen: set[tuple[str, tuple[int, ...]]] = set()
    for checkpoint in checkpoints:
        for entry in Layout.of(checkpoint.tensors, head).entries:
            if (entry.name, entry.shape) not in seen:
                seen.add((entry.name, entry.shape))
                yield entry


def _has(checkpoint: Checkpoint, entry: Entry) -> bool:
    info = checkpoint.tensors.get(entry.name)
    return info is not None and info.shape == entry.shape and info.dtype.is_floating_point
