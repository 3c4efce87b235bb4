"""The demo's figures: measures everything that assets/demo/manifest.json names and writes the figures into it.

`python tests/benchmarks/demo.py [--home DIR]`, about 15 minutes on two cores. What a home folder knows is not measured
again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.contracts import MEASURES
from fusionlib.data.cache import DecodedCache
from fusionlib.data.streets import DOMAINS
from fusionlib.engine.recipes import recipe_alone, write_recipe
from fusionlib.measures import states
from fusionlib.question import Question
from fusionlib.recipe import Recipe
from fusionlib.studio import Options, Studio

DEMO = Path(__file__).parents[2] / "assets" / "demo"
"""Where the checkpoints and the manifest lie."""


class Figures:
    """Measures networks on data that are named by their specs."""

    def __init__(self, home: Path) -> None:
        self.studio = Studio(Options(demo=False, home=home, device="cpu"))

    def of(self, recipe: Recipe, spec: str) -> dict[str, Any]:
        """mIoU, pixel accuracy and loss of all pictures; on mixed weather also mIoU by domain and its harmonic mean."""
        pictures = self.studio.workspace.open_pictures(spec, None)
        told = self.studio.runner.measure(recipe, pictures)
        figures: dict[str, Any] = {name: round(told[name], 4) for name in ("miou", "pixel_accuracy", "loss")}
        if spec.startswith("streets:all:"):
            by_domain = {domain: self._part(recipe, pictures, at) for at, domain in enumerate(DOMAINS)}
            figures["domains"] = {domain: round(value, 4) for domain, value in by_domain.items()}
            figures["harmonic_mean"] = round(len(by_domain) / sum(1 / value for value in by_domain.values()), 4)
        return figures

    def _part(self, recipe: Recipe, pictures: DecodedCache, first: int) -> float:
        """mIoU of the pictures of one domain: they take turns."""
        chosen = range(first, len(pictures), len(DOMAINS))
        question = Question((recipe,), pictures.fingerprint(), "confusion")
        found = self.studio.runner.pictures(question, pictures, list(chosen))
        assert found is not None, "measured a moment ago"
        return MEASURES.get("confusion").compute(states.add(found))["miou"]


def main() -> None:
    """Measure, and write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    path, figures = DEMO / "manifest.json", Figures(parser.parse_args().home)
    manifest = json.loads(path.read_text())
    files = {one["name"]: open_checkpoint(DEMO / f"{one['name']}.safetensors") for one in manifest["checkpoints"]}
    alone: dict[str, dict[str, Any]] = {}
    for one in manifest["checkpoints"]:
        recipe = recipe_alone(files[one["name"]])
        alone[one["name"]] = one["measured"] = {spec: figures.of(recipe, spec) for spec in manifest["measured_on"]}
        print(one["name"], {spec: told["miou"] for spec, told in one["measured"].items()}, flush=True)
    for merge in manifest["merges"]:
        members = [files[name] for name in merge["checkpoints"]]
        recipe = write_recipe(members, merge["method"], merge["parameters"], merge["buffers"])
        merge["measured"] = {
            spec: _held_against(figures.of(recipe, spec), alone, {*merge["checkpoints"], "start"}, spec)
            for spec in merge["measured_on"]
        }
        print(merge["name"], merge["measured"], flush=True)
    path.write_text(json.dumps(manifest, indent=1) + "\n")


def _held_against(
    merged: dict[str, Any], alone: dict[str, dict[str, Any]], names: set[str], spec: str
) -> dict[str, Any]:
    """Figures of a merge, and by how much its mIoU is above the best single network's: of its own, and `start`."""
    scores = {name: alone[name][spec]["miou"] for name in sorted(names)}
    best = max(scores, key=lambda name: scores[name])
    return {**merged, "singles": scores, "best_single": best, "gain": round(merged["miou"] - scores[best], 4)}


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
