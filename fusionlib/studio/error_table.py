"""Which pictures a merge gains and loses on: rankings and filters, arithmetic over what is kept of each picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fusionlib.errors import UsageError, shown
from fusionlib.measures.error_stack import EVERYTHING, ErrorStack, Pixels
from fusionlib.measures.transitions import TRANSITIONS

SORTS: Mapping[str, str] = {
    "gain": "mIoU of the picture, the merge's less the reference's, over the classes in it: most gained first",
    "loss": "the same, most lost first",
    "gain_accuracy": "pixel accuracy, the merge's less the reference's",
    "class_gain": "IoU of one class, the merge's less the reference's",
    "disagreement": "share of the labelled pixels that A and B label differently",
    "headroom": "mIoU of the oracle of A and B less that of the better of them in the picture",
    "confident_error": "confidence of the merge's wrong pixels, summed, over all pixels",
    "loss_change": "cross-entropy, the merge's less the reference's: most gone up first",
}
"""What pictures are sorted by."""


class Ranking(NamedTuple):
    """Pictures in order: their numbers, what they are sorted by (NaN: undefined, these come last), and how many of the
    pixels asked for each has.
    """

    numbers: np.ndarray
    values: np.ndarray
    pixels: np.ndarray


@dataclass
class ErrorTable:
    """What is known of every picture: `stack` from the reference to the merge, `ends` from A to B.

    `names` and `domains` (the dataset's groups, where nobody says otherwise) are of the pictures, `classes` names of
    the annotation's; `confident` is the confident error of the merge and `loss_change` that of the cross-entropy,
    (pictures,) each, NaN where undefined. `outcomes` (pictures, 2, 60) are the merge's wrong and right pixels by kept
    bin of confidence; None where nobody kept them.
    """

    names: Sequence[str]
    domains: Sequence[str]
    classes: Sequence[str]
    stack: ErrorStack
    ends: ErrorStack
    confident: np.ndarray
    loss_change: np.ndarray
    outcomes: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._columns(EVERYTHING)  # counts every stratum once, so that nobody who filters waits for it

    def ranked(
        self,
        sort: str = "gain",
        pixels: Pixels = EVERYTHING,
        domains: Sequence[str] = (),
        number: int | None = None,
        among: Sequence[int] | None = None,
    ) -> Ranking:
        """The pictures that have any of these pixels, are of these domains (none named: all) and `among` these numbers
        (None: all), in order.

        Sizes and band of `pixels` also restrict what is compared: gains, disagreement and headroom are those of such
        pixels alone. Classes, labels and transitions choose pictures only. `number` is the class of `class_gain`.
        Raises `UsageError` for an unknown order, or a class that is none.
        """
        values = self._values(sort, pixels, number)
        counts = self.stack.changes().sum(1) if pixels.everything else self._held(pixels)
        kept = counts > 0 if not pixels.everything else np.ones(len(counts), bool)
        if domains:
            kept &= np.isin(np.asarray(self.domains), list(domains))
        if among is not None:
            kept &= np.isin(np.arange(len(kept)), list(among))
        chosen = np.flatnonzero(kept)
        falling = values[chosen] if sort == "loss" else -values[chosen]
        order = chosen[np.argsort(falling, kind="stable")]  # NaN comes last
        return Ranking(order, values[order], counts[order])

    def rows(
        self,
        sort: str = "gain",
        pixels: Pixels = EVERYTHING,
        domains: Sequence[str] = (),
        number: int | None = None,
        among: Sequence[int] | None = None,
        *,
        start: int = 0,
        count: int | None = None,
    ) -> list[dict[str, Any]]:
        """The same as JSON values, `count` of them from the place `start` on: `name`, `number`, `domain`, `gain`,
        `gain_accuracy`, `miou` of both, the five transitions, `disagreement`, `headroom`, `confident_error`,
        `loss_change`, `value` (what is sorted by) and `pixels` (those asked for). None: undefined.
        """
        ranking = self.ranked(sort, pixels, domains, number, among)
        stop = None if count is None else start + count
        columns = self._columns(pixels)
        places = zip(*(part[start:stop].tolist() for part in ranking), strict=True)
        return [self._row(one, value, held, columns) for one, value, held in places]

    def holding(self, pixels: Pixels) -> list[dict[str, Any]]:
        """Pictures with such pixels, those with most first: `number`, `name`, `pixels`. A cell of a confusion matrix, a
        transition, an edge of the flow.
        """
        counts = self._held(pixels)
        order = np.argsort(-counts, kind="stable")
        order = order[counts[order] > 0]
        return [{"number": int(one), "name": self.names[one], "pixels": int(counts[one])} for one in order]

    def _held(self, pixels: Pixels) -> np.ndarray:
        """(pictures,): how many of these pixels each picture has."""
        if pixels.bin is None:
            return self.stack.holding(pixels)
        if self.outcomes is None:
            raise UsageError("Confidences that are not kept", "the calibration of all pictures", "Look into it again")
        return self.outcomes[:, :, pixels.kept_bins].sum((1, 2))

    def _values(self, sort: str, pixels: Pixels, number: int | None) -> np.ndarray:
        if sort not in SORTS:
            raise UsageError(f"An order {shown(sort)}", f"one of {', '.join(SORTS)}", "Correct it")
        if sort == "class_gain":
            if number is None or not 0 <= number < self.stack.classes:
                raise UsageError(f"Class {number}", f"0 to {self.stack.classes - 1}", "Choose a class")
            return self.stack.class_gains(number, pixels)
        return self._column(sort, pixels)

    def _column(self, name: str, pixels: Pixels) -> np.ndarray:
        made: dict[str, Callable[[Pixels], np.ndarray]] = {
            "gain": self.stack.gains,
            "loss": self.stack.gains,
            "gain_accuracy": self.stack.accuracy_gains,
            "disagreement": self.ends.disagreement,
            "headroom": self.ends.headroom,
            "confident_error": lambda _: self.confident,
            "loss_change": lambda _: self.loss_change,
        }
        return made[name](pixels)

    def _columns(self, pixels: Pixels) -> dict[str, np.ndarray]:
        names = ("gain", "gain_accuracy", "disagreement", "headroom", "confident_error", "loss_change")
        before, after = self.stack.mious(pixels)
        columns = {name: self._column(name, pixels) for name in names}
        return {**columns, "before": before, "after": after, "changes": self.stack.changes(pixels)}

    def _row(self, number: int, value: float, held: int, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
        figures = {name: _defined(part[number]) for name, part in columns.items() if part.ndim == 1}
        miou = {"reference": figures.pop("before"), "merge": figures.pop("after")}
        changes = dict(zip(TRANSITIONS, columns["changes"][number].tolist(), strict=True))
        about = {"name": self.names[number], "number": number, "domain": self.domains[number]}
        return {**about, **figures, "miou": miou, **changes, "value": _defined(value), "pixels": held}


def _defined(value: float | np.floating) -> float | None:
    return None if np.isnan(value) else float(value)
