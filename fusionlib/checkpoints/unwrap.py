"""Finding the tensors of a network inside what a training script saved. Pure functions on names and nested dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fusionlib.checkpoints.prefixes import BESIDE, WRAPPERS, rank_of

ASIDE = (
    "optim",
    "sched",
    "scaler",
    "rng",
    "args",
    "config",
    "cfg",
    "hparams",
    "hyper",
    "callbacks",
    "loops",
    "amp",
    "meta",
)
"""Beginnings of keys that never hold a network, though they may hold tensors."""

_MAX_DEPTH = 4
_MOST_SETS = 16
_LISTED = 5
_SHOWN = 60


def find_tensors(saved: Any) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The named tensors in `saved`, in their order, and plain sentences on what was chosen and what was left out.

    A mapping under a well-known key wins over tensors that lie beside it. Where no well-known key exists, tensors at
    the top are taken, or else those of the mappings that have some. Names are returned as stored, those of several
    mappings as `key::name`, the best mapping first: which of them is meant is up to `fusionlib.checkpoints.groups`.

    Raises: `TypeError` where there is no mapping, `ValueError` where there are too many; the text says it.
    """
    path, found, notes = _descend(saved, ())
    if path:
        notes = (f"tensors found under '{'.'.join(path)}'", *notes)
    tensors = {name: value for name, value in found.items() if _is_entry(name, value)}
    rest = [_shown(name) for name, value in found.items() if not _is_entry(name, value)]
    if rest:
        notes = (*notes, _left_out(rest))
    return tensors, notes


def _descend(
    saved: Any, path: tuple[str, ...], split: bool = True
) -> tuple[tuple[str, ...], Mapping[Any, Any], tuple[str, ...]]:
    if not isinstance(saved, Mapping):
        raise TypeError(f"it holds a {type(saved).__name__}, not named tensors")
    keys = _choose(saved) if len(path) < _MAX_DEPTH else []
    if not split and any(key in WRAPPERS for key in keys):
        keys = keys[:1]
    if len(keys) > _MOST_SETS or (len(keys) > 1 and not split):
        raise ValueError(f"it holds {len(keys)} sets of tensors ({_listed(keys)}) and none under a usual name")
    if not keys:
        return path, saved, ()
    rest = [_shown(name) for name in saved if name not in keys]
    notes = (_left_out(rest),) if rest else ()
    if len(keys) == 1:
        path, found, more = _descend(saved[keys[0]], (*path, keys[0]), split)
        return path, found, (*notes, *more)
    sets = {key: _descend(saved[key], (*path, key), False)[1] for key in keys}
    return (
        path,
        {
            f"{key}{BESIDE}{name}": tensor
            for key, found in sets.items()
            for name, tensor in found.items()
            if _is_entry(name, tensor)
        },
        notes,
    )


def _choose(saved: Mapping[Any, Any]) -> list[str]:
    """The keys to descend into, best first; none where the tensors lie right here."""
    seen: dict[int, bool] = {}
    holders = [key for key, value in saved.items() if isinstance(key, str) and _holds_tensors(value, seen)]
    if any(key in WRAPPERS for key in holders):
        known: dict[int, str] = {}
        for key in sorted((key for key in holders if key in WRAPPERS or rank_of(key)[0] > 1), key=rank_of):
            known.setdefault(id(saved[key]), key)  # a mapping that stands under two keys is one set
        return list(known.values())
    if any(_is_entry(key, value) for key, value in saved.items()):
        return []
    return [key for key in holders if not key.lower().startswith(ASIDE)]


def _holds_tensors(value: Any, seen: dict[int, bool], depth: int = 1) -> bool:
    """Whether tensors lie in `value` or below.

    `seen` keeps mappings that refer to one another from being walked forever.
    """
    if not isinstance(value, Mapping) or depth > _MAX_DEPTH:
        return False
    if id(value) not in seen:
        seen[id(value)] = False
        seen[id(value)] = any(
            _is_entry(key, item)
            or (isinstance(key, str) and not key.lower().startswith(ASIDE) and _holds_tensors(item, seen, depth + 1))
            for key, item in value.items()
        )
    return seen[id(value)]


def _is_entry(key: Any, value: Any) -> bool:
    return isinstance(key, str) and isinstance(value, torch.Tensor)


def _left_out(names: list[str]) -> str:
    if len(names) == 1:
        return f"1 entry beside the tensors left out: {names[0]}"
    return f"{len(names)} entries beside the tensors left out: {_listed(names)}"


def _shown(key: Any) -> str:
    """A key in a note: whole where it is short, by its type where it is no text."""
    return key[:_SHOWN] if isinstance(key, str) else f"({type(key).__name__})"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
