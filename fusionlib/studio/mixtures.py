"""What a view can show as its merge: an alpha, a profile by layer, or any registered method with its parameters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusionlib.contracts import METHODS, MergeMethod, parameters_of
from fusionlib.merging.build import build_method
from fusionlib.recipe import Recipe

NAMED = 4
"""So many checkpoints are named in words."""

Mixture = float | MergeMethod
"""The weight of A in an average with the others, or a merge method."""


def method_name(method: MergeMethod) -> str:
    """The name under which a method is registered."""
    return METHODS.name_of(type(method))


def parameters_set(method: MergeMethod) -> dict[str, Any]:
    """The hyper-parameters of a method that are not its defaults, as a recipe has them."""
    given = {item.name: (getattr(method, item.name), item.default) for item in parameters_of(type(method))}
    # What is drawn unit by unit is written whole, but for what is left empty: its defaults are no merge.
    written = {name: value != default or (method.by_preset and value != ()) for name, (value, default) in given.items()}
    return {name: _plain(value) for name, (value, _) in given.items() if written[name]}


def mixture_key(mixture: Mixture) -> float | str:
    """A hashable name of a mixture within one view, short also for a profile of thousands of tensors."""
    if not isinstance(mixture, MergeMethod):
        return round(mixture, 6)
    text = json.dumps([method_name(mixture), parameters_set(mixture)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def mixture_name(mixture: Mixture) -> str:
    """What a file of it is called: `alpha0.5`, `profile-0123456789`, `ties-0123456789`."""
    if not isinstance(mixture, MergeMethod):
        return f"alpha{mixture:g}"
    text = json.dumps(parameters_set(mixture), sort_keys=True)
    kind = method_name(mixture)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:10]}" if text != "{}" else kind


def mixture_words(mixture: Mixture) -> str:
    """In words: `TIES: density 0.25`."""
    if not isinstance(mixture, MergeMethod):
        return f"alpha {mixture:g}"
    given = ", ".join(f"{name} {_short(value)}" for name, value in parameters_set(mixture).items())
    return f"{mixture.title}: {given or 'defaults'}"


def recipe_words(recipe: Recipe) -> str:
    """A recipe's network in words, its checkpoints called as their files are: `night + fog, alpha 0.25`."""
    names = [Path(source.path).stem for source in recipe.checkpoints]
    seen = "" if recipe.views is None else f", {recipe.views.words}"
    heated = seen + ("" if recipe.temperature is None else f", temperature {recipe.temperature:g}")
    if len(names) == 1:
        return names[0] + heated
    rest = [f"{len(names) - NAMED} others"] if len(names) > NAMED + 1 else names[NAMED:]
    method = build_method(recipe.method, recipe.parameters)
    average = recipe.method == "linear" and len(names) == 2
    words = mixture_words(method.shares(2)[0] if average else method)
    buffers = "" if method.keeps_statistics or recipe.buffers == "average" else f", buffers {recipe.buffers}"
    return f"{' + '.join([*names[:NAMED], *rest])}, {words}{buffers}{heated}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: list(row) for key, row in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "/".join(f"{one:g}" for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
