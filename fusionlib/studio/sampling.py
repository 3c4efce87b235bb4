"""Networks drawn from a posterior, written as checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusionlib.atomic import make_folder
from fusionlib.checkpoints.hub_folder import as_metadata
from fusionlib.checkpoints.posterior import PosteriorFile
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.contracts import POSTERIORS, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.merge import Merger
from fusionlib.engine.recipes import write_recipe
from fusionlib.errors import UsageError
from fusionlib.question import Tally
from fusionlib.recipe import Recipe
from fusionlib.studio.export import write_network

METHOD = "samples"


def sampling_recipe(
    checkpoint: Checkpoint, parameters: Mapping[str, Any], pictures: DecodedCache | None, count: int
) -> Recipe:
    """The recipe of all samples together; with `pictures` the running statistics of each are measured on `count`.

    Raises: `UsageError` where the checkpoint is no posterior, `CheckpointError` where it cannot be sampled.
    """
    posterior_in(checkpoint)
    buffers = "average" if pictures is None else "recalibrate"
    return write_recipe([checkpoint], METHOD, dict(parameters), buffers, pictures, count)


def posterior_in(checkpoint: Checkpoint) -> PosteriorFile:
    """What lies beside the network of a file, checked. Raises as `sampling_recipe`."""
    found = checkpoint.posterior
    if found is None:
        raise UsageError(
            f"{checkpoint.name} is no posterior",
            "a file that train --regime swag, kfac or spro has left",
            "Choose such a checkpoint",
        )
    POSTERIORS.get(found.kind).check(found)
    return found


def write_samples(
    merger: Merger, recipe: Recipe, folder: Path, progress: Progress | None = None, tally: Tally | None = None
) -> list[tuple[Path, str]]:
    """Each of a recipe's samples as `sample-001.safetensors`, ... in `folder`, with its origin in the metadata; the
    files with their fingerprints.

    Raises: `WriteError`; `MergeError` where a sample does not fit the dtypes of the file.
    """
    make_folder(folder)
    (checkpoint,) = merger.sources.checkpoints(recipe)
    merged, files = merger.merge(recipe, progress, tally), []
    about = {**recipe.parameters, "of": checkpoint.fingerprint, "buffers": recipe.buffers}
    if recipe.calibration is not None:
        about["pictures"] = [recipe.calibration.fingerprint, recipe.calibration.count]
    about.pop("count", None)  # a sample is the same among few and among many
    for number, row in enumerate(merged.rows, 1):
        path = folder / f"sample-{number:03d}.safetensors"
        metadata = {"sample": json.dumps({"number": number, **about}, sort_keys=True), "format": "pt"}
        metadata |= as_metadata(checkpoint.description)
        write_network(merged.arena, merged.integers, row, path, metadata, checkpoint.spelled)
        files.append((path, open_checkpoint(path).fingerprint))
    return files
