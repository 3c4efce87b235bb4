"""Several networks on the same pictures, batch by batch: what can only be seen when their predictions lie side by
side.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import combinations
from typing import Any

import numpy as np
import torch

from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import LabelSpace
from fusionlib.engine.activations import recorded
from fusionlib.engine.measure import DEFAULT_METERS, Batch, Measurement, batches, look_through
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.worker import JOB, Worker
from fusionlib.errors import UsageError
from fusionlib.measures.agreement import Agreement
from fusionlib.measures.cka import Cka
from fusionlib.measures.observation import Observation
from fusionlib.measures.oracle import Oracle


class JointMeasurement:
    """Every network alone, `pairs` of them (default: all), and the whole set, in one pass over the pictures with one
    forward pass each.

    Fixed-size counts only; pixels are gone after their batch. The first `cka_pictures` pictures also give the
    activation similarity of networks that are built alike. Pictures without masks give disagreement and similarity
    alone.

    Raises: `UsageError` for pictures without masks and a pair of networks of different label spaces.
    """

    def __init__(
        self,
        networks: Sequence[BoundNetwork],
        sources: Sequence[LabelSpace],
        pictures: DecodedCache,
        *,
        cka_pictures: int = 4,
        pairs: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        self.networks, self.pictures, self.cka_pictures = list(networks), pictures, cka_pictures
        self.pairs = tuple(combinations(range(len(networks)), 2) if pairs is None else pairs)
        device = networks[0].device
        self.labelled = pictures.labelled
        if not self.labelled and any(sources[a].names != sources[b].names for a, b in self.pairs):
            raise UsageError(
                "Networks of different classes on pictures without masks", "one label space", "Choose data with masks"
            )
        self.alone = (
            [Measurement(network, space, pictures) for network, space in zip(networks, sources, strict=True)]
            if self.labelled
            else []
        )
        self.classes = self.alone[0].classes if self.alone else sources[0].count
        self.batch = 8 if device.type == "cuda" else 1
        self.groups = [*self.pairs, tuple(range(len(networks)))]
        self.agreement = Agreement().init(self.classes, device, len(networks))
        self.oracles = [Oracle().init(self.classes, device) for _ in self.groups]
        self.similarities = [Cka().init(self.classes, device) for _ in self.pairs]
        self._looked = 0

    def run(self, worker: Worker, progress: Progress | None = None) -> dict[str, Any]:
        """Measure all pictures once; figures as JSON values. May raise `Cancelled` from `progress`."""
        tiled, done, total = look_through(self.pictures), 0, len(self.pictures) * len(self.networks)
        for measurement in self.alone:
            measurement.tiled = tiled
        for batch in batches(self.pictures, self.batch):
            with ExitStack() as hooks:
                watching = done < self.cka_pictures * len(self.networks)
                seen = [hooks.enter_context(recorded(network.module)) for network in self.networks] if watching else []
                predictions = []
                for number in range(len(self.networks)):
                    predictions.append(worker.run(lambda n=number, b=batch: self._predict(n, b), JOB))
                    done += batch.finished
                    if progress is not None:
                        progress(done, total)
                worker.run(lambda p=predictions, t=batch.truths, s=seen: self._compare(p, t, s), JOB)
        self.pictures.verify()
        return worker.run(self.figures)

    def _predict(self, number: int, batch: Batch) -> torch.Tensor:
        if self.alone:
            return self.alone[number].add(batch).predicted
        with torch.inference_mode():
            network = self.networks[number]
            return Observation(batch.logits_of(network), None, lean=True).predicted

    def _compare(
        self, predictions: list[torch.Tensor], truths: np.ndarray, seen: list[dict[str, torch.Tensor]]
    ) -> None:
        with torch.inference_mode():
            truth = torch.from_numpy(truths).to(predictions[0].device).long() if self.labelled else None
            Agreement().add(self.agreement, predictions, truth)
            for state, group in zip(self.oracles, self.groups, strict=True) if truth is not None else ():
                Oracle().add(state, [predictions[number] for number in group], truth)
            for state, pair in zip(self.similarities, self.pairs, strict=True) if seen else ():
                Cka().add(state, *(seen[number] for number in pair), self._looked)
            self._looked += 1

    def figures(self) -> dict[str, Any]:
        """`singles` in the order of the networks (none without masks), `pairs` of their numbers, and the `set` of all
        networks.
        """
        agreement = Agreement().compute(self.agreement)
        pairs = [
            {
                "a": a,
                "b": b,
                "disagreement": self._agreement((a, b))["disagreement"],
                "diversity": self._agreement((a, b))["diversity"],
                **Oracle().compute(self.oracles[number]),
                **Cka().compute(self.similarities[number]),
            }
            for number, (a, b) in enumerate(self.pairs)
        ]
        return {
            "images": len(self.pictures),
            "pixels": agreement["compared_pixels"],
            "cka_pictures": min(self.cka_pictures, len(self.pictures)),
            "singles": [measurement.figures() for measurement in self.alone],
            "pairs": pairs,
            "set": {"diversity": agreement["diversity"], **Oracle().compute(self.oracles[-1])},
        }

    def _agreement(self, pair: tuple[int, int]) -> dict[str, Any]:
        """Of two of the networks."""
        chosen = list(pair)
        state = {"differing": self.agreement["differing"][chosen][:, chosen], "wrong": self.agreement["wrong"][chosen]}
        return Agreement().compute({**self.agreement, **state})


__all__ = ["DEFAULT_METERS", "JointMeasurement"]
