"""Merged networks of a table, or of a search, written into the home folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from fusionlib.atomic import make_folder
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.errors import UsageError
from fusionlib.recipe import Recipe
from fusionlib.studio.comparison import Comparison
from fusionlib.studio.export import Export
from fusionlib.studio.search import SearchWork


class Exports:
    """Writes merges into a folder, each named by its content; `merge` carries a recipe out."""

    def __init__(self, folder: Path, merge: Callable[..., Export]) -> None:
        self.folder, self._merge = folder, merge

    def row(self, comparison: Comparison, name: str, progress: Progress | None = None) -> Export:
        """The merged network of a comparison's row."""
        return self._write(comparison.recipe(name), comparison.members(name), comparison.pictures, progress)

    def found(self, search: SearchWork, progress: Progress | None = None) -> Export:
        """The merged network that a search found. Raises `UsageError` where it is not one merged network."""
        recipe = search.best
        if recipe is None or not is_merge(recipe):
            raise UsageError(
                "What the search found" if recipe else "A search without a result",
                "one merged network",
                "Take the recipe instead" if recipe else "Run the search to its end",
            )
        prints = {one.fingerprint: one for one in search.checkpoints}
        return self._write(recipe, [prints[one.fingerprint] for one in recipe.checkpoints], search.looked_at, progress)

    def _write(
        self, recipe: Recipe, members: Sequence[Checkpoint], pictures: DecodedCache, progress: Progress | None
    ) -> Export:
        make_folder(self.folder)
        name = f"{recipe.method}-{content_of(recipe)[:16]}.safetensors"
        return self._merge(recipe, members, self.folder / name, pictures, progress)


def content_of(recipe: Recipe) -> str:
    """SHA-256 of what a recipe says, wherever its files lie."""
    return hashlib.sha256(recipe.without_folders().to_yaml().encode()).hexdigest()


def is_merge(recipe: Recipe) -> bool:
    """Whether a recipe is about one network made of several."""
    return recipe.method != "ensemble" and len(recipe.checkpoints) > 1
