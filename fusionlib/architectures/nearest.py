"""Why no network is known for a checkpoint: which comes nearest, what keeps it from fitting, and what would help.

Shapes only: networks are made without numbers, once for each class count.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, NamedTuple, Protocol

from fusionlib.architectures.described import unknown_to_us
from fusionlib.architectures.recognise import Shape, Shapes, tensor_shapes, was_made
from fusionlib.architectures.sized import misfit
from fusionlib.architectures.spelling import TableOfNames
from fusionlib.contracts import ARCHITECTURES, SPELLINGS, Architecture
from fusionlib.errors import ArchitectureError, FusionError
from fusionlib.registry import Registry

Kind = tuple[str, Shape]
"""The last word of a name, and a shape."""

ByKind = Mapping[Kind, Sequence[tuple[int, str]]]
"""Names of a checkpoint and their places in it, by kind."""

COUNTER = "num_batches_tracked"
"""No difference between networks: old files lack it."""

_EXAMPLES, _RENAMES, _OFFERS, _SAME_ENDING = 3, 3, 4, 8
_GAIN = 0.25
"""Share of a network's tensors that a rename must bring into place where not all get there: less is chance."""

_FOUND: dict[Any, tuple[Near | None, Any]] = {}
"""What came nearest to shapes among networks, which are kept with it: their ids stay theirs."""

_REMEMBERED = 32

WITHOUT = "inspecting, merging and exporting work without"
RENAMING = "evaluate, sweep, diagnose, layers or the app"
"""What takes names as the network's: elsewhere renames are between checkpoints."""


class Named(Protocol):
    """What is explained: a checkpoint."""

    name: str

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape by name."""
        ...


@dataclass(frozen=True)
class Near:
    """How the tensors of a checkpoint differ from those of a network, once `renames` (pattern, replacement) are made.

    `classes` is 0 where nothing tells their number. `reshaped` are (name, shape in the checkpoint, shape in the
    network). `fits`: with the renames the network is known.
    """

    network: str
    classes: int
    tensors: int
    renames: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    reshaped: tuple[tuple[str, Shape, Shape], ...]
    fits: bool = False

    @property
    def common(self) -> int:
        """Tensors of the network that the checkpoint has."""
        return self.tensors - len(self.missing) - len(self.reshaped)

    @property
    def likeness(self) -> float:
        """The share of them among all tensors of either."""
        return self.common / max(1, self.tensors + len(self.left_over))

    @property
    def options(self) -> str:
        """The renames as they are typed."""
        return " ".join(f"--rename {shlex.quote(f'{pattern}={name}')}" for pattern, name in self.renames)

    def __str__(self) -> str:
        classes = f"{self.classes} class{'' if self.classes == 1 else 'es'}" if self.classes else ""
        if self.fits:
            return f"they are those of {self.network}{classes and f' with {classes}'}"
        differences = [
            _counted(len(self.missing), "is missing", "are missing", self.missing),
            _counted(
                len(self.reshaped),
                "has another shape",
                "have other shapes",
                [f"{name} is {has} and not {needs}" for name, has, needs in self.reshaped],
            ),
            _counted(len(self.left_over), "is left over", "are left over", self.left_over),
        ]
        sizes = " and ".join(filter(None, (classes, f"{self.tensors} tensors")))
        return f"nearest is {self.network} with {sizes}: {'; '.join(filter(None, differences)) or 'none is missing'}"


class Explanation(NamedTuple):
    """What is so, and what to do about it, without full stops."""

    what: str
    do: str


def nearest(shapes: Shapes, architectures: Registry[Architecture] = ARCHITECTURES) -> Near | None:
    """The registered network with most tensors in common with these, of equals the one registered last; None where none
    has any.
    """
    known = [
        (name, item)
        for name, item in architectures.items()
        if getattr(item, "chosen", True) and getattr(item, "listed", True)
    ]
    key = tuple(shapes.items()), tuple((name, id(item)) for name, item in known)
    if key not in _FOUND:
        while len(_FOUND) >= _REMEMBERED:
            _FOUND.pop(next(iter(_FOUND)), None)
        _FOUND[key] = _nearest(shapes, known), known
    return _FOUND[key][0]


def _nearest(shapes: Shapes, known: Sequence[tuple[str, Architecture]]) -> Near | None:
    kinds, names = _kinds(shapes), _by_kind(shapes)
    bounds = [_most_alike(item, kinds) for _, item in known]
    best: tuple[tuple[bool, float, int], Near] | None = None
    for number in sorted(range(len(known)), key=lambda number: -bounds[number]):
        if best is not None and bounds[number] < best[1].likeness:
            break
        near = _compared(*known[number], shapes, names)
        rank = (near.fits, near.likeness, number) if near else None
        if near and rank and (best is None or rank > best[0]):
            best = rank, near
    return best[1] if best else None


def explain(shapes: Shapes, architectures: Registry[Architecture] = ARCHITECTURES) -> Explanation:
    """Why no network is known for tensors of these shapes."""
    readings = [("", shapes), *_in_names_of_ours(shapes)]
    if (said := unknown_to_us(shapes, [there for _, there in readings])) is not None:
        return Explanation(*said)
    named = sorted(how for _, item in architectures.items() if (how := getattr(item, "named", None)))
    for code, there in readings:
        if not named and (said := misfit(there)) is not None:
            return Explanation(f"{code}{said[0]}", said[1])
    found = [(code, near) for code, there in readings if (near := nearest(there, architectures)) is not None]
    code, near = max(found, key=lambda one: one[1].likeness, default=("", None))
    raised = [
        problem
        for _, item in architectures.items()
        if (problem := getattr(item, "problem", None)) and not was_made(item)
    ]
    if near is None:
        what = f"they have no tensor in common with {' or '.join(_listed(architectures))}"
    else:
        what = f"{code}{near}"
    if near is not None and near.renames:
        what += f", under other names: {near.options}"
    what = "; ".join([what, *raised])
    if near is not None and near.fits:
        return Explanation(what, f"Give {near.options} to {RENAMING}")
    if named:
        return Explanation(what, f"Correct the code of {' or '.join(named)}, or the names with --rename PATTERN=NAME")
    return Explanation(what, "Give the network's code with --model FILE.py:FACTORY")


def _in_names_of_ours(shapes: Shapes) -> Iterator[tuple[str, Shapes]]:
    """Whose names the file may have, and its shapes under those of a network here."""
    for table in map(SPELLINGS.get, SPELLINGS.names()):
        if isinstance(table, TableOfNames) and table.mark in shapes:
            found = table.renamed(shapes)
            if found is not None and found.keys() != shapes.keys():
                yield f"named as in {table.title}, ", found


def explanations(
    items: Sequence[Named], architectures: Registry[Architecture] = ARCHITECTURES
) -> list[tuple[list[int], Explanation]]:
    """Numbers of these checkpoints with what explains them; those of equal tensors together."""
    groups: dict[frozenset[Any], list[int]] = {}
    for number, item in enumerate(items):
        said = getattr(item.shapes, "description", None)
        groups.setdefault(frozenset({*item.shapes.items(), said and said.key}), []).append(number)
    return [(group, explain(items[group[0]].shapes, architectures)) for group in groups.values()]


def unknown_network(items: Sequence[Named], architectures: Registry[Architecture] = ARCHITECTURES) -> ArchitectureError:
    """The error for checkpoints whose network nobody knows."""
    told = explanations(items, architectures)
    names = [", ".join(items[number].name for number in group) for group, _ in told]
    return ArchitectureError(
        "; ".join(f"No network is known for {name}: {why.what}" for name, (_, why) in zip(names, told, strict=True)),
        f"the tensors of {' or '.join(_listed(architectures))}; `architectures` lists them",
        f"{'. '.join(dict.fromkeys(why.do for _, why in told))}; {WITHOUT}",
    )


def _listed(architectures: Registry[Architecture]) -> list[str]:
    """Names of the operator's networks, and how many others there are."""
    own = [name for name, item in sorted(architectures.items()) if hasattr(item, "named")]
    others = sum(getattr(item, "listed", True) for _, item in architectures.items()) - len(own)
    return [*own, *([f"any of the {others} built-in networks"] if others else [])]


def _most_alike(architecture: Architecture, has: Counter[Kind]) -> float:
    """An upper bound of the likeness: a rename leaves the last word of a name and the shape as they are.

    Tensors whose shape follows the class count are taken to fit.
    """
    one, other = (tensor_shapes(architecture, classes) for classes in (2, 3))
    if not one or not other:
        return 1.0
    sized = {name for name, shape in one.items() if other.get(name) != shape}
    own = _kinds({name: shape for name, shape in one.items() if name not in sized})
    common = sum(min(count, has[kind]) for kind, count in own.items())
    return (common + len(sized)) / max(1, own.total() + len(sized), has.total())


def _kinds(shapes: Shapes) -> Counter[Kind]:
    """How many tensors have which last word and shape; counters are none of a network's."""
    return Counter(_kind(name, shape) for name, shape in shapes.items() if not name.endswith(COUNTER))


def _kind(name: str, shape: Shape) -> Kind:
    return name.rpartition(".")[2], shape


def _by_kind(shapes: Shapes) -> ByKind:
    found: dict[Kind, list[tuple[int, str]]] = {}
    for place, (name, shape) in enumerate(shapes.items()):
        found.setdefault(_kind(name, shape), []).append((place, name))
    return found


def _compared(name: str, architecture: Architecture, shapes: Shapes, names: ByKind) -> Near | None:
    """None where the factory makes no network at all, or there is nothing in common."""
    sizes = {size for shape in set(shapes.values()) for size in shape[:2] if size <= 255}
    takes = getattr(architecture, "takes_classes", True)
    counts = (2, 3, *sorted(sizes - {2, 3})) if takes else (0,)
    probes: dict[int, Shapes] = {}
    for classes in counts:
        if len(probes) < 2 and (own := tensor_shapes(architecture, classes)):
            probes[classes] = own
    if not probes:
        return None
    classes, own = next(iter(probes.items()))
    renames, found = _aligned(own, shapes, names)
    if len(probes) == 2 and (count := _class_count(probes, found, names)) is not None:
        classes, own = count, tensor_shapes(architecture, count) or own
        renames, found = _aligned(own, shapes, names)
    elif len(probes) == 2 and probes[classes] != next(reversed(probes.values())):
        classes = 0
    near = _difference(name, classes, own, found, renames)
    if renames and not (near.missing or near.reshaped):
        with suppress(FusionError):  # what keeps it from running is said where it is run
            near = replace(near, fits=architecture.recognise(found) is not None)
    return near if near.common else None


def _difference(name: str, classes: int, own: Shapes, found: Shapes, renames: tuple[tuple[str, str], ...]) -> Near:
    needed = {tensor: shape for tensor, shape in own.items() if not tensor.endswith(COUNTER)}
    return Near(
        name,
        classes,
        len(needed),
        renames,
        tuple(tensor for tensor in needed if tensor not in found),
        tuple(tensor for tensor in found if tensor not in own and not tensor.endswith(COUNTER)),
        tuple((tensor, found[tensor], shape) for tensor, shape in needed.items() if found.get(tensor, shape) != shape),
    )


def _class_count(probes: Mapping[int, Shapes], found: Shapes, names: ByKind) -> int | None:
    """What the checkpoint has where the network's shapes follow the class count; most of the places decide.

    Where it has none of these names, as with a head of another name, tensors beside those of the network are looked at
    that end in the same word and differ in that size alone.
    """
    (_, one), (_, other) = probes.items()
    votes: Counter[int] = Counter()
    heads: dict[tuple[str, int, Shape], int] = {}
    for name, shape in one.items():
        axes = [axis for axis, (a, b) in enumerate(zip(shape, other.get(name, shape), strict=False)) if a != b]
        if len(axes) == 1:
            heads[_outline(name, shape, axes[0])] = axes[0]
            if len(found.get(name, ())) == len(shape):
                votes[found[name][axes[0]]] += 1
    if not votes:
        its_own = Counter(_kind(name, found[name]) for name in one if name in found)
        for (word, shape), there in names.items():  # no rename changes the kind of a tensor
            for axis in {axis for axis in heads.values() if axis < len(shape)}:
                if _outline(word, shape, axis) in heads:
                    votes[shape[axis]] += len(there) - its_own[word, shape]
        votes = +votes
    return votes.most_common(1)[0][0] if votes else None


def _outline(name: str, shape: Shape, axis: int) -> tuple[str, int, Shape]:
    """The last word of a name, and the shape without the size along `axis`."""
    return name.rpartition(".")[2], axis, (*shape[:axis], *shape[axis + 1 :])


def _aligned(own: Shapes, shapes: Shapes, names: ByKind) -> tuple[tuple[tuple[str, str], ...], Shapes]:
    """Renames of the beginnings of names that bring tensors into place, and the shapes under the new names.

    Where not all of the network gets there, each of them must be a gain of many tensors: less is chance.
    """
    steps = list(_renames(own, shapes, names))
    found = steps[-1].found if steps else shapes
    if any(found.get(name) != shape for name, shape in own.items() if not name.endswith(COUNTER)):
        steps = list(takewhile(lambda step: step.gain >= _GAIN * len(own), steps))
        found = steps[-1].found if steps else shapes
    return tuple((f"^{re.escape(step.start)}", step.name.replace("\\", r"\\")) for step in steps), found


class _Rename(NamedTuple):
    """A beginning that becomes another, how many more tensors are in place then, and all shapes under the new names."""

    gain: int
    start: str
    name: str
    found: Shapes


def _renames(own: Shapes, shapes: Shapes, names: ByKind) -> Iterator[_Rename]:
    """One after another, each the one that gains most."""
    seen: set[str] = set()
    found = shapes
    while len(seen) < _RENAMES:
        before, best = _in_place(own, found), _Rename(0, "", "", found)
        for start, name in _offers(own, found, names if found is shapes else _by_kind(found)):
            after = {
                name + tensor[len(start) :] if tensor.startswith(start) else tensor: shape
                for tensor, shape in found.items()
            }
            if len(after) == len(found) and start not in seen:
                offered = _Rename(_in_place(own, after) - before, start, name, after)
                best = max(best, offered, key=lambda item: item.gain)
        if best.gain < 1:
            return
        seen.add(best.start)
        found = best.found
        yield best


def _in_place(own: Shapes, found: Shapes) -> int:
    return sum(found.get(name) == shape for name, shape in own.items())


def _offers(own: Shapes, found: Shapes, names: ByKind) -> list[tuple[str, str]]:
    """Renames that most tensors out of place would need: another beginning before the longest ending that they share
    with a tensor of the network of the same shape. `names` are those of `found`.
    """
    missing = [name for name, shape in own.items() if found.get(name) != shape]
    kinds = {_kind(name, own[name]) for name in missing}
    if all(kind not in names or kind[0] == COUNTER for kind in kinds):
        return []
    wanted: dict[str, list[str]] = {}
    for name in missing:
        for ending in _endings(name):
            wanted.setdefault(ending, []).append(name)
    beginnings: dict[tuple[str, Shape], list[str]] = {}
    votes: Counter[tuple[str, str]] = Counter()
    for _, name in sorted(entry for kind in kinds for entry in names.get(kind, ())):
        if own.get(name) == (shape := found[name]):
            continue
        for ending in _endings(name):
            if ending not in wanted:
                continue
            if (ending, shape) not in beginnings:
                alike = [item for item in wanted[ending][:_SAME_ENDING] if own[item] == shape]
                beginnings[ending, shape] = [item.removesuffix(ending) for item in alike]
            if there := beginnings[ending, shape]:
                start = name.removesuffix(ending)
                for beginning in there:
                    votes[start, beginning] += 1
                break
    return [pair for pair, _ in votes.most_common(_OFFERS)]


def _endings(name: str) -> Iterator[str]:
    """The name, and what is left of it behind each dot, longest first."""
    while name:
        yield name
        name = name.partition(".")[2]


def _counted(count: int, one: str, many: str, examples: Collection[str]) -> str:
    shown = ", ".join(list(examples)[:_EXAMPLES]) + (", ..." if count > _EXAMPLES else "")
    return f"{count} {one if count == 1 else many} ({shown})" if count else ""
