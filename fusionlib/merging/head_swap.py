"""The backbone of one checkpoint under the head of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, MergeMethod, Mixture, Shares, parameter
from fusionlib.errors import UsageError
from fusionlib.merging.slices import clear_gaps, merge_slices, parts_of


@METHODS.register("head_swap")
@dataclass(frozen=True)
class HeadSwap(MergeMethod):
    """`theta = theta_b` in the backbone and `theta_h` in the head, each with its running statistics; nothing is
    averaged.

    What it scores says in which part a difference between two checkpoints lies. Breaks endpoints and unweighted: there
    is no alpha.
    """

    title: ClassVar[str] = "Head swap"
    summary: ClassVar[str] = "The backbone of one checkpoint under the head of another"
    citation: ClassVar[str] = "Control experiment for Training-Free Model Merging for MTDA, separate heads"
    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints", "unweighted"})
    tensorwise: ClassVar[bool] = True
    takes_unlike: ClassVar[bool] = True
    averages: ClassVar[bool] = False

    backbone: int = parameter(
        0, "Number of the checkpoint that gives the backbone, from 0", min=0, max=63, step=1, checkpoint=True
    )
    head: int = parameter(
        1, "Number of the checkpoint that gives the head, from 0", min=0, max=63, step=1, checkpoint=True
    )

    @property
    def anchor(self) -> int:
        """What is not shared belongs to the head."""
        return self.head

    def shares(self, count: int) -> Shares:
        """A half for each of the two that take part. Raises `UsageError` where they are not there."""
        for number in (self.backbone, self.head):
            if not 0 <= number < count:
                raise UsageError(
                    f"Checkpoint {number} of {count}", f"numbers from 0 to {count - 1}", "Correct backbone or head"
                )
        return tuple((number == self.backbone) / 2 + (number == self.head) / 2 for number in range(count))

    def tensor_shares(self, arena: Arena) -> dict[str, Shares]:
        """K weights by tensor name. Raises `UsageError` where no head or no backbone is known."""
        self.shares(len(arena))
        rows = {
            part: tuple(float(number == chosen) for number in range(len(arena)))
            for part, chosen in (("backbone", self.backbone), ("head", self.head))
        }
        return {name: rows[part] for name, part in parts_of(arena).items()}

    def remark(self, names: Sequence[str]) -> str:
        """Who gives what."""
        rest = "; the others take no part" if len(names) > 2 else ""
        return f"backbone of {names[self.backbone]}, head of {names[self.head]}{rest}"

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        out = torch.empty_like(arena.weights[0]) if out is None else out
        clear_gaps(arena.layout, out)
        merge_slices(arena, self.tensor_shares(arena), out)
        return Mixture(out[None], torch.ones(1))
