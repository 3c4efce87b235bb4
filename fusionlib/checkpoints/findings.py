"""A preflight report in words: what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fusionlib.checkpoints.compare import Preflight, Shapes

_EXAMPLES = 3

WAYS = (
    "Merge what they share: `merge` and `compare` with --shared (the Compare page: What is shared), or by layerwise,"
    " backbone or head_swap, which do so by themselves"
)
"""What to do with checkpoints that have some tensors in common and not all."""

FOREIGN = (
    "These are different networks: take checkpoints of one, or give names that become the anchor's with --shared "
    "--rename PATTERN=NAME"
)


@dataclass(frozen=True)
class Finding:
    """One line of the report. `title` says what is so, `do` what to do about it ("" where nothing is)."""

    level: Literal["error", "warning", "info"]
    title: str
    do: str = ""


def describe(report: Preflight) -> tuple[Finding, ...]:
    """Findings, errors first, then warnings, then remarks."""
    findings = [
        *_shapes(report),
        *_missing(report),
        *_values(report),
        *_same(report),
        *_precision(report),
        *_networks(report),
        *_fit(report),
    ]
    order = ("error", "warning", "info")
    return tuple(sorted(findings, key=lambda item: order.index(item.level)))


def _shapes(report: Preflight) -> Iterator[Finding]:
    if not report.mismatched:
        return
    names = [item.name for item in report.checkpoints]
    name, shapes = next(iter(report.mismatched.items()))
    example = " and ".join(f"{shape} in {owner}" for owner, shape in _first_of_each(names, shapes))
    count = len(report.mismatched)
    title = f"{_count(count, 'tensor has', 'tensors have')} other shapes: {name} is {example}"
    sizes = _only_difference(report.mismatched.values())
    if sizes:
        do = (
            f"They differ in one size only ({' and '.join(str(size) for size in sizes)}), as heads for different class"
            f" counts do: a merge of all tensors needs the same class count. {WAYS}"
        )
    else:
        do = f"These are networks of different size. {WAYS}"
    yield Finding("error", title, do)


def _missing(report: Preflight) -> Iterator[Finding]:
    if not report.shared:
        yield Finding(
            "error", f"No tensor name is common to {_listed([item.name for item in report.checkpoints])}", FOREIGN
        )
        return
    for checkpoint in report.checkpoints:
        lacking = [name for name, owners in report.missing.items() if checkpoint.name in owners]
        if not lacking:
            continue
        if all(name.endswith("num_batches_tracked") for name in lacking):
            do = "An old PyTorch wrote this file: load it into the network and save it again"
        elif len(lacking) > len(report.shared):
            do = FOREIGN
        else:
            do = f"The networks differ in these parts. {WAYS}"
        yield Finding(
            "error",
            f"{checkpoint.name} lacks {_count(len(lacking), 'tensor', 'tensors')} that others have: {_listed(lacking)}",
            do,
        )


def _values(report: Preflight) -> Iterator[Finding]:
    if report.kinds:
        yield Finding(
            "error",
            f"{_count(len(report.kinds), 'tensor is', 'tensors are')} floating in one file and integer "
            f"in another: {_listed(report.kinds)}",
            "Save all files from the same network code",
        )
    if report.integers:
        yield Finding(
            "error",
            f"{_count(len(report.integers), 'integer tensor has', 'integer tensors have')} other values: "
            f"{_listed(report.integers)}",
            "Integers are never averaged and must be equal: take checkpoints trained with the same settings",
        )


def _same(report: Preflight) -> Iterator[Finding]:
    for first, second in report.same_file:
        yield Finding(
            "warning",
            f"{first} and {second} have the same content",
            "Remove one of them: a merge of the two is the same network again",
        )


def _precision(report: Preflight) -> Iterator[Finding]:
    floats = [
        {info.dtype for info in item.tensors.values() if info.dtype.is_floating_point} for item in report.checkpoints
    ]
    if any(kinds != floats[0] for kinds in floats):
        each = "; ".join(
            f"{item.name}: {', '.join(sorted(str(kind).removeprefix('torch.') for kind in kinds)) or 'none'}"
            for item, kinds in zip(report.checkpoints, floats, strict=True)
        )
        yield Finding(
            "warning",
            f"The files have different precision ({each})",
            "A merge is computed in float32 or better, but what a coarser file lost stays lost",
        )


def _networks(report: Preflight) -> Iterator[Finding]:
    known = {name for name, _ in filter(None, report.architectures)}
    if len(known) > 1:
        yield Finding(
            "warning",
            f"Different architectures are recognised: {_listed(sorted(known))}",
            WAYS if report.shared else FOREIGN,
        )
    for names, (what, do) in report.unknown:
        yield Finding(
            "info",
            f"No architecture is known for {_listed(names)}: {what}",
            f"Compare, merge and export work without. For pictures: {do[:1].lower()}{do[1:]}",
        )


def _fit(report: Preflight) -> Iterator[Finding]:
    if report.compatible and len(report.checkpoints) > 1:
        yield Finding(
            "info", f"All {len(report.checkpoints)} checkpoints share {len(report.shared)} tensors of equal shape"
        )


def _first_of_each(names: Sequence[str], shapes: Shapes) -> list[tuple[str, tuple[int, ...]]]:
    """One owner for each different shape, at most three."""
    seen: dict[tuple[int, ...], str] = {}
    for name, shape in zip(names, shapes, strict=True):
        if shape is not None:
            seen.setdefault(shape, name)
    return [(owner, shape) for shape, owner in seen.items()][:_EXAMPLES]


def _only_difference(mismatched: Iterable[Shapes]) -> tuple[int, ...] | None:
    """The sizes, when every mismatched tensor differs along one axis and always by the same sizes."""
    found: set[tuple[int, ...]] = set()
    for shapes in mismatched:
        present = [shape for shape in shapes if shape is not None]
        if len({len(shape) for shape in present}) > 1:
            return None
        axes = [sizes for sizes in zip(*present, strict=True) if len(set(sizes)) > 1]
        if len(axes) != 1:
            return None
        found.add(tuple(dict.fromkeys(axes[0])))
    return found.pop() if len(found) == 1 else None


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_EXAMPLES]) + (f" and {len(names) - _EXAMPLES} more" if len(names) > _EXAMPLES else "")
