"""What keeps checkpoints of a set from being measured, alone, in pairs and along the path between two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from fusionlib.architectures.nearest import explanations
from fusionlib.architectures.recognise import network_of
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import LabelSpace, label_space, mapping
from fusionlib.engine.identity import Network
from fusionlib.errors import FusionError
from fusionlib.studies.diagnose import Pair
from fusionlib.studio.outlook import can_match

NO_DATA = "No data is chosen, so only the weights can be compared"
NO_CODE = "No model code is known"
NO_MASKS = "The pictures have no masks, so there is nothing to measure mIoU, loss or an oracle against"


class Obstacles:
    """What keeps each checkpoint and each pair from being measured, in words; None where nothing does.

    One checkpoint without a network does not keep the others from being measured.
    """

    def __init__(self, checkpoints: Sequence[Checkpoint], pictures: DecodedCache | None) -> None:
        self.known = tuple(network_of(item.shapes) for item in checkpoints)
        self.spaces = tuple(_space(one) for one in self.known)
        self._names, self._pictures = [item.name for item in checkpoints], pictures
        self._why = {
            self._without[place]: why
            for group, why in explanations([checkpoints[number] for number in self._without])
            for place in group
        }
        self.singles = tuple(self._single(number) for number in range(len(checkpoints)))
        self.pairs: Mapping[Pair, str | None] = {
            pair: self._pair(*pair) for pair in combinations(range(len(checkpoints)), 2)
        }

    @property
    def whole(self) -> str | None:
        """Why nothing at all can be measured."""
        if len(self._without) == len(self._names):
            return self._unknown(range(len(self._names)))
        if self._pictures is None:
            return NO_DATA
        return None if None in self.singles else self.notes()[0]

    @property
    def _without(self) -> list[int]:
        """Numbers of the checkpoints whose network nobody knows."""
        return [number for number, known in enumerate(self.known) if known is None]

    def _unknown(self, numbers: Sequence[int]) -> str:
        names = ", ".join(self._names[number] for number in numbers)
        whats, dos = (dict.fromkeys(texts) for texts in zip(*(self._why[number] for number in numbers), strict=True))
        return (
            f"{NO_CODE} for {names}, so only {'its' if len(numbers) == 1 else 'their'} weights can be compared:"
            f" {'; '.join(whats)}. {'. '.join(dos)}"
        )

    def notes(self) -> list[str]:
        """Each obstacle of a single checkpoint once, for people; those without a network in one sentence."""
        notes = [self._unknown(self._without)] if self._without else []
        return notes + list(
            dict.fromkeys(why for why, known in zip(self.singles, self.known, strict=True) if why and known)
        )

    def path(self, a: int, b: int) -> str | None:
        """Why there is no path to measure between two; the tensors themselves may be another reason."""
        if self.pairs[a, b] is not None:
            return self.pairs[a, b]
        if self._pictures is not None and not self._pictures.labelled:
            return NO_MASKS
        if self.known[a] == self.known[b]:
            return None
        return (
            f"{self._names[a]} and {self._names[b]} are of different networks or class counts: there is no path between"
            " them"
        )

    def runs(self, a: int, b: int) -> bool:
        """Whether the code of both networks is known."""
        return self.known[a] is not None and self.known[b] is not None

    def matches(self, a: int, b: int) -> bool:
        """Whether the units of two can be matched: both of one network, whose permutations are declared."""
        return can_match(self.known[a], self.known[b])

    def _single(self, number: int) -> str | None:
        space = self.spaces[number]
        if space is None:
            return self._unknown([number])
        if self._pictures is None:
            return NO_DATA
        if self._pictures.labelled:
            try:
                mapping(space, self._pictures.label_space)
            except FusionError as error:
                return f"{self._names[number]} cannot be measured on this data: {error.got}"
        return None

    def _pair(self, a: int, b: int) -> str | None:
        spaces = [space for number in (a, b) if (space := self.spaces[number]) is not None]
        unknown = [number for number in (a, b) if self.spaces[number] is None]
        if unknown:
            return self._unknown(unknown)
        reason = self.singles[a] or self.singles[b]
        if (
            reason is None
            and self._pictures is not None
            and not self._pictures.labelled
            and spaces[0].names != spaces[1].names
        ):
            return (
                f"{self._names[a]} and {self._names[b]} predict different classes, and there are no masks to compare"
                " them through"
            )
        return reason


def _space(known: Network | None) -> LabelSpace | None:
    return label_space(known[0].label_space(known[1])) if known else None


__all__ = ["Obstacles", "Pair"]
