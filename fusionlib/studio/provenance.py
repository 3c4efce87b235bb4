"""Where a checkpoint comes from: who gave it, and what its recipe or the run that wrote it says of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from fusionlib.errors import clipped, printable
from fusionlib.plain_yaml import load_yaml
from fusionlib.recipe import LIMIT_BYTES, Recipe
from fusionlib.studio.demo import DEMO, manifest

DEMO_FILE, UPLOAD, FILE, TRAINED = "demo", "upload", "file", "lab"
"""Who gave a checkpoint: the bundled demo, somebody through the browser, the operator, a training run of the app."""

_NAMED = 6
"""Members of a merge that are named."""


class Made(NamedTuple):
    """What a checkpoint is: `role` in a word or two, `about` in a sentence; both empty where nothing says it."""

    role: str = ""
    about: str = ""


NOTHING_SAID = Made()


class Place(NamedTuple):
    """A checkpoint to open: who gave it, what its folder is called, and what the demo's manifest says of it."""

    path: Path
    given: str
    origin: str
    made: Made = NOTHING_SAID


def demo_places() -> list[Place]:
    """The checkpoints of the demo, as its manifest describes them."""
    if not DEMO.is_dir():
        return []
    said = {one["name"]: Made(one.get("role", ""), one["about"]) for one in manifest().get("checkpoints", ())}
    paths = sorted(DEMO.glob("*.safetensors"))
    return [Place(path, DEMO_FILE, "demo", said.get(path.stem, NOTHING_SAID)) for path in paths]


def made_by(metadata: Mapping[str, str]) -> Made:
    """What the metadata of a file say: shown, and never believed."""
    recipe = recipe_of(metadata)
    if recipe is not None and len(recipe.checkpoints) > 1:
        names = [_short(Path(source.path).stem) for source in recipe.checkpoints]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return Made("merge", f"Merged by {_short(recipe.method)} of {', '.join(names[:_NAMED])}{more}")
    epoch = metadata.get("epoch", "")
    role = metadata.get("role", "")
    if "regime" in metadata and role and role != "epoch":
        return Made(_short(role), f"{_short(role).capitalize()} of a training run")
    if "plan" in metadata and epoch.isascii() and epoch.isdigit() and len(epoch) < 7:
        return Made(f"epoch {int(epoch)}", f"Epoch {int(epoch)} of a training run")
    return NOTHING_SAID


def recipe_of(metadata: Mapping[str, str]) -> Recipe | None:
    """The recipe that a file says it was made by; None where it says none."""
    text = metadata.get("recipe", "")
    if not text or len(text) > LIMIT_BYTES:
        return None
    try:
        return Recipe.model_validate(load_yaml(text))
    except (ValueError, ValidationError):
        return None


def _short(text: str) -> str:
    return clipped(printable(text), 40)
