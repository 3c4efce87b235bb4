"""How much of a merge's gain may be chance: a paired bootstrap over pictures that err together.

Units are drawn anew, with all networks measured on the same draw, and the best merge and the better network are chosen
again in each draw, so that the interval knows how uncertain the choice is. It does not take the optimism of choosing
away: among seven merges as good as their ends and as alike as neighbours of a path (errors correlated by 0.9) the lower
bound was above 0 in 1 to 3 of 100 simulated trials, among seven whose errors have nothing in common in 13.

Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile intervals); resampling
groups, and runs of neighbours where there are few: Kuensch, "The jackknife and the bootstrap for general stationary
observations", 1989.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fusionlib.errors import UsageError

RESAMPLES = 2000
SEED = 0
COVERAGE = 0.95

MANY = 10
"""Groups: from here on they are resampled, below runs of neighbouring pictures are."""

RUN = 10
"""Pictures of a run."""

FEWEST = 5
"""Units: what fewer of them say of chance is chance itself."""

PICTURES, GROUPS, RUNS = "pictures", "groups of pictures", f"runs of up to {RUN} neighbouring pictures"

_SINGULAR = {PICTURES: "picture", GROUPS: "group of pictures", RUNS: f"run of up to {RUN} neighbouring pictures"}


@dataclass(frozen=True)
class Units:
    """What is resampled: the number of each picture's unit, from 0 on, and what the units are."""

    places: tuple[int, ...]
    kind: str

    @property
    def count(self) -> int:
        """How many there are."""
        return 1 + max(self.places, default=-1)

    @property
    def enough(self) -> bool:
        """Whether an interval can be told from them."""
        return self.count >= FEWEST

    @property
    def words(self) -> str:
        """`11 runs of up to 10 neighbouring pictures`."""
        return f"{self.count} {self.noun}"

    @property
    def noun(self) -> str:
        """The kind, as it stands behind the count."""
        return _SINGULAR[self.kind] if self.count == 1 else self.kind


def units_of(groups: Sequence[str]) -> Units:
    """What to resample of pictures that belong to these groups, in the order of the dataset.

    Groups, where there are `MANY` or more; else runs of `RUN` pictures that follow one another in a group, the last of
    which may be shorter.
    """
    if len(set(groups)) == len(groups):
        return Units(tuple(range(len(groups))), PICTURES)
    if len(set(groups)) >= MANY:
        return Units(_numbered(groups), GROUPS)
    seen: dict[str, int] = {}
    runs = []
    for group in groups:
        seen[group] = seen.get(group, -1) + 1
        runs.append((group, seen[group] // RUN))
    return Units(_numbered(runs), RUNS)


def unit_totals(matrices: Iterable[np.ndarray], units: Units) -> np.ndarray:
    """Confusion matrices of a network on each picture (C, C + 1), as `[truth][predicted]` -> all that IoU needs of each
    unit (units, 3, C) float64: pixels right, pixels of the class, pixels predicted as it.

    Whole numbers below 2^53, so that sums are exact. Raises `UsageError` where there are not as many as pictures.
    """
    parts = [np.stack((np.diagonal(one), one.sum(1), one[:, : len(one)].sum(0))) for one in matrices]
    return units_summed(parts, units)


def units_summed(parts: Sequence[np.ndarray] | np.ndarray, units: Units) -> np.ndarray:
    """The same of what IoU needs of each picture, (pictures, 3, C): pixels right, of the class, predicted as it."""
    if len(parts) != len(units.places):
        raise UsageError(
            f"{len(parts)} confusion matrices", f"one for each of {len(units.places)} pictures", "Add them"
        )
    totals = np.zeros((units.count, *parts[0].shape))
    np.add.at(totals, np.array(units.places), np.stack(list(parts)))
    return totals


def mean_ious(draws: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """mIoU of the summed confusion matrix in each draw: how often each unit was drawn (B, units), `unit_totals` of a
    network -> (B,).

    Over the classes that truth or prediction have in that draw; NaN where they have none.
    """
    ious = class_ious(draws, totals)
    present = (~np.isnan(ious)).sum(1)
    return np.where(present > 0, np.nansum(ious, 1) / np.maximum(present, 1), np.nan)


def class_ious(draws: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """IoU per class of the summed confusion matrix in each draw, see `mean_ious`: (B, C), NaN where truth and
    prediction both lack the class.
    """
    right, truth, predicted = np.moveaxis(
        (draws @ totals.reshape(len(totals), -1)).reshape(-1, *totals.shape[1:]), 1, 0
    )
    union = truth + predicted - right
    return np.where(union > 0, right / np.where(union > 0, union, 1), np.nan)


def resampled_gains(
    ends: Sequence[np.ndarray], merges: Sequence[np.ndarray], *, resamples: int = RESAMPLES, seed: int = SEED
) -> np.ndarray:
    """Gain of the best merge over the best end in each of `resamples` draws of as many units as there are: (B,).

    `max over merges of mIoU - max over ends of mIoU`, each network's `unit_totals` given. Draws without a labelled
    pixel are left out.
    """
    draws = _draws(len(ends[0]), resamples, seed)
    best, single = (np.max([mean_ious(draws, one) for one in networks], axis=0) for networks in (merges, ends))
    gains = best - single
    return gains[~np.isnan(gains)]


def resampled_scores(
    networks: Sequence[np.ndarray], *, resamples: int = RESAMPLES, seed: int = SEED
) -> np.ndarray | None:
    """mIoU of each network, their `unit_totals` given, in the same draws: (B, networks); None for fewer than `FEWEST`
    units. Draws without a labelled pixel are left out.
    """
    if len(networks[0]) < FEWEST:
        return None
    draws = _draws(len(networks[0]), resamples, seed)
    scores = np.stack([mean_ious(draws, one) for one in networks], axis=1)
    return scores[~np.isnan(scores).any(1)]


def draws_within(
    counts: Sequence[int], alike: Sequence[Hashable], *, resamples: int = RESAMPLES, seed: int = SEED
) -> list[np.ndarray] | None:
    """How often each unit of each domain was drawn: (resamples, units) for each, drawn within it as many as it has.

    Domains that are `alike` are the same pictures in another state, which err together: one draw serves all of them.
    None where a domain has fewer than `FEWEST` units.
    """
    if min(counts) < FEWEST:
        return None
    keys = list(zip(counts, alike, strict=True))
    seeds = {key: (seed, number) if number else seed for number, key in enumerate(dict.fromkeys(keys))}
    drawn = {key: _draws(key[0], resamples, one) for key, one in seeds.items()}
    return [drawn[key] for key in keys]


def harmonic_means(scores: np.ndarray) -> np.ndarray:
    """`D / sum_d 1 / x_d` of scores from 0 on, the domains first (D, ...) -> (...); 0 where one is 0, NaN where one is.

    Source: "Training-Free Model Merging for Multi-target Domain Adaptation", section 4.1 and table 3.
    """
    if len(scores) == 1:
        return scores[0]
    with np.errstate(divide="ignore"):
        return len(scores) / (1 / scores).sum(0)


def resampled_harmonics(
    networks: Sequence[Sequence[np.ndarray]], *, resamples: int = RESAMPLES, seed: int = SEED
) -> np.ndarray | None:
    """The harmonic mean over domains of each network's mIoU, its `unit_totals` on each domain given, in the same draws:
    (B, networks); None where a domain has fewer than `FEWEST` units.

    Units are drawn within each domain, and one domain does not know of another. Of one domain it is `resampled_scores`.
    Draws without a labelled pixel in some domain are left out.
    """
    draws = draws_within([len(one) for one in networks[0]], range(len(networks[0])), resamples=resamples, seed=seed)
    if draws is None:
        return None
    scores = [[mean_ious(drawn, one[at]) for one in networks] for at, drawn in enumerate(draws)]
    means = harmonic_means(np.array(scores))
    return means.T[~np.isnan(means).any(0)]


def gain_interval(
    ends: Sequence[np.ndarray], merges: Sequence[np.ndarray], *, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float] | None:
    """The middle 95 % of `resampled_gains`, as fractions of mIoU; None for fewer than `FEWEST` units, or no pixels."""
    if len(ends[0]) < FEWEST:
        return None
    gains = resampled_gains(ends, merges, resamples=resamples, seed=seed)
    if not len(gains):
        return None
    return middle(gains)


def class_intervals(
    reference: np.ndarray, merge: np.ndarray, *, resamples: int = RESAMPLES, seed: int = SEED
) -> list[tuple[float, float] | None]:
    """The middle 95 % of each class's IoU of the merge less that of the reference, both `unit_totals`, on the same
    draws.

    Draws in which a class has no IoU with one of them do not count for it; None where none does, and for fewer than
    `FEWEST` units.
    """
    if len(reference) < FEWEST:
        return [None] * reference.shape[2]
    draws = _draws(len(reference), resamples, seed)
    gains = class_ious(draws, merge) - class_ious(draws, reference)
    known = (column[~np.isnan(column)] for column in gains.T)
    return [middle(column) if len(column) else None for column in known]


def _draws(count: int, resamples: int, seed: int | tuple[int, int]) -> np.ndarray:
    """How often each of `count` units was drawn, (resamples, count) float64."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples).astype(np.float64)


def middle(gains: np.ndarray) -> tuple[float, float]:
    """The percentile interval of what came out in the draws (B,): from the 2.5th to the 97.5th."""
    low, high = np.quantile(gains, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def in_points(interval: Sequence[float]) -> str:
    """`+0.4 to +2.9`: fractions as points, with more digits where the first would hide the side of 0 (`+0.003`)."""
    return " to ".join(f"{100 * bound:+{'.1f' if abs(bound) >= 0.0005 else '.1g'}}" for bound in interval)


def _numbered(names: Sequence[object]) -> tuple[int, ...]:
    """Numbers in order of first appearance."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return tuple(numbers[name] for name in names)
