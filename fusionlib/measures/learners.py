"""What the learners inside one network say: alone, as every subset, by every fusion, and how much they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, ClassVar

import torch

from fusionlib.contracts import FUSIONS, MEASURES, Figure, Fusion, Grain, Needs, Networks, State, parameters_of
from fusionlib.errors import UsageError
from fusionlib.measures.agreement import Agreement
from fusionlib.measures.ensembles import add_outcomes, add_truth, no_outcomes, scores_of
from fusionlib.measures.ensembles_calibration import add_bins, eces_of, no_bins
from fusionlib.measures.observation import UNIT, Observation

MOST = 8
"""Learners: 255 subsets."""


@dataclass(frozen=True)
class Way:
    """A fusion with its choices, as a row of a table."""

    name: str
    title: str
    fusion: Fusion


def ways() -> list[Way]:
    """Every registered fusion, with every value of what it lets choose."""
    return [way for name, kind in FUSIONS.items() for way in _variants(name, kind)]


def _variants(name: str, kind: type[Fusion]) -> Iterator[Way]:
    offered = [(item.name, item.choices) for item in parameters_of(kind) if item.choices]
    for chosen in product(*(choices for _, choices in offered)):
        given = dict(zip((one for one, _ in offered), chosen, strict=True))
        words = [str(value) for value in chosen]
        yield Way(":".join([name, *words]), ", ".join([kind.title, *words]), kind(**given))


def groups(count: int) -> list[tuple[int, ...]]:
    """All subsets of one and more of `count` learners, small ones first. Raises `UsageError` for more than `MOST`."""
    if count > MOST:
        raise UsageError(f"All subsets of {count} learners", f"at most {MOST}", "Choose another network")
    return [members for size in range(1, count + 1) for members in combinations(range(count), size)]


class LearnersInside:
    """mIoU, pixel accuracy, loss and ECE of every subset of a network's L learners by the mean of their probabilities,
    of all of them by every fusion, and how different they are: all of it out of one pass.

    `spread` of a learner is the variance of its probabilities over the classes (the population's), in the mean over
    pixels; `deviation` the mean over pixels of its root. They say how peaked an answer is, whatever is right.

    State, with places for 8 learners: that of `ensembles` and of `ensembles_calibration` of the 255 subsets (as
    `groups` orders them), each name behind `subset/`; of the fusions (as `ways`) behind `fused/`, with `fused/pixels`
    (F,) int64, zero of one that the network cannot be asked by; of `agreement` behind `pair/`; `spread` and `deviation`
    (9,) int64 in steps of `UNIT`, the last that of the network's own answer, and `pixels` (9,) int64, zero of learners
    that are not there.
    """

    title: ClassVar[str] = "Learners inside a network"
    summary: ClassVar[str] = "Every learner, every subset of them and every fusion, out of one pass"
    source: ClassVar[str] = '"Efficient Self-Ensemble for Semantic Segmentation", tables 1, 10 and 11'
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "masks"
    networks: ClassVar[Networks] = "one"
    grain: ClassVar[Grain] = "picture"
    always: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset({"learners"})
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("subset_miou", "mIoU", "%", "higher", 2, "mIoU of the mean of these learners' probabilities", "subset"),
        Figure("subset_pixel_accuracy", "Pixel accuracy", "%", "higher", 2, "Labelled pixels right", "subset"),
        Figure("subset_loss", "Loss", "nats", "lower", 4, "Mean negative log-likelihood of the truth", "subset"),
        Figure("subset_ece", "ECE", "%", "lower", 2, "Sample-weighted ECE in 15 bins", "subset"),
        Figure("fused_miou", "mIoU", "%", "higher", 2, "mIoU of all learners by each fusion", "fusion"),
        Figure("fused_pixel_accuracy", "Pixel accuracy", "%", "higher", 2, "Labelled pixels right", "fusion"),
        Figure("fused_loss", "Loss", "nats", "lower", 4, "Mean negative log-likelihood of the truth", "fusion"),
        Figure("fused_ece", "ECE", "%", "lower", 2, "Sample-weighted ECE in 15 bins", "fusion"),
        Figure("learner_disagreement", "Disagreement", "%", "", 2, "Pixels two learners label differently, mean"),
        Figure("learner_diversity", "Diversity", "", "", 1, "Disagreement in percent of the worse learner's errors"),
        Figure("learner_pair_disagreement", "Disagreement", "%", "", 2, "The same of two learners", "pair"),
        Figure("learner_pair_diversity", "Diversity", "", "", 1, "The same of two learners", "pair"),
        Figure("spread", "Variance", "", "", 6, "Variance of probabilities over classes, mean of pixels", "learner"),
        Figure("deviation", "Deviation", "", "", 6, "Its root, mean of pixels", "learner"),
    )

    def init(self, classes: int, device: torch.device, members: int = 1) -> State:
        """Zeros for as many learners as a network may have."""
        state: State = {}
        for front, rows in (("subset/", len(groups(MOST))), ("fused/", len(ways()))):
            zeros = no_outcomes(rows, classes, device) | no_bins(rows, device)
            state |= {f"{front}{name}": tensor for name, tensor in zeros.items()}
        state |= {f"pair/{name}": tensor for name, tensor in Agreement().init(classes, device, MOST).items()}
        shapes = {"fused/pixels": len(ways()), "spread": MOST + 1, "deviation": MOST + 1, "pixels": MOST + 1}
        return state | {name: torch.zeros(size, dtype=torch.int64, device=device) for name, size in shapes.items()}

    def update(self, state: State, *observations: Observation) -> None:
        """Add what the learners say of labelled pixels; nothing of a network without. Raises `DataError` when the truth
        has an unknown id, `UsageError` for more than 8 learners.
        """
        (observation,) = observations
        if (inside := observation.learners) is None:
            return
        subsets, fused = _part(state, "subset/"), _part(state, "fused/")
        places = {members: place for place, members in enumerate(groups(MOST))}
        alone = []
        for members in groups(len(inside.names)):
            seen = inside.by(FUSIONS.get("average")(), members)
            alone += [seen] if len(members) == 1 else []
            _add(subsets, places[members], seen)
        for place, way in enumerate(ways()):
            if inside.offers(way.fusion):
                _add(fused, place, inside.by(way.fusion, None))
                fused["pixels"][place] += observation.pixels
        for part in (subsets, fused):
            add_truth(part, observation)
        Agreement().update(_part(state, "pair/"), *alone)
        for place, seen in (*enumerate(alone), (MOST, observation)):
            _spread(state, place, seen)

    def compute(self, state: State) -> dict[str, Any]:
        """A list of each figure in its order, None where no pixel is labelled, a loss undefined or a fusion not to be
        had; of a network without learners empty ones. Who they are of is in `subset_members` and `fusion_names`.
        """
        count = int((state["pixels"][:MOST] > 0).sum())
        if not count:
            return {one.name: [] if one.each else None for one in self.figures}
        found = {"subset": self._scores(state, "subset/"), "fused": self._scores(state, "fused/")}
        members, offered = groups(count), ways()
        places = {group: place for place, group in enumerate(groups(MOST))}
        kept = {
            "subset": [places[group] for group in members],
            "fused": [place if pixels else None for place, pixels in enumerate(state["fused/pixels"].tolist())],
        }
        figures: dict[str, Any] = {
            "subset_members": [list(group) for group in members],
            "fusion_names": [way.name for way in offered],
            "fusion_titles": [way.title for way in offered],
        }
        for kind, rows in kept.items():
            for name, values in found[kind].items():
                figures[f"{kind}_{name}"] = [None if place is None else values[place] for place in rows]
        return figures | self._pairs(state, count) | self._peaks(state, count)

    @staticmethod
    def _scores(state: State, front: str) -> dict[str, list[float | None]]:
        part = _part(state, front)
        return {**scores_of(part), "ece": eces_of(part)}

    @staticmethod
    def _pairs(state: State, count: int) -> dict[str, Any]:
        """As of `agreement` among the learners that are there."""
        part = _part(state, "pair/")
        mine = part | {"differing": part["differing"][:count, :count], "wrong": part["wrong"][:count]}
        found = Agreement().compute(mine)
        return {f"learner_{name}": found[name] for name in _PAIRS}

    @staticmethod
    def _peaks(state: State, count: int) -> dict[str, Any]:
        places = [*range(count), MOST]
        pixels = state["pixels"].tolist()
        return {
            name: [int(state[name][place]) * UNIT / pixels[place] for place in places]
            for name in ("spread", "deviation")
        }


_PAIRS = ("disagreement", "diversity", "pair_disagreement", "pair_diversity")


def _part(state: State, front: str) -> State:
    """The tensors of a state whose names begin alike, as a state of their own: to add to them is to add to it."""
    return {name.removeprefix(front): tensor for name, tensor in state.items() if name.startswith(front)}


def _add(state: State, place: int, seen: Observation) -> None:
    add_outcomes(state, place, seen)
    add_bins(state, place, seen)


def _spread(state: State, place: int, seen: Observation) -> None:
    variance = seen.logits.softmax(1).var(1, correction=0)
    state["pixels"][place] += variance.numel()
    for name, values in (("spread", variance), ("deviation", variance.sqrt())):
        state[name][place] += values.double().nan_to_num_().div_(UNIT).round_().sum().long()


MEASURES.register("learners")(LearnersInside())
