"""What checkpoints of different heads, class counts or networks share, found by name and shape."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from fusionlib.checkpoints.groups import renamed
from fusionlib.checkpoints.layout import COUNTER
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.errors import UsageError

REASONS = {
    "shared": "in all, with equal shapes",
    "missing": "not in all",
    "shape": "of another shape somewhere",
    "kind": "floating in one, integer in another",
    "excluded": "excluded by pattern",
}
"""Why a tensor is shared or is not."""


@dataclass(frozen=True)
class Sharing:
    """How to find what is shared: `rename` maps a regular expression to its replacement, `exclude` are patterns such as
    `head.*`.

    Renames are applied to the names of all checkpoints but the anchor, in their order, so that another network's names
    become the anchor's. Names that match an exclude pattern (shell style: `*`, `?`, `[...]`) stay the anchor's own.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash((tuple(self.rename.items()), self.exclude))

    def renamed(self, name: str) -> str:
        """The name in the anchor's terms. Raises `UsageError` for a pattern that is no regular expression."""
        return renamed(name, self.rename)

    def idle(self, ours: Collection[str], others: Collection[str]) -> tuple[str, ...]:
        """Patterns without effect: renames that match no name of `others`, excludes that match none of the anchor's,
        `ours`.
        """
        found = []
        for number, (pattern, replacement) in enumerate(self.rename.items()):
            before = Sharing(dict(list(self.rename.items())[:number]))
            if all(
                before.renamed(name) == Sharing({pattern: replacement}).renamed(before.renamed(name)) for name in others
            ):
                found.append(pattern)
        return (*found, *unmatched(self.exclude, ours))

    def excludes(self, name: str) -> bool:
        """Whether a pattern keeps this tensor out."""
        return any(fnmatchcase(name, pattern) for pattern in self.exclude)


@dataclass(frozen=True)
class SharedTable:
    """The anchor's tensors in its order, each with a reason of `REASONS`; `elsewhere` are names that only the others
    have.

    `sources` maps, for every checkpoint, the anchor's name of a shared tensor to that checkpoint's own.
    """

    anchor: int
    reasons: Mapping[str, str]
    elsewhere: tuple[str, ...]
    sources: tuple[Mapping[str, str], ...]

    @property
    def shared(self) -> tuple[str, ...]:
        """Names that take part in the merge."""
        return tuple(name for name, reason in self.reasons.items() if reason == "shared")

    @property
    def own(self) -> tuple[str, ...]:
        """Names that stay the anchor's."""
        return tuple(name for name, reason in self.reasons.items() if reason != "shared")

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "anchor": self.anchor,
            "shared": len(self.shared),
            "from_anchor": len(self.own),
            "elsewhere": list(self.elsewhere),
            "tensors": [{"name": name, "reason": reason} for name, reason in self.reasons.items()],
        }


def shared_table(checkpoints: Sequence[Checkpoint], anchor: int = 0, sharing: Sharing | None = None) -> SharedTable:
    """What K checkpoints share with the anchor; reads headers only.

    Raises: `UsageError` for an anchor that is not there, a wrong pattern, or a rename that gives two tensors one name.
    """
    sharing = sharing or Sharing()
    if not 0 <= anchor < len(checkpoints):
        raise UsageError(
            f"Anchor {anchor} of {len(checkpoints)} checkpoints",
            f"a number from 0 to {len(checkpoints) - 1}",
            "Correct the anchor",
        )
    names = [_names(item, sharing if number != anchor else None) for number, item in enumerate(checkpoints)]
    own = checkpoints[anchor].tensors
    reasons = {name: _reason(name, checkpoints, names, anchor, sharing) for name in own}
    for name in own:
        if name.endswith(COUNTER):  # of equal shape everywhere, but it counts for statistics that may not be
            owner = reasons.get(name.removesuffix(COUNTER) + "running_mean", "shared")
            reasons[name] = reasons[name] if owner == "shared" else owner
    elsewhere = dict.fromkeys(
        short for number, table in enumerate(names) if number != anchor for short in table if short not in own
    )
    shared = {name for name, reason in reasons.items() if reason == "shared"}
    return SharedTable(
        anchor,
        reasons,
        tuple(elsewhere),
        tuple({short: long for short, long in table.items() if short in shared} for table in names),
    )


def unmatched(patterns: Iterable[str], names: Collection[str]) -> tuple[str, ...]:
    """Those of the shell patterns that match none of the names."""
    return tuple(pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names))


def unlike(checkpoints: Sequence[Checkpoint], anchor: int = 0) -> Sharing | None:
    """How to merge checkpoints that are not alike; None where they are."""
    table = shared_table(checkpoints, anchor)
    return Sharing() if table.own or table.elsewhere else None


def _names(checkpoint: Checkpoint, sharing: Sharing | None) -> dict[str, str]:
    if sharing is None:
        return {name: name for name in checkpoint.tensors}
    found: dict[str, str] = {}
    for name in checkpoint.tensors:
        short = sharing.renamed(name)
        if short in found:
            raise UsageError(
                f"{checkpoint.name}: {found[short]} and {name} would both be called {short}",
                "one name for each tensor",
                "Correct the rename pattern",
            )
        found[short] = name
    return found


def _reason(
    name: str, checkpoints: Sequence[Checkpoint], names: Sequence[Mapping[str, str]], anchor: int, sharing: Sharing
) -> str:
    ours = checkpoints[anchor].tensors[name]
    if sharing.excludes(name):
        return "excluded"
    for checkpoint, table in zip(checkpoints, names, strict=True):
        theirs = checkpoint.tensors.get(table.get(name, ""))
        if theirs is None:
            return "missing"
        if theirs.shape != ours.shape:
            return "shape"
        if theirs.dtype.is_floating_point != ours.dtype.is_floating_point:
            return "kind"
    return "shared"
