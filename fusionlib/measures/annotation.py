"""What is odd about the annotation that figures were measured against: a score can be right and mean nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_VOID = 0.5
"""Share of void pixels above which something is wrong more often than not: a class taken for void, or masks of another
label space.
"""

_NAMED = 8


def annotation_warnings(figures: Mapping[str, Any] | None, names: Sequence[str]) -> list[str]:
    """Sentences without full stops about the masks behind figures of the confusion meter; none where nothing is odd, or
    known.

    `figures` has `support` (C), pixels of each class, and `void`, pixels of none; `names` are the C classes. Said are a
    void share above `MOST_VOID`, classes that never occur, and that one class is all there is, whose IoU of 100 % any
    network can have.
    """
    if figures is None or figures.get("support") is None:
        return []
    support, void = figures["support"], figures["void"]
    labelled = sum(support)
    absent = [name for name, pixels in zip(names, support, strict=True) if not pixels]
    if not labelled:
        return (
            ["Every pixel of the masks is void: nothing is measured. Check what the dataset takes for void"]
            if void
            else []
        )
    found = []
    if void > MOST_VOID * (labelled + void):
        found.append(
            f"{void / (labelled + void):.1%} of the pixels are void, and count nowhere. Check what the dataset takes"
            " for void"
        )
    if len(names) - len(absent) == 1:
        only = next(name for name, pixels in zip(names, support, strict=True) if pixels)
        found.append(
            f"Every labelled pixel is {only}, so that a score says next to nothing"
            + (". If void pixels are a class, declare their id, often 255, in classes.yaml" if void else "")
        )
    elif absent:
        found.append(
            f"Never in the masks: {_listed(absent)} ({len(absent)} of {len(names)} classes). The mean leaves them out"
            " where they are not predicted either"
        )
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
