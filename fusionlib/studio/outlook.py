"""Verdicts wherever checkpoints are merged: from the weights alone, and from the curve between two where it has been
measured.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from threading import Thread
from typing import Any

from fusionlib.architectures.recognise import network_of
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import METHODS, Architecture
from fusionlib.diagnostics.evidence import Evidence, weight_evidence
from fusionlib.diagnostics.survey import WeightSurvey, survey, survey_arena
from fusionlib.diagnostics.verdict import judge
from fusionlib.errors import CheckpointError
from fusionlib.studies.grid import merges_on, path_summary
from fusionlib.studio.intervals import Chance

PAIRS = 4096
"""Pairs whose figures are remembered: a few hundred bytes each."""

Known = tuple[Architecture, int] | None
Places = tuple[int, int]
Judged = list[tuple[tuple[str, str], Evidence]]


def path_evidence(
    known: Evidence, summary: Mapping[str, Any], images: int | None, chance: Chance | None = None
) -> Evidence:
    """What is known with a path's summary; `images` is how many pictures it was measured on, `chance` how sure its gain
    is.
    """
    best = summary["best"]
    return replace(
        known,
        gain=summary["gain"],
        interval=chance and chance.interval,
        units=chance and chance.units,
        best_alpha=best["alpha"] if best else None,
        unrefined=tuple(summary["unrefined"]),
        pictures=images,
    )


def curve_evidence(
    known: Evidence,
    found: Mapping[str, Any],
    names: Sequence[str],
    chance_of: Callable[[Sequence[float]], Chance | None] = lambda _: None,
) -> Evidence:
    """What is known with a sweep's points and ends (`a` at alpha 1, `b` at 0), as far as they are measured.

    `chance_of` says how sure the gain of the best of these merges is.
    """
    a, b = found["a"], found["b"]
    inner = [point for point in found["points"] if 0 < point["alpha"] < 1]
    if a is None or b is None:
        return known
    known = replace(known, ends=tuple(zip(names, (a, b), strict=True)))
    if not inner:
        return known
    points = [{**b, "alpha": 0.0}, *inner, {**a, "alpha": 1.0}]
    return path_evidence(known, path_summary(points), found["images"], chance_of(merges_on(points)))


def can_match(known: Known, other: Known) -> bool:
    """Whether the units of two can be matched: both of one network, whose permutations are declared."""
    return known is not None and known == other and bool(getattr(known[0], "permutations", ()))


def gravest(judged: Judged) -> dict[str, Any]:
    """The verdict on the pair, of one or more, that speaks most against a merge of all, with the `pair`'s names as JSON
    values.

    With more than one the line says which two it is about.
    """

    def gravity(item: tuple[tuple[str, str], Evidence]) -> tuple[bool, float]:
        return judge(item[1]).level != "do not merge", 1.0 if item[1].direction is None else item[1].direction

    names, known = min(judged, key=gravity)
    found = judge(known).to_dict()
    line = (
        found["line"]
        if len(judged) == 1
        else found["line"].replace(found["level"], f"{found['level']}, {' + '.join(names)}", 1)
    )
    return {"pair": list(names), **found, "line": line}


def averages(method: str) -> bool:
    """Whether a merge method averages weights as they are in the files, so that a verdict on them concerns it."""
    return METHODS.get(method).averages


class OutlookDesk:
    """What weights alone say of pairs: read once for each pair of contents, then remembered."""

    def __init__(self) -> None:
        self._known: OrderedDict[frozenset[str], Evidence] = OrderedDict()
        self._networks: dict[frozenset, Known] = {}
        self._readers: dict[tuple[str, ...], Thread] = {}
        self._reading, self._asking = threading.Lock(), threading.Lock()

    def of_arena(self, arena: Arena, architecture: Architecture | None) -> Judged:
        """Names and evidence of every pair of packed checkpoints, and their network where it is known."""
        found = self._pairs(arena.fingerprints, lambda: survey_arena(arena))
        more = {"runs": architecture is not None, "matches": bool(getattr(architecture, "permutations", ()))}
        return [((arena.names[a], arena.names[b]), replace(evidence, **more)) for (a, b), evidence in found.items()]

    def of_files(self, checkpoints: Sequence[Checkpoint]) -> Judged:
        """The same of files, one tensor after the other; nothing where one holds NaN or infinity."""
        try:
            found = self._pairs([item.fingerprint for item in checkpoints], lambda: survey(checkpoints))
        except CheckpointError:
            return []
        known = [self._network(item) for item in checkpoints]
        return [
            (
                (checkpoints[a].name, checkpoints[b].name),
                replace(
                    evidence, runs=known[a] is not None and known[b] is not None, matches=can_match(known[a], known[b])
                ),
            )
            for (a, b), evidence in found.items()
        ]

    def soon(self, checkpoints: Sequence[Checkpoint], seconds: float = 0.3) -> Judged | None:
        """The same, read in the background; None where that takes longer than `seconds`: ask again."""
        prints = tuple(item.fingerprint for item in checkpoints)
        with self._asking:
            if prints not in self._readers:
                self._readers[prints] = Thread(target=self.of_files, args=(tuple(checkpoints),), daemon=True)
                self._readers[prints].start()
            reader = self._readers[prints]
        reader.join(seconds)
        if reader.is_alive():
            return None
        return self.of_files(checkpoints) if all(self.remembered(*two) for two in combinations(prints, 2)) else []

    def remembered(self, a: str, b: str) -> Evidence | None:
        """What is known of two by their fingerprints; nothing is read."""
        return self._known.get(frozenset((a, b)))

    def _network(self, checkpoint: Checkpoint) -> Known:
        """Recognising one takes a network to be built; most checkpoints of a set are alike."""
        shapes = checkpoint.shapes
        table = frozenset({*shapes.items(), shapes.description and shapes.description.key})
        if table not in self._networks:
            self._networks[table] = network_of(checkpoint.shapes)
        return self._networks[table]

    def _pairs(self, prints: Sequence[str], read: Callable[[], WeightSurvey]) -> dict[Places, Evidence]:
        """Evidence by the places of two; who asks for what another is reading waits for it."""
        keys = {pair: frozenset(prints[number] for number in pair) for pair in combinations(range(len(prints)), 2)}
        with self._reading:
            if not all(key in self._known for key in keys.values()):
                weights = read()
                self._known |= {key: weight_evidence(weights, *pair) for pair, key in keys.items()}
            found = {pair: self._known[key] for pair, key in keys.items()}
            while len(self._known) > PAIRS:
                self._known.popitem(last=False)
        return found
