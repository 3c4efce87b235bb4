"""What names alone tell about wrappers around a network, and about what training code keeps beside it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

WRAPPERS = (
    "student",
    "student_state_dict",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "module",
    "ema",
    "model_ema",
    "ema_state_dict",
    "ema_model",
    "teacher",
    "teacher_state_dict",
)
"""Names under which scripts keep a network, best first: the trained network before averages and teachers of it."""

STUDENTS = ("student", "model")
AVERAGES = frozenset({"ema", "teacher", "swa", "averaged", "avg", "shadow"})
COPIES = frozenset({"imnet", "imagenet", "pretrained"})
_PLAIN_WORDS = frozenset({"model", "net", "network", "module", "state", "dict", "params", "weights", "mean", "student"})
"""Of such words are the names of groups that follow the trained network, or keep what training began with; `ema_head`
is none.
"""

STRAYS = frozenset(
    {
        "n_averaged",
        "num_updates",
        "decay",
        "mean",
        "std",
        "pixel_mean",
        "pixel_std",
        "step",
        "global_step",
        "epoch",
        "iteration",
    }
)
"""Tensors that training code keeps beside the modules of a network, whose own names have a dot, all but a few."""

PREFIXES = ("module.", "_orig_mod.", "model.")
_DEEPEST = 16
"""Wrappers around wrappers that are looked through."""

BESIDE = "::"
"""Between a key and the names under it, where several keys of a file hold tensors. No module's name has it."""

TWINS = "ema_*"
"""The averages that mmcv registers beside a network: `ema_head_weight` for `head.weight`."""


def rank_of(group: str) -> tuple[int, int]:
    """Smaller is better: the trained network before averages and teachers of it, these before copies of pretrained
    weights.
    """
    head = re.split(r"\.|::", group)[0]
    words = set(re.split(r"[\W_]+", group.lower()))
    order = WRAPPERS.index(head) if head in WRAPPERS else len(WRAPPERS)
    if words & (AVERAGES | COPIES) and words - {""} <= AVERAGES | COPIES | _PLAIN_WORDS:
        return 3 if words & COPIES else 2, order
    return int(head not in WRAPPERS), order


def strip_prefixes(names: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Clean names for stored ones, as `{stored: clean}` in the given order, and notes.

    `module.`, `_orig_mod.` and `model.` go, repeatedly, where every name carries the prefix, and so does the name of an
    average that lies there alone. Where a file keeps a student beside its averages, its teacher or a pretrained copy,
    only the student stays.
    """
    clean = {name: name for name in names}
    notes: list[str] = []
    for _ in range(_DEEPEST):
        shorter = (
            _best_set(clean, notes)
            or _without_prefix(clean, notes)
            or _student_only(clean, notes)
            or _without_twins(clean, notes)
            or _without_strays(clean, notes)
        )
        if shorter is None:
            break
        clean = shorter
    return clean, tuple(notes)


def averaged_twins(names: Collection[str]) -> dict[str, str]:
    """Names such as `ema_head_weight`, each with the name whose average it is: `head.weight`."""
    flat = {name.replace(".", "_"): name for name in names if "." in name}
    return {name: flat[name[4:]] for name in names if name.startswith("ema_") and "." not in name and name[4:] in flat}


def _best_set(clean: dict[str, str], notes: list[str]) -> dict[str, str] | None:
    """The best of the sets that were saved under keys of their own; none where no key is a usual one."""
    sets = Counter(name.partition(BESIDE)[0] for name in clean.values() if BESIDE in name)
    best = min(sets, key=rank_of, default="")
    if best not in WRAPPERS or sum(sets.values()) < len(clean):
        return None
    return _only(clean, f"{best}{BESIDE}", f"tensors found under '{best}'", notes)


def _without_prefix(clean: dict[str, str], notes: list[str]) -> dict[str, str] | None:
    first = next(iter(clean.values()), "").partition(".")[0] + "."
    for prefix in (*PREFIXES, *((first,) if rank_of(first)[0] > 1 else ())):
        if clean and all(name.startswith(prefix) and name != prefix for name in clean.values()):
            notes.append(f"prefix '{prefix}' removed")
            return {stored: name.removeprefix(prefix) for stored, name in clean.items()}
    return None


def _student_only(clean: dict[str, str], notes: list[str]) -> dict[str, str] | None:
    groups = dict.fromkeys(name.partition(".")[0] for name in clean.values() if "." in name)
    followers = {group for group in groups if rank_of(group)[0] > 1}
    if not followers:
        return None
    student = next((group for group in STUDENTS if group in groups), None) or _mirrored(clean, followers)
    if student:
        return _only(clean, f"{student}.", f"the student '{student}.*' taken", notes)
    if student is None:
        return None
    rest = {stored: name for stored, name in clean.items() if name.partition(".")[0] not in followers}
    notes.append(
        "the student taken; left out: " + counted(name for stored, name in clean.items() if stored not in rest)
    )
    return rest


def _mirrored(clean: dict[str, str], followers: set[str]) -> str | None:
    """The group that has at least half of the names of one of `followers`, its wrappers apart; empty for names outside
    of groups.
    """
    for follower in followers:
        inside = {name: name.removeprefix(f"{follower}.") for name in clean.values() if name.startswith(f"{follower}.")}
        for _ in range(_DEEPEST):
            inside = _without_prefix(inside, []) or _without_strays(inside, []) or inside
        names = set(inside.values())
        votes = Counter("" for name in clean.values() if name in names)
        votes.update(
            head
            for head, _, rest in (name.partition(".") for name in clean.values())
            if rest in names and head not in followers
        )
        best, count = max(votes.items(), key=lambda item: item[1], default=("", 0))
        if 2 * count >= len(names):
            return best
    return None


def _without_twins(clean: dict[str, str], notes: list[str]) -> dict[str, str] | None:
    twins = averaged_twins(clean.values())
    if not twins:
        return None
    notes.append(f"the student taken; left out: '{TWINS}' ({len(twins)} tensors)")
    return {stored: name for stored, name in clean.items() if name not in twins}


def _without_strays(clean: dict[str, str], notes: list[str]) -> dict[str, str] | None:
    """Where every other name carries a prefix: averaged models (`torch.optim.swa_utils`) keep `n_averaged` beside
    `module.*`.
    """
    rest = {stored: name for stored, name in clean.items() if name not in STRAYS}
    if len(rest) == len(clean) or _without_prefix(rest, []) is None:
        return None
    notes.append("left out: " + counted(name for name in clean.values() if name in STRAYS))
    return rest


def _only(clean: dict[str, str], start: str, note: str, notes: list[str]) -> dict[str, str]:
    notes.append(f"{note}; left out: " + counted(name for name in clean.values() if not name.startswith(start)))
    return {stored: name.removeprefix(start) for stored, name in clean.items() if name.startswith(start)}


def counted(names: Iterable[str]) -> str:
    """Groups with the numbers of their tensors; names of one part as they are."""
    heads = Counter(re.match(r".*?(::|\.|$)", name)[0] for name in names)  # type: ignore[index]
    return listed(
        [
            f"{as_pattern(head)} ({count} tensor{'s' if count > 1 else ''})" if head.endswith((".", BESIDE)) else head
            for head, count in heads.items()
        ]
    )


def as_pattern(label: str) -> str:
    """`'ema.*'` for names that begin with `ema.`, `'ema'` for the set under that key."""
    return f"'{label.removesuffix(BESIDE)}'" if label.endswith(BESIDE) else f"'{label}*'"


def listed(parts: list[str], most: int = 6) -> str:
    """The first few, and how many more."""
    return ", ".join(parts[:most]) + (f" and {len(parts) - most} more" if len(parts) > most else "")
