"""Which of a file's tensors are the network: one group of names among students, their averages, teachers and strays.

Pure functions on names and shapes. A group is named by what its names begin with as they are stored: `ema.module.`, or
`ema::` for the set that was saved under the key `ema`. The empty group are the names as they are, without strays.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from fusionlib.checkpoints.choices import RULE
from fusionlib.checkpoints.prefixes import (
    BESIDE,
    STRAYS,
    TWINS,
    as_pattern,
    averaged_twins,
    counted,
    listed,
    rank_of,
    strip_prefixes,
)
from fusionlib.errors import CheckpointError, UsageError

Shapes = Mapping[str, tuple[int, ...]]
Recognise = Callable[[Shapes], object]
"""Anything but None where a known network has these tensors; further ones may lie beside them."""

_DEEPEST = 4
_FEWEST = 16
"""A group with less than this part of a file's tensors is a module of a network, not one."""

_WORDS_OF_TRAINING = {"criterion", "loss", "losses", "metric", "metrics"}


@dataclass(frozen=True)
class Choice:
    """What decides between the groups of a file, first to last: the user's words, a known network, the names alone.

    `groups` are names of groups as typed: `ema` for every file, `run1.pth=ema` for one. `rename` maps regular
    expressions to replacements, applied in their order to the names of the group that was taken.
    """

    groups: tuple[str, ...] = ()
    recognise: Recognise | None = None
    rename: Mapping[str, str] = field(default_factory=dict)

    def group_of(self, path: PurePath) -> str | None:
        """The group asked for in this file; one named for the file wins. None where none is."""
        asked: str | None = None
        for text in self.groups:
            file, equals, group = text.rpartition("=")
            if equals and file in (path.name, path.stem, str(path)):
                return group
            asked = asked if equals else text
        return asked

    def check(self, paths: Iterable[PurePath]) -> None:
        """Raises `UsageError` for a group of a file that is none of `paths`."""
        known = {text for path in paths for text in (path.name, path.stem, str(path))}
        for text in self.groups:
            file, equals, group = text.rpartition("=")
            if equals and (file not in known or not group):
                raise UsageError(
                    f"--group {text[:80]}", "GROUP, or FILE=GROUP for one of the checkpoints", "Correct --group"
                )


@dataclass(frozen=True)
class Naming:
    """`clean` maps stored names to those of the network. `group` brings the same again; None is what the names alone
    give.

    `others` are groups that could be taken in its place. `mark` is empty where the file's own fingerprint stands for
    these tensors.
    """

    clean: Mapping[str, str]
    group: str | None = None
    others: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    mark: str = ""

    def fingerprint(self, whole: str) -> str:
        """That of the file, `whole`, or for a group that the file's rule would not take one of its own: 64 hexadecimal
        digits.
        """
        return hashlib.sha256(f"{whole}\0{self.mark}".encode()).hexdigest() if self.mark else whole

    @property
    def several(self) -> bool:
        """Whether the file holds another network beside this one."""
        return bool(self.others) or self.group is not None

    def shapes(self, stored: Shapes) -> dict[str, tuple[int, ...]]:
        """Shape by clean name."""
        return {clean: stored[name] for name, clean in self.clean.items()}


def name_tensors(
    file: str,
    shapes: Shapes,
    group: str | None = None,
    recognise: Recognise | None = None,
    rename: Mapping[str, str] | None = None,
) -> Naming:
    """The tensors of one network among those of a file, and what was set aside.

    A known network wins over what names alone suggest; of several groups that it knows, the best by rank: the trained
    network before averages and teachers of it, these before copies of pretrained weights.

    Raises: `CheckpointError` where `group` is not there, or nothing says which of several sets to take; `UsageError`
    for a wrong rename.
    """
    rename = rename or {}

    def known(found: Shapes) -> bool:
        return (
            recognise is not None
            and recognise({renamed(name, rename): shape for name, shape in found.items()}) is not None
        )

    if group is None:
        naming = _by_names(shapes)
        if recognise is not None and not known(naming.shapes(shapes)):
            naming = next((_exact(shapes, label) for label, found in _ranked(shapes) if known(found)), naming)
    else:
        naming = _wanted(file, shapes, group, known)
    if any(BESIDE in name for name in naming.clean.values()):
        sets = dict.fromkeys(name.partition(BESIDE)[0] for name in shapes)
        raise CheckpointError(
            f"{file} holds several sets of tensors ({listed(list(sets))}) and none under a usual name",
            "one network",
            f"Choose one, as with --group {next(iter(sets))}",
        )
    return _with_renames(naming, rename)


def renames_of(texts: Sequence[str]) -> Mapping[str, str]:
    """`PATTERN=NAME` texts as a mapping. Raises `UsageError`."""
    renames = {}
    for text in texts:
        pattern, equals, replacement = text.rpartition("=")
        if not equals or not pattern:
            raise UsageError(f"--rename {text[:80]}", "PATTERN=NAME", "Correct --rename")
        renames[pattern] = replacement
    return renames


def renamed(name: str, rename: Mapping[str, str]) -> str:
    """`name` after every regular expression has been replaced, in turn. Raises `UsageError` for one that is none."""
    for pattern, replacement in rename.items():
        try:
            name = re.sub(pattern, replacement, name)
        except (re.error, IndexError) as problem:
            raise UsageError(
                f"Rename {pattern[:80]!r}: {problem}", "a regular expression and its replacement", "Correct the pattern"
            ) from problem
    return name


def agreed(files: Sequence[tuple[Shapes, Naming]]) -> list[str | None]:
    """For each file the group that makes its tensors those of another file; None where it fits one already, or cannot.

    Nothing that may be part of a network is given up for that: no head, only tensors that training code keeps beside
    it.
    """
    taken = [frozenset(naming.shapes(shapes).items()) for shapes, naming in files]
    count = Counter(taken)
    alone = [number for number, tensors in enumerate(taken) if count[tensors] == 1]
    if len(files) < 2 or not alone:
        return [None] * len(files)
    offers = {
        number: [
            (label, frozenset(found.items()))
            for label, found in _ranked(files[number][0])
            if _keeps_all(files[number][0], label, found)
        ]
        for number in alone
    }
    offered = Counter(tensors for found in offers.values() for tensors in {tensors for _, tensors in found})
    labels: list[str | None] = [None] * len(files)
    for number, found in offers.items():
        if offered[taken[number]] > (taken[number] in {tensors for _, tensors in found}):
            continue  # a group of another file becomes what this one is
        others = [(label, tensors) for label, tensors in found if tensors != taken[number]]
        fits = [label for label, tensors in others if count[tensors]] or [
            label for label, tensors in others if offered[tensors] > 1
        ]
        labels[number] = fits[0] if fits else None
    return labels


def _keeps_all(shapes: Shapes, label: str, found: Shapes) -> bool:
    """Whether what is left beside the group is surely no part of the network."""
    beside = {head for name in shapes if not name.startswith(label) and (head := _first(name))}
    tables = _groups(shapes) if beside else {}
    return all(
        rank_of(head)[0] > 1
        or _WORDS_OF_TRAINING & set(re.split(r"[\W_]+", head.lower()))
        or 2 * len(tables.get(head, {}).items() & found.items()) > len(found)
        for head in beside
    )


def _by_names(shapes: Shapes) -> Naming:
    clean, notes = strip_prefixes(shapes)
    others = _others(shapes, clean)
    return Naming(clean, None, others, (*notes, *_offer(others)))


def _exact(shapes: Shapes, label: str) -> Naming:
    """The group of exactly this label, nothing stripped further."""
    if label == TWINS:
        twins = averaged_twins(shapes)
        back = {plain: twin for twin, plain in twins.items()}
        clean = {back.get(name, name): name for name in shapes if name not in twins}
        rest = len(clean) - len(twins)
        note = f"the averages {TWINS} taken ({len(twins)} tensors)" + (
            f"; the other {rest} {'is' if rest == 1 else 'are'} the student's" if rest else ""
        )
        return Naming(clean, label, (), (note,), label)
    clean = {
        name: name.removeprefix(label)
        for name in shapes
        if name.startswith(label) and name != label and (label or name not in STRAYS)
    } or {name: name for name in shapes}
    others = _others(shapes, clean)
    mark = label if label and _outranked(shapes, clean, label, others) else ""
    return Naming(clean, label, others, (*_set_aside(shapes, clean, label, others), *_offer(others)), mark)


def _wanted(file: str, shapes: Shapes, group: str, known: Callable[[Shapes], bool]) -> Naming:
    """The group that the user names, and inside it what names alone or a known network take."""
    label = _resolved(file, shapes, group)
    if label in ("", TWINS) or label == group:
        return _exact(shapes, label)
    inside = {name.removeprefix(label): shape for name, shape in shapes.items() if name.startswith(label)}
    first = strip_prefixes(inside)[0]
    deeper = _prefix_of(first)
    if not known({clean: inside[name] for name, clean in first.items()}):
        deeper = next((more for more, found in _ranked(inside) if known(found)), deeper)
    return _exact(shapes, label + deeper)


def _resolved(file: str, shapes: Shapes, group: str) -> str:
    """The label that a typed name means: a label itself, the beginning of names, or a word of it, as `ema` of
    `ema_model`.
    """
    exact = group == "" or group.endswith((".", BESIDE))
    for label in (group,) if exact else (group + BESIDE, f"{group}."):
        if any(name.startswith(label) and name != label for name in shapes):
            return label
    twins = averaged_twins(shapes)
    if twins and group in (TWINS, "ema"):
        return TWINS
    heads = _heads(shapes)
    answering = [label for label in heads if not exact and group.lower() in re.split(r"[\W_]+", label.lower())]
    if len(answering) == 1:
        return answering[0]
    names = [shown(label) for label in heads] + ([TWINS] if twins else [])
    what = f"has {len(answering)} groups" if answering else "has no group"
    raise CheckpointError(
        f"{file} {what} {group[:60]!r}",
        f"one of {listed(names)}" if len(names) > 1 else "a file with several groups",
        "Correct --group, or name the file that has it: --group FILE=GROUP",
    )


def _heads(shapes: Shapes) -> list[str]:
    """Labels of the outermost groups, behind what all names begin with."""
    common = ""
    for _ in range(_DEEPEST):
        inner = dict.fromkeys(_first(name[len(common) :]) for name in shapes)
        if len(inner) != 1 or not next(iter(inner)):
            return [common + label for label in inner if label]
        common += next(iter(inner))
    return []


def _first(name: str) -> str:
    """`ema.` of `ema.stem.weight`, `ema::` of `ema::stem.weight`; empty for a name of one part."""
    for separator in (BESIDE, "."):
        head, found, rest = name.partition(separator)
        if found and rest:
            return head + found
    return ""


def _groups(shapes: Shapes) -> dict[str, dict[str, tuple[int, ...]]]:
    """Shape by remaining name, by label: every beginning of a share of the names, few parts deep, and the empty label
    first.
    """
    plain = {name: shape for name, shape in shapes.items() if name not in STRAYS} or dict(shapes)
    found: dict[str, dict[str, tuple[int, ...]]] = {"": plain}
    for name, shape in shapes.items():
        label, rest = "", name
        for _ in range(_DEEPEST):
            head = _first(rest)
            if not head:
                break
            label, rest = label + head, rest[len(head) :]
            found.setdefault(label, {})[rest] = shape
    return {
        label: table
        for label, table in found.items()
        if (_FEWEST * len(table) >= len(shapes) and len(table) > 1) or not label
    }


def _ranked(shapes: Shapes) -> list[tuple[str, dict[str, tuple[int, ...]]]]:
    """All groups, best first."""
    return sorted(_groups(shapes).items(), key=lambda item: (bool(item[0]), _rank(item[0])))


def _rank(label: str) -> tuple[int, int, int]:
    return *rank_of(label), len(label)


def _prefix_of(clean: Mapping[str, str]) -> str:
    """What every stored name has before its clean one."""
    stored, name = next(iter(clean.items()))
    return stored.removesuffix(name)


def _others(shapes: Shapes, clean: Mapping[str, str]) -> tuple[str, ...]:
    """Labels of groups that hold much the same names as the one that was taken: its averages, teachers and copies."""
    own, taken = _prefix_of(clean), set(clean.values())
    if len(clean) == len(shapes):
        return ()
    found = [
        label
        for label, table in _ranked(shapes)
        if label not in ("", own) and 4 * len(table) >= len(taken) and 2 * len(taken & table.keys()) >= len(table)
    ]
    return (*found, *([TWINS] if averaged_twins(shapes) else []))


def _outranked(shapes: Shapes, clean: Mapping[str, str], label: str, others: Sequence[str]) -> bool:
    """Whether the file's rule takes another group than `label`: plain names, or one of a better rank."""
    plain = sum(name in shapes for name in clean.values())
    return 2 * plain >= len(clean) or any(_rank(other) < _rank(label) for other in others if other != TWINS)


def _set_aside(shapes: Shapes, clean: Mapping[str, str], label: str, others: Sequence[str]) -> tuple[str, ...]:
    rest = [name for name in shapes if name not in clean]
    if not rest:
        return (f"prefix '{label}' removed",) if label else ()
    who = "the student " if others and rank_of(label)[0] < 2 else ""
    what = f"{as_pattern(label)} taken" if label else f"{len(clean)} tensors taken"
    return (f"{who}{what}; left out: {counted(rest)}",)


def _offer(others: Sequence[str]) -> tuple[str, ...]:
    return (
        (f"other groups: {', '.join(shown(label) for label in others)}; taken with --group (rule: {RULE})",)
        if others
        else ()
    )


def _with_renames(naming: Naming, rename: Mapping[str, str]) -> Naming:
    clean = {stored: renamed(name, rename) for stored, name in naming.clean.items()}
    count = sum(name != naming.clean[stored] for stored, name in clean.items())
    if not count:
        return naming
    notes = (*naming.notes, f"{count} tensor{'s' if count > 1 else ''} renamed")
    return Naming(clean, naming.group, naming.others, notes, f"{naming.mark}\0{list(rename.items())}")


def shown(label: str) -> str:
    """A label as people type it."""
    return label.removesuffix(BESIDE).removesuffix(".")
