"""The checkpoints that a recipe names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusionlib.checkpoints.groups import Choice, Recognise
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.errors import CheckpointError, RecipeError
from fusionlib.recipe import Recipe


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for the file system, say
        return False


def open_sources(recipe: Recipe, folders: Sequence[Path], recognise: Recognise | None = None) -> list[Checkpoint]:
    """Open the checkpoints, relative paths tried in each of `folders`. `recognise` helps where no group is named.

    Raises `RecipeError` where a file is missing or its fingerprint is no longer the recipe's: other bytes would
    silently give another network.
    """
    opened = []
    for source in recipe.checkpoints:
        candidates = [folder / source.path for folder in folders]
        path = next((candidate for candidate in candidates if _is_there(candidate)), None)
        if path is None:
            raise RecipeError(
                f"{source.path[:200]} is not there",
                "the checkpoints beside the recipe, or in a folder given with --folder",
                "Move the file there or correct the path",
            )
        try:
            checkpoint = open_checkpoint(
                path, choice=Choice(() if source.group is None else (source.group,), recognise)
            )
        except CheckpointError as error:
            raise RecipeError(error.got, error.needs, error.do) from error
        if checkpoint.fingerprint != source.fingerprint:
            raise RecipeError(
                f"{path.name} has fingerprint {checkpoint.fingerprint[:12]}…, the recipe names"
                f" {source.fingerprint[:12]}…",
                "the file that the recipe was written for",
                "Find the original file, or write a new recipe",
            )
        opened.append(checkpoint)
    return opened
