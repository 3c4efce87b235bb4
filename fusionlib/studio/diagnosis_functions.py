"""Function-space figures of a set, kept by content for each network and each pair: another set that shares them
measures only the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from fusionlib.architectures.nearest import explanations
from fusionlib.architectures.recognise import network_of
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import LabelSpace, label_space, mapping
from fusionlib.engine.identity import Network
from fusionlib.engine.recipes import recipe_alone
from fusionlib.errors import FusionError
from fusionlib.question import Question
from fusionlib.runs.runner import BASIC, Runner
from fusionlib.studio.outlook import can_match

CKA_PICTURES = 4

Pair = tuple[int, int]

NO_DATA = "No data is chosen, so only the weights can be compared"
NO_CODE = "No model code is known"
NO_MASKS = "The pictures have no masks, so there is nothing to measure mIoU, loss or an oracle against"


class Unmeasured(NamedTuple):
    """What is not known yet: the networks that have to run for it, and the pairs."""

    networks: tuple[int, ...]
    pairs: tuple[Pair, ...]


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


class FunctionTable:
    """What is known of a set's networks and pairs on some pictures; `figures` has it all as JSON values."""

    def __init__(
        self, checkpoints: Sequence[Checkpoint], pictures: DecodedCache, obstacles: Obstacles, runner: Runner
    ) -> None:
        self.pictures, self.obstacles, self.runner = pictures, obstacles, runner
        runner.builder.merger.sources.know(checkpoints, pictures)
        self.recipes = tuple(map(recipe_alone, checkpoints))
        self.members = tuple(number for number, why in enumerate(obstacles.singles) if why is None)
        self.pairs = tuple(pair for pair, why in obstacles.pairs.items() if why is None)
        self._found: dict[Question, Mapping[str, Any]] = {}

    def figures(self) -> dict[str, Any] | None:
        """`singles` (None where not known, or without masks), known `pairs` and the `set` of all that can be measured;
        None while nothing is known.
        """
        self._recall()
        singles = [self._single(number) if number in self.members else None for number in range(len(self.recipes))]
        pairs = {pair: found for pair in self.pairs if (found := self._pair(pair)) is not None}
        if not pairs and not any(singles):
            return None
        return {
            "images": len(self.pictures),
            "cka_pictures": min(CKA_PICTURES, len(self.pictures)),
            "singles": singles,
            "pairs": [{**found, "a": a, "b": b} for (a, b), found in pairs.items()],
            "set": self._set() or {},
        }

    def lacking(self, fresh: bool = False) -> Unmeasured:
        """What has to run. A pair needs both of its networks; the oracle of the set all that can be measured."""
        self._recall()
        pairs = tuple(pair for pair in self.pairs if fresh or not self._knows(self._of_pair(pair)))
        wanted = {number for pair in pairs for number in pair}
        if self.pictures.labelled:
            wanted |= {number for number in self.members if fresh or not self._knows(self._of_single(number))}
            wanted |= set(self.members) if fresh or not self._knows(self._of_set()) else set()
        return Unmeasured(tuple(sorted(wanted)), pairs)

    def measure(self, lack: Unmeasured, progress: Progress, *, fresh: bool = False) -> None:
        """Find out what is lacking, in one pass over the pictures with one forward pass a network."""
        questions = [question for pair in lack.pairs for question in self._of_pair(pair)]
        questions += [question for number in lack.networks for question in self._of_single(number)]
        if set(lack.networks) == set(self.members):
            questions += self._of_set()
        told = self.runner.ask(questions, self.pictures, progress, fresh=fresh)
        self._found |= {one.question: one.figures for one in told}

    def _recall(self) -> None:
        """Look for what is not known here yet: others may have measured it since."""
        every = [one for pair in self.pairs for one in self._of_pair(pair)]
        every += [one for number in self.members for one in self._of_single(number)] + self._of_set()
        left = [question for question in dict.fromkeys(every) if question not in self._found]
        known = self.runner.known(left, self.pictures)
        self._found |= {one.question: one.figures for one in known if one is not None}

    def _knows(self, questions: Sequence[Question]) -> bool:
        return all(question in self._found for question in questions)

    def _of_single(self, number: int) -> list[Question]:
        return self._ask((number,), BASIC) if self.pictures.labelled else []

    def _of_pair(self, pair: Sequence[int]) -> list[Question]:
        """In order: pixels that all get wrong keep the first network's error."""
        return self._ask(pair, ("agreement", *(("oracle",) if self.pictures.labelled else ()), "cka"))

    def _of_set(self) -> list[Question]:
        if not self.pictures.labelled or len(self.members) < 2:
            return []
        return self._ask(self.members, ("agreement", "oracle"))

    def _ask(self, numbers: Sequence[int], measures: Sequence[str]) -> list[Question]:
        recipes = tuple(self.recipes[number] for number in numbers)
        return [Question(recipes, self.pictures.fingerprint(), name) for name in measures]

    def _single(self, number: int) -> dict[str, Any] | None:
        questions = self._of_single(number)
        if not questions or not self._knows(questions):
            return None
        return {"images": len(self.pictures), **{k: v for one in questions for k, v in self._found[one].items()}}

    def _pair(self, pair: Pair) -> dict[str, Any] | None:
        questions = self._of_pair(pair)
        if not self._knows(questions):
            return None
        found = {one.measure: self._found[one] for one in questions}
        return {**_agreed(found["agreement"]), **_oracled(found.get("oracle")), "cka": found["cka"]["cka"]}

    def _set(self) -> dict[str, Any] | None:
        """The oracle and the diversity of all members."""
        questions = self._of_set()
        if not questions or not self._knows(questions):
            return None
        found = {one.measure: self._found[one] for one in questions}
        return {"diversity": _agreed(found["agreement"])["diversity"], **_oracled(found["oracle"])}


def _agreed(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {"disagreement": figures.get("disagreement"), "diversity": figures.get("diversity")}


def _oracled(figures: Mapping[str, Any] | None) -> dict[str, Any]:
    names = ("oracle_miou", "oracle_pixel_accuracy")
    return {name: None if figures is None else figures[name] for name in names}


def _space(known: Network | None) -> LabelSpace | None:
    return label_space(known[0].label_space(known[1])) if known else None


__all__ = ["CKA_PICTURES", "FunctionTable", "Obstacles", "Pair", "Unmeasured"]
