"""Merged networks of a table, or of a search, written into the home folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fusionlib.atomic import make_folder
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.errors import UsageError
from fusionlib.recipe import Recipe
from fusionlib.studio.comparison import Comparison
from fusionlib.studio.export import Export
from fusionlib.studio.hub_export import hub_export
from fusionlib.studio.search import SearchWork


class Exports:
    """Writes merges into a folder, each named by its content; `merge` carries a recipe out."""

    def __init__(self, folder: Path, merge: Callable[..., Export]) -> None:
        self.folder, self._merge = folder, merge

    def row(self, comparison: Comparison, name: str, progress: Progress | None = None, hub: bool = False) -> Export:
        """The merged network of a comparison's row; `hub` as in `write`."""
        recipe = comparison.recipe(name)
        return self.write(recipe, comparison.members(name), _name(recipe), comparison.pictures, progress, hub)

    def found(self, search: SearchWork, progress: Progress | None = None, hub: bool = False) -> Export:
        """The merged network that a search found. Raises `UsageError` where it is not one merged network."""
        recipe = search.best
        if recipe is None or not is_merge(recipe):
            raise UsageError(
                "What the search found" if recipe else "A search without a result",
                "one merged network",
                "Take the recipe instead" if recipe else "Run the search to its end",
            )
        return self.write(recipe, members_of(search, recipe), _name(recipe), search.looked_at, progress, hub)

    def write(
        self,
        recipe: Recipe,
        members: Sequence[Checkpoint],
        name: str,
        pictures: DecodedCache | None,
        progress: Progress | None = None,
        hub: bool = False,
    ) -> Export:
        """A file of that name; with `hub` a folder of Hugging Face, in the place of an earlier one."""
        make_folder(self.folder)
        if not hub:
            return self._merge(recipe, members, self.folder / f"{name}.safetensors", pictures, progress)
        with hub_export(recipe, members, self.folder / name, replace=True) as file:
            export = self._merge(recipe, members, file, pictures, progress)
        return replace(export, path=self.folder / name)


def members_of(search: SearchWork, recipe: Recipe) -> list[Checkpoint]:
    """The checkpoints of a recipe that a search came to."""
    prints = {one.fingerprint: one for one in search.checkpoints}
    return [prints[one.fingerprint] for one in recipe.checkpoints]


def _name(recipe: Recipe) -> str:
    return f"{recipe.method}-{content_of(recipe)[:16]}"


def content_of(recipe: Recipe) -> str:
    """SHA-256 of what a recipe says, wherever its files lie."""
    return hashlib.sha256(recipe.without_folders().to_yaml().encode()).hexdigest()


def is_merge(recipe: Recipe) -> bool:
    """Whether a recipe is about one network made of several."""
    return recipe.method != "ensemble" and len(recipe.checkpoints) > 1
