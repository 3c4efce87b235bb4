"""Recipe files as checkpoints: the network that one names, merged into the home folder once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fusionlib.architectures.recognise import recognise
from fusionlib.atomic import make_folder
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.checkpoints.sources import open_sources
from fusionlib.contracts import STATISTICS, MergeMethod, Progress
from fusionlib.engine.identity import architecture_key
from fusionlib.errors import FusionError, UsageError
from fusionlib.merging.build import build_method
from fusionlib.recipe import Recipe, read_recipe
from fusionlib.runs.keys import key_of
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.studio.export import refuse_unwritten, run_recipe


class RecipeFiles:
    """The networks of recipes as files in `folder`, by content: merged when they are asked for first.

    The store has the fingerprint of each, so that a file that somebody has changed is made again.
    """

    def __init__(self, runner: Runner, store: Store, folder: Path) -> None:
        self._runner, self._store, self._folder = runner, store, folder

    def read(self, path: Path) -> Recipe:
        """The recipe in a file, its checkpoints found beside it and open from now on."""
        recipe = read_recipe(path)
        sources = open_sources(recipe, [path.parent], recognise)
        self._runner.builder.merger.sources.know(sources)
        paths = [
            item.model_copy(update={"path": str(one.path)})
            for item, one in zip(recipe.checkpoints, sources, strict=True)
        ]
        return recipe.model_copy(update={"checkpoints": tuple(paths)})

    def checkpoint(self, recipe: Recipe, path: Path, progress: Progress | None = None) -> Checkpoint:
        """The network of the recipe that was read from `path`, called as that file is.

        Raises: `UsageError` for what no single file can hold: networks that answer together, scaled logits.
        """
        method = _of_one_network(recipe, path)
        key = self._key(recipe, method)
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in path.stem)[:100]
        out = self._folder / f"{safe}-{key[:16]}.safetensors"
        found = self._stored(key, out)
        if found is None:
            self._write(recipe, out, key, progress)
            found = open_checkpoint(out)
        found.name = path.stem
        return found

    def _write(self, recipe: Recipe, out: Path, key: str, progress: Progress | None) -> None:
        merger = self._runner.builder.merger
        make_folder(self._folder)
        export = run_recipe(
            recipe,
            merger.sources.checkpoints(recipe),
            out,
            worker=merger.worker,
            device=merger.device,
            calibration=merger.sources.calibration(recipe),
            progress=progress,
            cache=merger.statistics,
            tally=self._runner.tally,
        )
        self._store.put(key, {"fingerprint": open_checkpoint(out).fingerprint, "notes": list(export.notes)})

    def _stored(self, key: str, out: Path) -> Checkpoint | None:
        """The file as it was written; None where there is none, or another by now."""
        known = self._store.get(key)
        try:
            found = open_checkpoint(out) if known else None
            return found if found and known and found.fingerprint == known.get("fingerprint") else None
        except FusionError:
            return None

    def _key(self, recipe: Recipe, method: MergeMethod) -> str:
        """All that decides what is written; where the checkpoints lie does not."""
        merger = self._runner.builder.merger
        known = merger.recognised(merger.sources.checkpoint(recipe.checkpoints[merger.anchor(recipe, method)]))
        calibration = recipe.calibration and [recipe.calibration.fingerprint, recipe.calibration.count]
        about: dict[str, Any] = {
            **recipe.model_dump(mode="json", exclude={"tool", "checkpoints", "calibration"}),
            "calibration": calibration,
            "checkpoints": [source.fingerprint for source in recipe.checkpoints],
            "version": method.version,
            "statistics": {name: STATISTICS.get(name).version for name in method.statistics},
            "network": known and architecture_key(*known),
        }
        return key_of("recipe", about)


def _of_one_network(recipe: Recipe, path: Path) -> MergeMethod:
    method = build_method(recipe.method, recipe.parameters)
    count = method.networks(len(recipe.checkpoints))
    if count > 1:
        raise UsageError(
            f"{path.name} is {count} networks that answer together ({method.title})",
            "a recipe of one network, which a file can hold",
            "Measure it alone, with evaluate, or take another recipe",
        )
    refuse_unwritten(recipe, path.name)
    return method
