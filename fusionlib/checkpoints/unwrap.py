"""Finding the tensors of a network inside what a training script saved. Pure functions on names and nested dicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

WRAPPERS = ("student", "student_state_dict", "state_dict", "model_state_dict", "model_state", "model", "net", "network",
            "weights", "params", "module", "ema", "model_ema", "ema_state_dict", "ema_model", "teacher",
            "teacher_state_dict")
"""Keys under which scripts keep a network, best first: the trained network before averages and teachers of it."""

ASIDE = ("optim", "sched", "scaler", "rng", "args", "config", "cfg", "hparams", "hyper", "callbacks", "loops", "amp", "meta")
"""Beginnings of keys that never hold a network, though they may hold tensors."""

STUDENTS = ("student", "model")
TEACHERS = ("ema_model", "imnet_model", "teacher", "teacher_model", "ema", "model_ema")
PREFIXES = ("module.", "_orig_mod.", "model.")

_MAX_DEPTH = 4
_LISTED = 5
_SHOWN = 60


def find_tensors(saved: Any) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The named tensors in `saved`, in their order, and plain sentences on what was chosen and what was left out.

    A mapping under a well-known key wins over tensors that lie beside it. Where no well-known key exists, tensors at the
    top are taken, or else those of the only mapping that has some. Names are returned as stored.

    Raises: `TypeError` where there is no mapping, `ValueError` where there is no single choice; the text says it.
    """
    path, found, notes = _descend(saved, ())
    if path:
        notes = (f"tensors found under '{'.'.join(path)}'", *notes)
    tensors = {name: value for name, value in found.items() if _is_entry(name, value)}
    rest = [_shown(name) for name, value in found.items() if not _is_entry(name, value)]
    if rest:
        notes = (*notes, _left_out(rest))
    return tensors, notes


def _descend(saved: Any, path: tuple[str, ...]) -> tuple[tuple[str, ...], Mapping[Any, Any], tuple[str, ...]]:
    if not isinstance(saved, Mapping):
        raise TypeError(f"it holds a {type(saved).__name__}, not named tensors")
    key = _choose(saved) if len(path) < _MAX_DEPTH else None
    if key is None:
        return path, saved, ()
    rest = [_shown(name) for name in saved if name != key]
    path, found, notes = _descend(saved[key], (*path, key))
    return path, found, (*((_left_out(rest),) if rest else ()), *notes)


def _choose(saved: Mapping[Any, Any]) -> str | None:
    """The key to descend into, or None where the tensors lie right here."""
    seen: dict[int, bool] = {}
    holders = [key for key, value in saved.items() if isinstance(key, str) and _holds_tensors(value, seen)]
    known = [key for key in WRAPPERS if key in holders]
    if known:
        return known[0]
    if any(_is_entry(key, value) for key, value in saved.items()):
        return None
    others = [key for key in holders if not key.lower().startswith(ASIDE)]
    if len(others) > 1:
        raise ValueError(f"it holds several sets of tensors ({_listed(others)}) and none under a usual name")
    return others[0] if others else None


def _holds_tensors(value: Any, seen: dict[int, bool], depth: int = 1) -> bool:
    """Whether tensors lie in `value` or below. `seen` keeps mappings that refer to one another from being walked forever."""
    if not isinstance(value, Mapping) or depth > _MAX_DEPTH:
        return False
    if id(value) not in seen:
        seen[id(value)] = False
        seen[id(value)] = any(_is_entry(key, item) or (isinstance(key, str) and not key.lower().startswith(ASIDE)
                                                       and _holds_tensors(item, seen, depth + 1))
                              for key, item in value.items())
    return seen[id(value)]


def _is_entry(key: Any, value: Any) -> bool:
    return isinstance(key, str) and isinstance(value, torch.Tensor)


def strip_prefixes(names: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Clean names for stored ones, as `{stored: clean}` in the given order, and notes.

    `module.`, `_orig_mod.` and `model.` go, repeatedly, where every name carries the prefix. Where a file keeps a student
    beside its teacher (`model.*` with `ema_model.*`, `imnet_model.*`; `student.*` with `teacher.*`), only the student stays.
    """
    clean = {name: name for name in names}
    notes: list[str] = []
    while True:
        shorter = _without_prefix(clean, notes) or _student_only(clean, notes) or _without_counter(clean, notes)
        if shorter is None:
            return clean, tuple(notes)
        clean = shorter


def _without_prefix(clean: dict[str, str], notes: list[str]) -> dict[str, str] | None:
    for prefix in PREFIXES:
        if clean and all(name.startswith(prefix) and name != prefix for name in clean.values()):
            notes.append(f"prefix '{prefix}' removed")
            return {stored: name.removeprefix(prefix) for stored, name in clean.items()}
    return None


def _student_only(clean: dict[str, str], notes: list[str]) -> dict[str, str] | None:
    groups: dict[str, int] = {}
    for name in clean.values():
        groups[name.partition(".")[0]] = groups.get(name.partition(".")[0], 0) + 1
    student = next((group for group in STUDENTS if group in groups), None)
    if student is None or not any(group in groups for group in TEACHERS):
        return None
    left = ", ".join(f"'{group}.*' ({count} tensors)" for group, count in groups.items() if group != student)
    notes.append(f"the student '{student}.*' taken; left out: {left}")
    start = f"{student}."
    return {stored: name.removeprefix(start) for stored, name in clean.items() if name.startswith(start)} or None


def _without_counter(clean: dict[str, str], notes: list[str]) -> dict[str, str] | None:
    """Averaged models (`torch.optim.swa_utils`) keep `n_averaged` beside `module.*`."""
    rest = {stored: name for stored, name in clean.items() if name != "n_averaged"}
    if len(rest) == len(clean) or not rest or not all(name.startswith("module.") for name in rest.values()):
        return None
    notes.append("the averaging counter 'n_averaged' left out")
    return rest


def _left_out(names: list[str]) -> str:
    if len(names) == 1:
        return f"1 entry beside the tensors left out: {names[0]}"
    return f"{len(names)} entries beside the tensors left out: {_listed(names)}"


def _shown(key: Any) -> str:
    """A key in a note: whole where it is short, by its type where it is no text."""
    return key[:_SHOWN] if isinstance(key, str) else f"({type(key).__name__})"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
