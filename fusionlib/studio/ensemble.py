"""Measuring several networks that answer as one: the rival of every merge, at a forward pass each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import Architecture, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import label_space
from fusionlib.engine.ensemble import OutputEnsemble
from fusionlib.engine.identity import runs_of
from fusionlib.engine.measure import DEFAULT_METERS, Measurement
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.worker import Worker
from fusionlib.errors import UsageError
from fusionlib.merging.ensemble import Ensemble
from fusionlib.runs.keys import content_key, ensemble_key
from fusionlib.runs.store import Store


def evaluate_ensemble(
    checkpoints: Sequence[Checkpoint],
    networks: Sequence[tuple[Architecture, int]],
    rule: str,
    pictures: DecodedCache,
    *,
    worker: Worker,
    store: Store,
    device: torch.device,
    precision: str,
    fresh: bool = False,
    meters: Sequence[str] = DEFAULT_METERS,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Figures of M checkpoints that answer together, with `forwards`, their cost a picture; from the store when they
    are known.

    The networks may be of different architectures, in one label space. Raises `UsageError` where they are not.
    """
    spaces = {label_space(architecture.label_space(classes)) for architecture, classes in networks}
    if len(spaces) > 1:
        raise UsageError(
            f"An ensemble over label spaces {', '.join(sorted(space.name for space in spaces))}",
            "networks of the same classes",
            "Choose others",
        )
    shares, prints = Ensemble(rule).shares(len(checkpoints)), [item.fingerprint for item in checkpoints]
    key = content_key(
        "evaluation",
        runs_of(networks, pictures.label_space, precision, device),
        mixture=ensemble_key(prints, shares, rule),
        data=pictures.fingerprint(),
        meters=tuple(meters),
    )
    known = None if fresh else store.get(key)
    if known is None:
        bound = []
        for checkpoint, (architecture, classes) in zip(checkpoints, networks, strict=True):
            arena = Arena.pack([checkpoint], head=architecture.head, device=device)
            arena.require_finite()
            network = BoundNetwork(
                architecture, classes, arena.layout, arena.integers[0], device=device, precision=precision
            )
            worker.run(lambda network=network, arena=arena: network.load(arena.weights[0]))
            bound.append(network)
        together = OutputEnsemble(bound, shares, rule, prints)
        known = Measurement(together, spaces.pop(), pictures, meters=meters).run(worker, progress)
        store.put(key, known)
    return {**known, "forwards": len(checkpoints), "classes": list(pictures.label_space.names)}
