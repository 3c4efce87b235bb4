"""Merging by recipe and writing the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.compare import recognise
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.recipe import Calibration, Recipe, Source
from fusionlib.checkpoints.writer import SafetensorsWriter
from fusionlib.contracts import ARCHITECTURES, MergeMethod, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.errors import ArchitectureError, RecipeError, UsageError
from fusionlib.inference.blend import CALIBRATION_PICTURES, Blend
from fusionlib.inference.network import BoundNetwork
from fusionlib.inference.worker import Worker
from fusionlib.merging.buffers import check_policy, merged_integers
from fusionlib.merging.build import build_method
from fusionlib.merging.linear import Linear
from fusionlib.merging.stream import stream_merge


@dataclass(frozen=True)
class Export:
    """A merged file that was written, its recipe, and remarks for the user."""

    path: Path
    recipe: Recipe
    notes: tuple[str, ...]


def write_recipe(checkpoints: Sequence[Checkpoint], method: str, parameters: dict[str, Any], buffers: str,
                 calibration: DecodedCache | None = None, count: int = CALIBRATION_PICTURES) -> Recipe:
    """The recipe of a merge. `calibration` pictures are named where the policy is recalibrate."""
    build_method(method, parameters)
    used = None
    if check_policy(buffers) == "recalibrate":
        if calibration is None:
            raise UsageError("Buffer policy recalibrate without pictures", "unlabelled pictures of the target domain",
                             "Give --data, or choose another policy")
        if count < 1:
            raise UsageError(f"Recalibration with {count} pictures", "at least one", "Raise --count")
        used = Calibration(data=calibration.spec, fingerprint=calibration.fingerprint(), count=count)
    sources = tuple(Source(path=str(item.path), fingerprint=item.fingerprint) for item in checkpoints)
    return Recipe(method=method, parameters=parameters, buffers=buffers, calibration=used, checkpoints=sources)


def run_recipe(recipe: Recipe, checkpoints: Sequence[Checkpoint], out: Path, *, worker: Worker, device: torch.device,
               calibration: DecodedCache | None = None, progress: Progress | None = None) -> Export:
    """Carry out `recipe` on its opened checkpoints and write `out` atomically, the recipe in the file's metadata.

    Linear merges stream from file to file; `recalibrate` and other methods need the network or the whole arena in memory.
    """
    method = build_method(recipe.method, recipe.parameters)
    metadata = {"recipe": recipe.without_folders().to_yaml(), "format": "pt"}
    if isinstance(method, Linear) and recipe.buffers != "recalibrate":
        shares = method.shares(len(checkpoints))
        return Export(out, recipe, stream_merge(checkpoints, shares, recipe.buffers, out, metadata, progress))
    blend = _resident(recipe, checkpoints, device, calibration)
    blend.set(method, worker.run)
    _write(blend, method, out, metadata)
    return Export(out, recipe, blend.notes)


def _resident(recipe: Recipe, checkpoints: Sequence[Checkpoint], device: torch.device, calibration: DecodedCache | None) -> Blend:
    known = recognise(checkpoints[0].shapes)
    if known is None:
        raise ArchitectureError("Recalibration for an unknown architecture", "the network's code, to run pictures through it",
                                "Give --model file.py:factory, or choose the policy average, gaussian or anchor")
    if recipe.calibration is not None and (calibration is None or calibration.fingerprint() != recipe.calibration.fingerprint):
        raise RecipeError("The calibration pictures are not those of the recipe", "the same pictures",
                          "Name them with --data, or write a new recipe")
    architecture = ARCHITECTURES.get(known[0])
    arena = Arena.pack(checkpoints, head=architecture.head, device=device)
    arena.require_finite()
    network = BoundNetwork(architecture, known[1], arena.layout, arena.integers[0], device=device)
    count = recipe.calibration.count if recipe.calibration else CALIBRATION_PICTURES
    return Blend(arena, network, recipe.buffers, calibration=calibration, count=count)


def _write(blend: Blend, method: MergeMethod, out: Path, metadata: dict[str, str]) -> None:
    arena, layout = blend.arena, blend.arena.layout
    tables = merged_integers(blend.buffers, arena, method.shares(len(arena)))
    by_name = layout.by_name
    entries = [(name, by_name[name].dtype, by_name[name].shape) if name in by_name
               else (name, tables[name].dtype, tuple(tables[name].shape)) for name in layout.order]
    flat = blend.network.flat.cpu()
    with SafetensorsWriter(out, entries, metadata) as writer:
        for name, dtype, _ in entries:
            writer.write(name, layout.view(flat, name).to(dtype) if name in by_name else tables[name])
