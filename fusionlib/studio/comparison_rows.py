"""What a comparison has as rows before anything is measured, and what is said of each."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fusionlib.checkpoints.rounding import written_dtype
from fusionlib.checkpoints.sharing import Sharing
from fusionlib.contracts import METHODS, parameters_of
from fusionlib.errors import FusionError, UsageError
from fusionlib.merging.build import build_method
from fusionlib.merging.choices import POLICIES, check_policy
from fusionlib.studies.choices import GROUPS
from fusionlib.studies.compare import Row, led

SUBSETS_OF = 5
"""More checkpoints than this have too many subsets for one table."""

MEAN = "isotropic"
"""The merge whose running statistics the buffer ablation varies: the plain mean."""
ABLATION = {
    "anchor": "parameters only (anchor's statistics)",
    "average": "averaged statistics",
    "gaussian": "pooled Gaussians",
    "recalibrate": "recalibrated statistics",
}
assert set(ABLATION) == set(POLICIES)


@dataclass(frozen=True)
class Own:
    """A method with parameters of the user's own: (name, value) pairs, checkpoints and weights in the order of the set.

    `preset` is the name of the saved layer profile that the parameters come from, which stands for them in the row's
    name.
    """

    method: str
    parameters: tuple[tuple[str, Any], ...] = ()
    preset: str = ""

    def title(self, names: Sequence[str]) -> str:
        """`ties: base epoch-030, density 0.25`, with the names of the set's checkpoints, which weights have too."""
        if self.preset:
            return f"{self.method}: preset {self.preset}"
        places = checkpoint_parameters(self.method)
        shown = ", ".join(f"{name} {_plain(value, names, place=name in places)}" for name, value in self.parameters)
        return f"{self.method}: {shown or 'defaults'}"


@dataclass(frozen=True)
class Choices:
    """What to compare. `anchor` and `base` are numbers of checkpoints; `methods` None: all that are registered.

    `base` is the checkpoint that all others were trained from; without one, methods that start from a base are not
    applicable. `own` are further rows. With `sharing` every method merges only what the checkpoints share, and the rest
    is the anchor's. `dtype` is what merges are rounded to, as they will be written; None: each tensor's own.
    """

    anchor: int = 0
    buffers: str = "average"
    groups: tuple[str, ...] = ("methods",)
    methods: tuple[str, ...] | None = None
    base: int | None = None
    own: tuple[Own, ...] = ()
    sharing: Sharing | None = None
    dtype: str | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """The same on the command line of `compare`."""
        given = ["--anchor", str(self.anchor), "--buffers", self.buffers, "--rows", ",".join(self.groups)]
        given += ["--methods", ",".join(self.methods)] if self.methods else []
        given += ["--base", str(self.base)] if self.base is not None else []
        given += ["--dtype", self.dtype] if self.dtype else []
        for own in self.own:
            settings = (f"{name}={_setting(value)}" for name, value in own.parameters)
            given += ["--try", " ".join((own.method, *settings))]
        return (*given, *_sharing_options(self.sharing))

    def checked(self, count: int) -> Choices:
        """Itself. Raises `UsageError` for whatever is unknown or out of range among `count` checkpoints."""
        check_policy(self.buffers)
        written_dtype(self.dtype)
        for name in self.methods or ():
            METHODS.get(name)
        for own in self.own:
            build_method(own.method, dict(own.parameters))
        for group in self.groups:
            if group not in GROUPS:
                raise UsageError(f"Unknown rows {group!r}", f"some of {', '.join(GROUPS)}", "Correct --rows")
        for what, number in (("Anchor", self.anchor), ("Base", self.base)):
            if number is not None and not 0 <= number < count:
                raise UsageError(
                    f"{what} {number} of {count} checkpoints",
                    f"a number from 0 to {count - 1}",
                    f"Correct the {what.lower()}",
                )
        if "subsets" in self.groups and count > SUBSETS_OF:
            raise UsageError(
                f"All subsets of {count} checkpoints",
                f"at most {SUBSETS_OF}",
                "Leave these rows out, or take fewer checkpoints",
            )
        return self


def plan(names: Sequence[str], choices: Choices) -> list[Row]:
    """All rows in order, but those that depend on the single networks' scores; without recipes."""
    count = len(names)
    rows = [Row("single", name, "single", (number,)) for number, name in enumerate(names)]
    if "methods" in choices.groups:
        listed = [_method_row(name, choices, count) for name in choices.methods or METHODS.names()]
        rows += listed if choices.methods else sorted(listed, key=_by_cost)
    rows += [_own_row(own, choices, names) for own in choices.own]
    if "buffers" in choices.groups:
        members = led(range(count), choices.anchor)
        rows += [Row("buffers", f"buffers: {what}", MEAN, members, policy) for policy, what in ABLATION.items()]
    return [replace(row, networks=_networks(row)) for row in rows]


def rivals(count: int, choices: Choices) -> list[Row]:
    """What is measured on subsets, each as a row of all checkpoints."""
    members = led(range(count), choices.anchor)
    given = {
        name: {"anchor": 0} if "anchor" in checkpoint_parameters(name) else {}
        for name, kind in sorted(METHODS.items())
        if kind.on_subsets
    }
    return [Row("rival", name, name, members, choices.buffers, values) for name, values in given.items()]


def _networks(row: Row) -> int:
    """How many networks answer together."""
    if row.method == "single" or row.obstacle:
        return 1
    return build_method(row.method, row.parameters).networks(len(row.members))


def _by_cost(row: Row) -> tuple[bool, bool, int, str]:
    """Cheap rows first, what is several networks after all that are one, and at the end what cannot be measured."""
    return (
        row.obstacle is not None,
        _networks(row) > 1,
        ("weights", "architecture", "pictures").index(METHODS.get(row.method).needs),
        row.name,
    )


def _method_row(name: str, choices: Choices, count: int) -> Row:
    kind = METHODS.get(name)
    offered = {item.name: item.default for item in parameters_of(kind)}
    members, given, obstacle = led(range(count), choices.anchor), {}, None
    if "base" in offered:
        if choices.base is None:
            obstacle = (
                "Needs a base, the checkpoint that all others were trained from: name it, and the method is measured"
            )
        else:
            given = {"base": members.index(choices.base)}
    else:
        given = {key: value for key, value in kind.defaults(count).items() if value != offered[key]}
        given |= {"anchor": 0} if "anchor" in offered else {}
    obstacle = kind.no_defaults or obstacle
    if obstacle is None:
        try:
            build_method(name, given).shares(count)
        except FusionError as error:
            obstacle = error.one_line
    return Row("methods", name, name, members, _buffers(name, choices), given, obstacle)


def _own_row(own: Own, choices: Choices, names: Sequence[str]) -> Row:
    """The anchor leads as in every other row, so numbers of checkpoints and their weights are put into that order."""
    given, count, title = dict(own.parameters), len(names), own.title(names)
    numbers = checkpoint_parameters(own.method)
    anchor = given.get("anchor", choices.anchor)
    if not all(0 <= given[name] < count for name in numbers & set(given)) or not 0 <= anchor < count:
        return Row(
            "own",
            title,
            own.method,
            tuple(range(count)),
            choices.buffers,
            given,
            f"A checkpoint's number of 0 to {count - 1} is needed",
        )
    members = led(range(count), anchor)
    given = {
        name: members.index(value) if name in numbers else _in_order(value, members) for name, value in given.items()
    }
    obstacle = None
    try:
        build_method(own.method, given).shares(count)
    except FusionError as error:
        obstacle = error.one_line
    return Row("own", title, own.method, members, _buffers(own.method, choices), given, obstacle)


def _buffers(method: str, choices: Choices) -> str:
    return "" if METHODS.get(method).keeps_statistics else choices.buffers


def checkpoint_parameters(method: str) -> set[str]:
    """Names of a method's parameters that are numbers of checkpoints."""
    return {item.name for item in parameters_of(METHODS.get(method)) if item.checkpoint}


def _in_order(value: Any, members: Sequence[int]) -> Any:
    """Weights, or weights by unit, with one for each checkpoint put in the order of `members`."""
    if isinstance(value, Mapping):
        return {unit: _in_order(tuple(row), members) for unit, row in value.items()}
    return (
        tuple(value[number] for number in members) if isinstance(value, tuple) and len(value) == len(members) else value
    )


def _plain(value: Any, names: Sequence[str], *, place: bool) -> str:
    if place and isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    if isinstance(value, tuple) and len(value) == len(names):
        return ", ".join(f"{name} {item:g}" for name, item in zip(names, value, strict=True))
    if isinstance(value, tuple):
        return "/".join(f"{item:g}" for item in value)
    return (
        f"{value:g}"
        if isinstance(value, float)
        else f"{len(value)} units"
        if isinstance(value, Mapping)
        else str(value)
    )


def parameters_text(row: Row) -> dict[str, Any]:
    """All hyper-parameters of a row's method as JSON values, defaults included; who the anchor is has a column of its
    own.
    """
    if row.method == "single" or row.obstacle:
        return dict(row.parameters)
    built = build_method(row.method, row.parameters)
    values = {item.name: getattr(built, item.name) for item in parameters_of(type(built))}
    return {name: _listed(value) for name, value in values.items()}


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {unit: list(row) for unit, row in value.items()}
    return list(value) if isinstance(value, tuple) else value


def remark(row: Row, names: Sequence[str], choices: Choices) -> str:
    """What of a row its name does not tell: values that are a first try, who takes part, who leads."""
    if row.obstacle:
        return ""
    if row.method != "single":
        own = build_method(row.method, row.parameters).remark([names[number] for number in row.members])
        if own:
            return own
    led = "anchor" in parameters_text(row) or row.buffers == "anchor" or choices.sharing is not None
    if row.group in ("incremental", "subsets") and led and row.members[0] != choices.anchor:
        return f"anchor {names[row.members[0]]}: the best of these"
    return untuned(row)


def untuned(row: Row) -> str:
    """What task arithmetic, TIES and DARE were measured with: their right values depend on the set, so a default is but
    a first try.
    """
    values = {} if row.obstacle else parameters_text(row)
    if "base" not in values or row.group != "methods":
        return ""
    shown = ", ".join(f"{name} {value:g}" for name, value in values.items() if name not in ("base", "seed"))
    return f"{shown} (defaults, untuned)"


def command(
    row: Row, files: Sequence[str], data: Sequence[str], sharing: Sharing | None = None, dtype: str | None = None
) -> str | None:
    """How to write this row's merge to a file on the command line; None for what is not merged, or several networks.

    `data` are the options that name pictures, for methods and policies that look at some.
    """
    if row.method == "single" or row.obstacle or row.networks > 1:
        return None
    settings = [f"{name}={_setting(value)}" for name, value in row.parameters.items()]
    needs_pictures = row.buffers == "recalibrate" or METHODS.get(row.method).needs == "pictures"
    parts = [
        "python",
        "-m",
        "fusionlib",
        "merge",
        "--method",
        row.method,
        *(["--set", *settings] if settings else []),
        "--buffers",
        row.buffers,
        *(["--dtype", dtype] if dtype else []),
        *(data if needs_pictures else []),
        *_sharing_options(sharing),
        "--checkpoints",
        *(files[number] for number in row.members),
        "--out",
        "merged.safetensors",
    ]
    return shlex.join(parts)


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(_listed(value))
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _sharing_options(sharing: Sharing | None) -> list[str]:
    if sharing is None:
        return []
    return [
        "--shared",
        *(part for pattern, name in sharing.rename.items() for part in ("--rename", f"{pattern}={name}")),
        *(part for pattern in sharing.exclude for part in ("--exclude", pattern)),
    ]
