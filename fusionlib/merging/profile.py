"""A layer profile: explicit weights for every layer or block, as drawn on the Explore page, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, MergeMethod, Mixture, Shares, parameter
from fusionlib.errors import UsageError
from fusionlib.merging.average import check_shares
from fusionlib.merging.choices import GRANULARITIES
from fusionlib.merging.slices import clear_gaps, mean_shares, merge_slices, unit_of, units


@METHODS.register("profile")
@dataclass(frozen=True)
class LayerProfile(MergeMethod):
    """`theta^(l) = sum_i w_i^(l) theta_i^(l)`, the weights of each unit l on the simplex: none negative, summing to 1.

    Units that `weights` does not name get `rest`; without `rest`, equal weights. Running statistics follow the weights
    of their own unit under the policy `average`, and under `gaussian` a checkpoint without weight in a unit has no part
    there.

    Source: the general form of "Layer-wise Model Merging for Unsupervised Domain Adaptation in Segmentation Tasks",
    where H gives the weights by a rule. Breaks endpoints and unweighted: there is no alpha; a unit's weights (1, 0)
    give its first checkpoint exactly.
    """

    title: ClassVar[str] = "Layer profile"
    summary: ClassVar[str] = "Weights of its own for every layer or block, named one by one"
    citation: ClassVar[str] = "Layer-wise Model Merging, general form"
    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints", "unweighted"})
    tensorwise: ClassVar[bool] = True
    by_preset: ClassVar[bool] = True
    no_defaults: ClassVar[str] = (
        "Has no defaults: draw a profile on the Explore page, layer by layer, save it there, and choose it in a row of"
        " your own"
    )

    anchor: int = parameter(
        0,
        "Number of the checkpoint whose statistics `anchor` keeps, and whose counters count on a tie",
        min=0,
        max=63,
        step=1,
        checkpoint=True,
    )
    granularity: str = parameter("block", "What a name in weights stands for", choices=GRANULARITIES)
    weights: Mapping[str, tuple[float, ...]] = parameter(
        {}, "Name of a unit to one weight per checkpoint, summing to 1"
    )
    rest: tuple[float, ...] = parameter((), "Weights of the units that are not named; equal weights when left out")

    def shares(self, count: int) -> Shares:
        """The mean over the named units and, where it is given, the rest."""
        rows = [check_shares(row, count) for row in self.weights.values()]
        return mean_shares([*rows, self._rest(count)] if self.rest or not rows else rows)

    def tensor_shares(self, arena: Arena) -> dict[str, Shares]:
        """K weights by tensor name. Raises `UsageError` for an unknown unit, or weights off the simplex."""
        layout, count = arena.layout, len(arena)
        rows = {name: check_shares(row, count) for name, row in self.weights.items()}
        known = units(layout, self.granularity)
        for name in rows:
            if name not in known:
                raise UsageError(
                    f"No {self.granularity} {name[:80]!r} in these checkpoints",
                    f"one of {_first_of(list(known))}",
                    "Correct the name or the granularity",
                )
        rest = self._rest(count)
        return {entry.name: rows.get(unit_of(entry, self.granularity), rest) for entry in layout.entries}

    def _rest(self, count: int) -> Shares:
        return check_shares(self.rest, count) if self.rest else (1 / count,) * count

    def update(self, arena: Arena, out: Tensor, held: MergeMethod | None) -> tuple[str, ...]:
        """Only slices whose weights are not those of `held`, where that is a profile."""
        return apply_profile(arena, self, out, held if isinstance(held, LayerProfile) else None)

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        out = torch.empty_like(arena.weights[0]) if out is None else out
        apply_profile(arena, self, out)
        return Mixture(out[None], torch.ones(1))


def _first_of(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} others" if len(names) > most else "")


def apply_profile(
    arena: Arena, profile: LayerProfile, out: Tensor, previous: LayerProfile | None = None
) -> tuple[str, ...]:
    """Write the merge into `out` (P,); with `previous`, the profile that `out` holds now, only slices whose weights
    differ.

    Returns the names of the tensors that were recomputed, in network order. Running statistics are merged like the
    other tensors of their unit; call `fusionlib.merging.buffers.settle` for the buffer policy afterwards, each time.
    """
    table = profile.tensor_shares(arena)
    before = previous.tensor_shares(arena) if previous is not None else {}
    # Statistics always: a policy other than average has overwritten them since.
    changed = [
        entry for entry in arena.layout.entries if entry.kind == "buffer" or before.get(entry.name) != table[entry.name]
    ]
    if previous is None:
        clear_gaps(arena.layout, out)
    merge_slices(arena, table, out, changed)
    return tuple(entry.name for entry in changed if before.get(entry.name) != table[entry.name])
