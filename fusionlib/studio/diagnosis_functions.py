"""Function-space figures of a set, kept by content for each network and each pair: another set that shares them
measures only the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import torch

from fusionlib.checkpoints.compare import network_of
from fusionlib.checkpoints.nearest import explanations
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import LabelSpace, label_space, mapping
from fusionlib.engine.identity import Network, runs_of
from fusionlib.engine.joint import DEFAULT_METERS
from fusionlib.errors import FusionError
from fusionlib.runs.keys import code_fingerprint, content_key
from fusionlib.runs.store import Store
from fusionlib.studio.outlook import can_match

CKA_PICTURES = 4

Pair = tuple[int, int]

NO_DATA = "No data is chosen, so only the weights can be compared"
NO_CODE = "No model code is known"
NO_MASKS = "The pictures have no masks, so there is nothing to measure mIoU, loss or an oracle against"


class Lack(NamedTuple):
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
    """What the store has of a set's networks and pairs on some pictures; `figures` gives it in the form of
    `JointMeasurement`.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        pictures: DecodedCache,
        data: str,
        obstacles: Obstacles,
        *,
        store: Store,
        precision: str,
        device: torch.device,
    ) -> None:
        self._prints = [item.fingerprint for item in checkpoints]
        self.pictures, self._data, self.obstacles, self._store = pictures, data, obstacles, store
        self._precision, self._device = precision, device
        self.members = tuple(number for number, why in enumerate(obstacles.singles) if why is None)
        self.pairs = tuple(pair for pair, why in obstacles.pairs.items() if why is None)
        self._found: dict[str, dict[str, Any]] = {}

    def figures(self) -> dict[str, Any] | None:
        """`singles` (None where not known), known `pairs` and the `set` of all that can be measured; None while nothing
        is known.
        """
        singles = [
            self._get(self.single_key(number)) if number in self.members else None
            for number in range(len(self._prints))
        ]
        pairs = {pair: found for pair in self.pairs if (found := self._get(self._pair_key(pair))) is not None}
        if not pairs and not any(singles):
            return None
        return {
            "images": len(self.pictures),
            "cka_pictures": min(CKA_PICTURES, len(self.pictures)),
            "singles": singles,
            "pairs": [{**found, "a": a, "b": b} for (a, b), found in pairs.items()],
            "set": self._set() or {},
        }

    def lacking(self, fresh: bool = False) -> Lack:
        """What has to run. A pair needs both of its networks; the oracle of the set all that can be measured."""
        pairs = tuple(pair for pair in self.pairs if fresh or self._get(self._pair_key(pair)) is None)
        wanted = {number for pair in pairs for number in pair}
        if self.pictures.labelled:
            wanted |= {number for number in self.members if fresh or self._get(self.single_key(number)) is None}
            wanted |= set(self.members) if self._set() is None and len(self.members) > 1 else set()
        return Lack(tuple(sorted(wanted)), pairs)

    def keep(self, lack: Lack, found: Mapping[str, Any]) -> None:
        """Store what a joint measurement of `lack` gave, each under its own key."""
        for number, figures in zip(lack.networks, found["singles"], strict=False):  # none on pictures without masks
            self._put(self.single_key(number), figures)
        for row in found["pairs"]:
            pair = (lack.networks[row["a"]], lack.networks[row["b"]])
            self._put(self._pair_key(pair), {name: value for name, value in row.items() if name not in ("a", "b")})
        if lack.networks == self.members and len(self.members) > 2:
            self._put(self._set_key(), found["set"])

    def evaluation_key(self, mixture: Any, runs: Mapping[str, Any]) -> str:
        """The key under which sweeps, `evaluate` and diagnoses share what is measured of one network."""
        return content_key("evaluation", runs, mixture=mixture, data=self._data, meters=DEFAULT_METERS)

    def _runs(self, numbers: Sequence[int]) -> dict[str, Any]:
        return runs_of(
            [self.obstacles.known[number] for number in numbers],
            self.pictures.label_space,
            self._precision,
            self._device,
        )

    def _set(self) -> dict[str, Any] | None:
        """The oracle and the diversity of all members: of two the pair's own."""
        found = self._get(
            self._pair_key(self.members) if len(self.members) == 2 and self.members in self.pairs else self._set_key()
        )
        return found and {name: found[name] for name in ("diversity", "oracle_miou", "oracle_pixel_accuracy")}

    def single_key(self, number: int) -> str:
        """The key of a network alone."""
        return self.evaluation_key({"single": self._prints[number]}, self._runs([number]))

    def _pair_key(self, pair: Sequence[int]) -> str:
        return self._joint_key("pair diagnosis", pair, cka=CKA_PICTURES)

    def _set_key(self) -> str:
        return self._joint_key("set diagnosis", self.members)

    def _joint_key(self, kind: str, numbers: Sequence[int], **more: Any) -> str:
        """In order: pixels that all get wrong keep the first network's error."""
        return content_key(
            kind,
            self._runs(numbers),
            checkpoints=[self._prints[number] for number in numbers],
            data=self._data,
            diagnostics=code_fingerprint(("diagnostics",)),
            **more,
        )

    def _get(self, key: str) -> dict[str, Any] | None:
        if key not in self._found and (found := self._store.get(key)) is not None:
            self._found[key] = found
        return self._found.get(key)

    def _put(self, key: str, figures: Mapping[str, Any]) -> None:
        self._found[key] = dict(figures)
        self._store.put(key, figures)


def numbered(lack: Lack) -> Iterator[Pair]:
    """The pairs of `lack` by the places of their networks in it."""
    place = {number: index for index, number in enumerate(lack.networks)}
    return ((place[a], place[b]) for a, b in lack.pairs)


def _space(known: Network | None) -> LabelSpace | None:
    return label_space(known[0].label_space(known[1])) if known else None


__all__ = ["CKA_PICTURES", "FunctionTable", "Lack", "Obstacles", "Pair", "numbered"]
