"""The transitions of many pictures as columns: totals, classes, confusions, flows, gains, filters. Nothing runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fusionlib.contracts import IGNORE
from fusionlib.errors import UsageError, shown
from fusionlib.measures.bins import KEPT_BINS, OFFERED_BINS
from fusionlib.measures.strata import SIZES
from fusionlib.measures.transitions import STRATA, TRANSITIONS, Joint, Strata, transitions_of

Parts = np.ndarray
"""(..., 3, C) int64: pixels right, pixels of the class, pixels predicted as it. All that IoU needs, and it adds."""


_NUMBERS, _WORDS = ("truths", "references", "merges"), ("transitions", "sizes")
_BIN = re.compile(r"[0-9]{1,2}/[0-9]{1,2}")
_IDS = re.compile(r"[0-9]{1,3}(,[0-9]{1,3}){0,255}")


def _known(name: str, value: str) -> bool:
    """Whether a part of a text is one of `Pixels`; its words are looked at there."""
    numbers = name in _NUMBERS and _IDS.fullmatch(value) is not None
    words = name in _WORDS and 0 < len(value) < 200
    one = (name == "band" and value in ("0", "1")) or (name == "bin" and _BIN.fullmatch(value) is not None)
    return numbers or words or one


def _read(name: str, value: str) -> Any:
    if name == "bin":
        return tuple(map(int, value.split("/")))
    words = tuple(value.split(","))
    return words if name in _WORDS else value == "1" if name == "band" else tuple(map(int, words))


@dataclass(frozen=True)
class Pixels:
    """Which pixels: of these classes of the truth, with these labels of the reference and of the merge, these
    transitions, objects of these sizes, inside (True) or outside the band along edges. What is empty or None asks for
    nothing.

    A cell of the merge's confusion matrix is one truth and one merge, of the reference's one truth and one reference;
    an edge of the flow is one reference and one merge. Bin (k, B) of the merge's confidence, `[k / B, (k + 1) / B)`
    with an offered B, stands alone: counts by confidence know nothing of the rest.
    """

    truths: tuple[int, ...] = ()
    references: tuple[int, ...] = ()
    merges: tuple[int, ...] = ()
    transitions: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    band: bool | None = None
    bin: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name in (*_NUMBERS, *_WORDS):  # twice the same is once: strata are summed
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        if self.bin is not None:
            number, of = self.bin
            if of not in OFFERED_BINS or not 0 <= number < of or replace(self, bin=None) != Pixels():
                raise UsageError(
                    f"Bin {number} of {of} of the confidence, perhaps with more",
                    f"0 to B - 1 of B bins, one of {', '.join(map(str, OFFERED_BINS))}, alone",
                    "Choose it alone",
                )
        for given, known in ((self.transitions, TRANSITIONS), (self.sizes, SIZES)):
            if unknown := set(given) - set(known):
                raise UsageError(shown(min(unknown)), f"one of {', '.join(known)}", "Correct it")

    @property
    def everything(self) -> bool:
        """Whether it asks for nothing, so that all pixels are meant."""
        return self == type(self)()

    @property
    def text(self) -> str:
        """As a link has it: `truths=1,3;transitions=fixed;band=1`; empty for everything. `from_text` reads it."""
        values = {name: ",".join(map(str, getattr(self, name))) for name in (*_NUMBERS, *_WORDS)}
        values["band"] = "" if self.band is None else str(int(self.band))
        values["bin"] = "" if self.bin is None else "{}/{}".format(*self.bin)
        return ";".join(f"{name}={value}" for name, value in values.items() if value)

    @classmethod
    def from_text(cls, text: str) -> Pixels:
        """What `text` gives. Raises `UsageError` for anything else: links come from others."""
        found: dict[str, Any] = {}
        for part in text.split(";") if text else ():
            name, _, value = part.partition("=")
            if name in found or not _known(name, value):
                raise UsageError(
                    f"Pixels {shown(part)}",
                    "a selection such as truths=1,3;transitions=fixed;band=1",
                    "Correct the link",
                )
            found[name] = _read(name, value)
        return cls(**found)

    def chosen(
        self, truth: np.ndarray, reference: np.ndarray, merge: np.ndarray, transition: np.ndarray, stratum: np.ndarray
    ) -> np.ndarray:
        """Which of the entries or pixels, all uint8 of one shape, are asked for: bool."""
        if self.bin is not None:
            raise UsageError("Transitions by confidence", "a choice without it", "Ask for the bin alone")
        found = np.ones(truth.shape, bool)
        for wanted, values in (
            (self.truths, truth),
            (self.references, reference),
            (self.merges, merge),
            (tuple(map(TRANSITIONS.index, self.transitions)), transition),
            (self.strata if len(self.strata) < STRATA else (), stratum),
        ):
            if wanted:
                table = np.zeros(IGNORE + 1, bool)
                table[[one for one in wanted if 0 <= one <= IGNORE]] = True
                found &= table[values]
        return found

    @property
    def strata(self) -> list[int]:
        """Numbers of the strata that sizes and band leave."""
        bands = (0, 1) if self.band is None else (int(self.band),)
        return [len(SIZES) * band + SIZES.index(size) for band in bands for size in self.sizes or SIZES]

    def mask(self, strata: Strata, reference: np.ndarray, merge: np.ndarray) -> np.ndarray:
        """Which labelled pixels of a picture are asked for: its strata and label maps (H, W) uint8 -> (H, W) bool."""
        transition = transitions_of(strata.truth, reference, merge)
        return (strata.truth != IGNORE) & self.chosen(strata.truth, reference, merge, transition, strata.stratum)

    @property
    def kept_bins(self) -> range:
        """The kept bins that make up the one asked for; all where none is."""
        number, of = self.bin or (0, 1)
        share = KEPT_BINS // of
        return range(share * number, share * (number + 1))

    def mask_of_bin(self, bins: np.ndarray) -> np.ndarray:
        """The same out of the map of the measure `confidence_bins`, (H, W) uint8, where a bin is asked for."""
        return (bins >= self.kept_bins.start) & (bins < self.kept_bins.stop)


EVERYTHING = Pixels()


@dataclass(frozen=True)
class ErrorStack:
    """Transitions of `pictures` pictures, one entry per picture, truth, reference, merge and stratum.

    Columns (n,): `picture` int32, `truth`, `reference`, `merge`, `stratum` and `transition` uint8, `counts` int64.
    """

    pictures: int
    classes: int
    picture: np.ndarray
    truth: np.ndarray
    reference: np.ndarray
    merge: np.ndarray
    stratum: np.ndarray
    transition: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, joints: Sequence[Joint], classes: int) -> ErrorStack:
        """Those of pictures in order."""
        lengths = [len(one.keys) for one in joints]
        keys, counts = (
            np.concatenate([np.zeros(0, np.int32), *(getattr(one, name) for one in joints)])
            for name in ("keys", "counts")
        )
        truth, reference, merge, stratum = Joint(classes, keys, counts).columns()
        return cls(
            len(joints),
            classes,
            np.repeat(np.arange(len(joints), dtype=np.int32), lengths),
            truth,
            reference,
            merge,
            stratum,
            transitions_of(truth, reference, merge),
            counts.astype(np.int64),
        )

    @property
    def labelled(self) -> int:
        """Labelled pixels of all pictures."""
        return int(self.counts.sum())

    def chosen(self, pixels: Pixels) -> np.ndarray:
        """(n,) bool: entries of these pixels."""
        return pixels.chosen(self.truth, self.reference, self.merge, self.transition, self.stratum)

    def only(self, pixels: Pixels) -> ErrorStack:
        """These pixels of the same pictures; itself where all are asked for."""
        return self if pixels.everything else self._kept(self.chosen(pixels))

    def _kept(self, kept: np.ndarray) -> ErrorStack:
        columns = ("picture", "truth", "reference", "merge", "stratum", "transition", "counts")
        return replace(self, **{name: getattr(self, name)[kept] for name in columns})

    def holding(self, pixels: Pixels) -> np.ndarray:
        """(pictures,) int64: how many of these pixels each picture has."""
        kept = self.chosen(pixels)
        return _summed(self.picture[kept], self.counts[kept], self.pictures)

    # --- all pictures together ---

    def totals(self) -> dict[str, int]:
        """Pixels by transition; they sum to the labelled pixels."""
        return dict(zip(TRANSITIONS, _summed(self.transition, self.counts, len(TRANSITIONS)).tolist(), strict=True))

    def by_class(self) -> np.ndarray:
        """(C, 5) int64: pixels by class of the truth and transition."""
        width = len(TRANSITIONS)
        cells = self.truth.astype(np.int64) * width + self.transition
        return _summed(cells, self.counts, self.classes * width).reshape(self.classes, width)

    def confusions(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the reference and of the merge: (C, C + 1) int64, `[truth][prediction]`, the last column outside."""
        width = self.classes + 1
        first, second = (
            _summed(self.truth.astype(np.int64) * width + said, self.counts, self.classes * width)
            for said in (self.reference, self.merge)
        )
        return first.reshape(self.classes, width), second.reshape(self.classes, width)

    def flow(self, truths: Sequence[int] = ()) -> np.ndarray:
        """(C + 1, C + 1) int64: pixels from the reference's label (rows) to the merge's, of these classes of the truth
        (none named: all).
        """
        stack, width = self.only(Pixels(truths=tuple(truths))), self.classes + 1
        cells = stack.reference.astype(np.int64) * width + stack.merge
        return _summed(cells, stack.counts, width * width).reshape(width, width)

    def grouped(self, groups: Sequence[Sequence[int]]) -> ErrorStack:
        """The same in coarser classes: ids of the classes of each group. Labels of no group are outside, truths of none
        are left out.
        """
        table = np.full(IGNORE + 1, len(groups), np.uint8)
        for number, members in enumerate(groups):
            table[list(members)] = number
        kept = self._kept(table[self.truth] < len(groups))
        truth, reference, merge = (table[part] for part in (kept.truth, kept.reference, kept.merge))
        changed = transitions_of(truth, reference, merge)
        return replace(kept, classes=len(groups), truth=truth, reference=reference, merge=merge, transition=changed)

    def oracle(self) -> ErrorStack:
        """The same with, in the place of the merge, the reference's labels and the truth wherever one of the two is
        right.
        """
        right = (self.reference == self.truth) | (self.merge == self.truth)
        merge = np.where(right, self.truth, self.reference)
        return replace(self, merge=merge, transition=transitions_of(self.truth, self.reference, merge))

    # --- picture by picture, on the pixels of some strata: sums of what is counted of each stratum once ---

    @cached_property
    def parts(self) -> tuple[Parts, Parts]:
        """Of the reference and of the merge, each (pictures, 3, C) int64."""
        first, second = (part.sum(1, dtype=np.int64) for part in self._parts)
        return first, second

    def changes(self, within: Pixels = EVERYTHING) -> np.ndarray:
        """(pictures, 5) int64: pixels of each picture by transition."""
        return self._changes[:, within.strata].sum(1, dtype=np.int64)

    def accuracy_gains(self, within: Pixels = EVERYTHING) -> np.ndarray:
        """(pictures,): (fixed - broken) / labelled, the difference of pixel accuracies; NaN without labelled pixels."""
        changes = self.changes(within)
        difference = changes[:, TRANSITIONS.index("fixed")] - changes[:, TRANSITIONS.index("broken")]
        return _share(difference, changes.sum(1))

    def mious(self, within: Pixels = EVERYTHING) -> tuple[np.ndarray, np.ndarray]:
        """mIoU of each picture of the reference and of the merge, (pictures,) each, over the classes with a labelled
        pixel of the truth in that picture: the same for both networks. NaN where there is none.
        """
        first, second = (_mean_over_truth(_within(part, within)) for part in self._parts)
        return first, second

    def gains(self, within: Pixels = EVERYTHING) -> np.ndarray:
        """(pictures,): mIoU of the merge less that of the reference, see `mious`."""
        before, after = self.mious(within)
        return after - before

    def class_gains(self, number: int, within: Pixels = EVERYTHING) -> np.ndarray:
        """(pictures,): IoU of one class of the merge less that of the reference; NaN where the truth lacks it."""
        before, after = (_within(part[..., number : number + 1], within) for part in self._parts)
        return np.where(before[:, 1, 0] > 0, (ious(after) - ious(before))[:, 0], np.nan)

    def disagreement(self, within: Pixels = EVERYTHING) -> np.ndarray:
        """(pictures,): share of the labelled pixels with two labels; NaN where nothing is labelled."""
        changes = self.changes(within)
        apart = [TRANSITIONS.index(name) for name in ("fixed", "broken", "both_wrong_different")]
        return _share(changes[:, apart].sum(1), changes.sum(1))

    def headroom(self, within: Pixels = EVERYTHING) -> np.ndarray:
        """(pictures,): mIoU of the oracle of both networks less that of the better one in that picture, see `mious`."""
        return _mean_over_truth(_within(self._best, within)) - np.maximum(*self.mious(within))

    @cached_property
    def _parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the reference and of the merge, each (pictures, strata, 3, C) int32."""
        truth, outside = self._by_stratum(self.truth), self.classes
        first, second = (
            np.stack(
                [
                    self._by_stratum(np.where(said == self.truth, self.truth, outside)),
                    truth,
                    self._by_stratum(said),
                ],
                axis=2,
            )
            for said in (self.reference, self.merge)
        )
        return first, second

    @cached_property
    def _best(self) -> np.ndarray:
        """The same of the oracle."""
        return self.oracle()._parts[1]

    @cached_property
    def _changes(self) -> np.ndarray:
        """(pictures, strata, 5) int32."""
        return self._by_stratum(self.transition, len(TRANSITIONS))

    @cached_property
    def _places(self) -> np.ndarray:
        """(n,) int64: the picture's number times the strata, plus the stratum."""
        return self.picture.astype(np.int64) * STRATA + self.stratum

    def _by_stratum(self, labels: np.ndarray, width: int | None = None) -> np.ndarray:
        """(pictures, strata, width) int32, `width` by default the classes; what is outside of them is left out."""
        wide = self.classes + 1 if width is None else width
        counts = _summed(self._places * wide + labels, self.counts, self.pictures * STRATA * wide)
        return counts.reshape(self.pictures, STRATA, wide)[..., : width or self.classes].astype(np.int32)


def ious(parts: Parts) -> np.ndarray:
    """IoU per class: (..., 3, C) -> (..., C), right / (truth + predicted - right); NaN where neither has the class."""
    right, truth, predicted = np.moveaxis(parts, -2, 0)
    union = truth + predicted - right
    return np.where(union > 0, right / np.maximum(union, 1), np.nan)


def mean_iou_of(parts: Parts) -> float | None:
    """mIoU of one network on all pictures, as the confusion matrix has it: (3, C), or (pictures, 3, C) to be summed."""
    found = ious(parts if parts.ndim == 2 else parts.sum(0))
    present = found[~np.isnan(found)]
    return float(present.mean()) if len(present) else None


def _within(parts: np.ndarray, within: Pixels) -> Parts:
    """(pictures, strata, 3, C) -> (pictures, 3, C), of the strata asked for."""
    return parts[:, within.strata].sum(1, dtype=np.int64)


def _share(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.where(bottom > 0, top / np.maximum(bottom, 1), np.nan)


def _mean_over_truth(parts: Parts) -> np.ndarray:
    there = parts[:, 1] > 0
    count = there.sum(1)
    total = np.where(there, ious(parts), 0.0).sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _summed(cells: np.ndarray, counts: np.ndarray, length: int) -> np.ndarray:
    """Sums of counts by cell, (length,) int64: whole numbers below 2^53, so exact in float64."""
    return np.bincount(cells, counts, minlength=length).astype(np.int64)
