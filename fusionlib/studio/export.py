"""Merging by recipe and writing the result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fusionlib.atomic import check_target
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.hub_folder import as_metadata
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.rounding import written_dtype
from fusionlib.checkpoints.spelled import Spelled, Written
from fusionlib.checkpoints.writer import SafetensorsWriter
from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.merge import Merger, Sources
from fusionlib.engine.recipes import write_recipe
from fusionlib.engine.statistics import Kept
from fusionlib.engine.worker import Worker
from fusionlib.errors import RecipeError, UsageError
from fusionlib.merging.buffers import anchor_of
from fusionlib.merging.build import build_method
from fusionlib.merging.choices import check_policy
from fusionlib.merging.stream import stream_merge
from fusionlib.question import Tally
from fusionlib.recipe import AT_ONCE, Recipe

__all__ = ["Export", "run_recipe", "sharing_notes", "write_network", "write_recipe"]


@dataclass(frozen=True)
class Export:
    """A merged file that was written, its recipe, and remarks for the user."""

    path: Path
    recipe: Recipe
    notes: tuple[str, ...]


def run_recipe(
    recipe: Recipe,
    checkpoints: Sequence[Checkpoint],
    out: Path,
    *,
    worker: Worker,
    device: torch.device,
    calibration: DecodedCache | None = None,
    progress: Progress | None = None,
    cache: Kept | None = None,
    tally: Tally | None = None,
) -> Export:
    """Carry out `recipe` on its opened checkpoints and write `out` atomically, the recipe in the file's metadata.

    Linear merges stream from file to file; other methods need the whole arena in memory, and a network only where they
    or the buffer policy look at pictures. `cache` keeps what is expensive to find out about checkpoints, `tally` counts
    forward passes.

    Raises `MergeError`, and writes nothing, where the merge has a value that the file cannot hold.
    """
    begun = time.perf_counter()
    refuse_unwritten(recipe, "The recipe")
    check_target(out)
    method = build_method(recipe.method, recipe.parameters)
    check_policy(recipe.buffers)
    dtype = written_dtype(recipe.dtype)
    metadata = {"recipe": recipe.without_folders().to_yaml(), "format": "pt"}
    looks = recipe.buffers == "recalibrate" or method.needs == "pictures"
    anchor = anchor_of(method, len(checkpoints), recipe.anchor or 0)
    metadata |= as_metadata(checkpoints[anchor].description)
    spelled = checkpoints[anchor].spelled
    if method.streams and not looks and recipe.shared is None and anchor == 0:
        shares = method.shares(len(checkpoints))
        return Export(
            out, recipe, stream_merge(checkpoints, shares, recipe.buffers, out, metadata, progress, dtype, spelled)
        )
    if looks:
        _require_same_pictures(recipe, calibration)
    needed = recipe if looks else recipe.model_copy(update={"calibration": None})
    sources = Sources()
    sources.know(checkpoints, calibration)
    merged = Merger(worker, device, sources, cache).merge(needed, progress, tally)
    if len(merged.rows) != 1:
        raise UsageError(
            f"{method.title} is {len(merged.rows)} networks, not one",
            "a method that gives one network",
            "Measure it with evaluate A --with B or evaluate RECIPE.yaml, or choose another method to write a file",
        )
    write_network(merged.arena, merged.integers, merged.rows[0], out, metadata, checkpoints[merged.anchor].spelled)
    if tally is not None:
        tally.seconds += time.perf_counter() - begun
    return Export(out, recipe, (*sharing_notes(merged.arena, merged.anchor), *merged.notes))


def refuse_unwritten(recipe: Recipe, name: str) -> None:
    """Raises `UsageError` where a recipe says something of its network's answers that its weights cannot hold."""
    given = {"a temperature": recipe.temperature not in (None, 1), "views": recipe.views not in (None, AT_ONCE)}
    for what, present in given.items():
        if present:
            raise UsageError(
                f"{name} has {what}, which no weights can hold",
                "a recipe without",
                "Measure it as it is, with evaluate, or take another recipe",
            )


def sharing_notes(arena: Arena, anchor: int) -> tuple[str, ...]:
    """How much of an arena is merged, where that is not all."""
    if not arena.own:
        return ()
    total = len(arena.shapes)
    return (
        (
            f"{total - len(arena.own)} of {total} tensors are shared; the other {len(arena.own)} are those of"
            f" {arena.names[anchor]}"
        ),
    )


def _require_same_pictures(recipe: Recipe, calibration: DecodedCache | None) -> None:
    if recipe.calibration is None or calibration is None or calibration.fingerprint() != recipe.calibration.fingerprint:
        raise RecipeError(
            "The calibration pictures are not those of the recipe",
            "the same pictures",
            "Name them with --data, or write a new recipe",
        )


def write_network(
    arena: Arena,
    tables: Mapping[str, Tensor],
    flat: Tensor,
    out: Path,
    metadata: dict[str, str],
    spelled: Spelled | None,
) -> None:
    """Write one network (P,) of an arena atomically, its tensors in the order of the layout; `tables` are integers."""
    layout, by_name = arena.layout, arena.layout.by_name
    entries = [
        (
            (name, by_name[name].dtype, by_name[name].shape)
            if name in by_name
            else (name, tables[name].dtype, tuple(tables[name].shape))
        )
        for name in layout.order
    ]
    flat = flat.cpu()
    written, dtypes = Written(entries, spelled), {name: dtype for name, dtype, _ in entries}
    with SafetensorsWriter(out, written.entries, metadata) as writer:
        for run in written.order:
            name = run.name
            whole = layout.view(flat, name).to(dtypes[name]) if name in by_name else tables[name]
            written.put(writer, run, whole)
