"""What methods that look at pictures must find out first: Fisher information, kept by content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionlib.atomic import make_folder
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.contracts import Architecture, MergeMethod, Progress
from fusionlib.data.cache import DecodedCache, unreduced
from fusionlib.engine.fisher import picture_information, seeded
from fusionlib.engine.identity import architecture_key
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.worker import Worker
from fusionlib.errors import FusionError, WriteError
from fusionlib.merging.fisher import Fisher
from fusionlib.recipe import Recipe
from fusionlib.runs.keys import key_of


class InformationCache:
    """Rows by content key, one file each in a folder.

    Optional, as the store of results is: no trouble with it is an error.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lost: dict[str, str] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know: rows that have to be found out anew."""
        count = len(self._lost)
        checkpoints = "1 checkpoint" if count == 1 else f"{count} checkpoints"
        return (
            (f"the information about {checkpoints} could not be kept: {next(iter(self._lost.values()))}",)
            if count
            else ()
        )

    def get(self, key: str) -> Tensor | None:
        """The row of a key, or None."""
        try:
            return open_checkpoint(self._file(key)).read("information").clone()
        except (FusionError, OSError):  # not there, or damaged: it can be estimated again
            return None

    def put(self, key: str, row: Tensor) -> None:
        """Keep a row under its key."""
        try:
            make_folder(self.folder)
            save_tensors(self._file(key), {"information": row})
        except WriteError as problem:
            self._lost[key] = problem.got.split(": ", 1)[-1]

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def informed(
    method: MergeMethod,
    arena: Arena,
    architecture: tuple[Architecture, int],
    pictures: DecodedCache,
    recipe: Recipe,
    worker: Worker,
    cache: InformationCache | None = None,
    progress: Progress | None = None,
) -> MergeMethod:
    """The method with what it needs to know about `arena`; itself where that is nothing. Progress is in pictures."""
    if not isinstance(method, Fisher):
        return method
    count = min(recipe.calibration.count if recipe.calibration else len(pictures), len(pictures))
    rows, done = [], 0
    for number, fingerprint in enumerate(arena.fingerprints):
        key = key_of(
            "fisher",
            architecture_key(*architecture),
            arena.weights.device.type,
            fingerprint,
            pictures.fingerprint(),
            count,
            method.labels,
            method.seed,
            arena.layout.signature,
            sorted(arena.own),
            arena.fingerprints[method.anchor] if arena.own else None,
        )
        row = cache.get(key) if cache else None
        if row is None or row.shape != arena.weights[number].shape:
            row = _estimate(
                method,
                arena,
                number,
                architecture,
                pictures,
                count,
                worker,
                lambda at, before=done: progress(before + at, count * len(arena)) if progress else None,
            )
            if cache:
                cache.put(key, row)
        rows.append(row.to(arena.weights.device))
        done += count
    return method.informed(torch.stack(rows))


def _estimate(
    method: Fisher,
    arena: Arena,
    number: int,
    architecture: tuple[Architecture, int],
    pictures: DecodedCache,
    count: int,
    worker: Worker,
    progress: Callable[[int], Any],
) -> Tensor:
    network = BoundNetwork(*architecture, arena.layout, arena.integers[number], device=arena.weights.device)
    worker.run(lambda: network.load(arena.weights[number]))
    total = torch.zeros_like(network.flat, dtype=torch.float64)
    for done, index in enumerate(pictures.spread(count)):
        progress(done)
        image = unreduced(pictures.load(index)).image
        total += worker.run(
            lambda image=image, index=index: picture_information(
                network, image, method.labels, seeded(method.seed, index)
            )
        )
    progress(count)
    pictures.verify()
    return (total / count).to(network.flat.dtype).cpu()
