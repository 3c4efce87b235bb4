"""Spherical interpolation between two checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, MergeMethod, Mixture, parameter
from fusionlib.errors import UsageError
from fusionlib.merging.average import average_rows, fold_order

SCOPES = ("tensor", "whole")
PARALLEL = "Nearly parallel weights were interpolated linearly, where the sphere's formula divides by almost zero"


@METHODS.register("slerp")
@dataclass(frozen=True)
class Slerp(MergeMethod):
    """`theta = (sin(alpha w) A + sin((1 - alpha) w) B) / sin w`, w the angle between A and B; alpha is the weight of A.

    The angle is that of each tensor, or of all parameters as one vector. Where `|cos w| > threshold` the result is the
    linear interpolation, which the formula tends to for parallel vectors; opposite ones have no shortest arc. The
    formula is not normalised, so that ends of different length are interpolated in length too. Running statistics,
    which are no directions, follow the buffer policy with weights alpha and 1 - alpha.

    Source: Shoemake 1985, "Animating rotation with quaternion curves", in the form that merging tools use for weights.
    Deviation: angles and factors are computed in float64.
    """

    title: ClassVar[str] = "SLERP"
    summary: ClassVar[str] = "Interpolation along the arc between two checkpoints, tensor by tensor or as a whole"
    citation: ClassVar[str] = "Shoemake 1985, Animating rotation with quaternion curves"

    alpha: float = parameter(
        0.5, "Weight of the first checkpoint; the second gets the rest", min=0.0, max=1.0, step=0.01
    )
    scope: str = parameter("tensor", "One angle for every tensor, or one for all parameters", choices=SCOPES)
    threshold: float = parameter(
        0.9995, "Cosine above which the interpolation is linear", min=0.9, max=1.0, step=0.0005
    )

    def shares(self, count: int) -> tuple[float, ...]:
        """Alpha and the rest. Raises `UsageError` unless there are two checkpoints."""
        if count != 2:
            raise UsageError(f"SLERP of {count} checkpoints", "exactly two", "Choose two, or another method")
        return (self.alpha, 1 - self.alpha)

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        shares = self.shares(len(arena))
        out = average_rows(arena, shares, torch.empty_like(arena.weights[0]) if out is None else out)
        members = fold_order(arena.fingerprints, shares)
        if len(members) == 1:
            return Mixture(out[None], torch.ones(1))
        groups = [
            [entry] for entry in sorted(arena.layout.entries, key=lambda entry: entry.name) if entry.kind != "buffer"
        ]
        if self.scope == "whole":
            groups = [[entry for group in groups for entry in group]]
        (first, second), weights = ([arena.weights[number] for number, _ in members], [share for _, share in members])
        straight = 0
        for group in groups:
            factors = self._factors([(first[e.offset : e.end], second[e.offset : e.end]) for e in group], weights)
            straight += factors is None and sum(entry.size for entry in group) > 1  # a single number has no angle
            for entry in group if factors is not None else ():
                a, b = first[entry.offset : entry.end], second[entry.offset : entry.end]
                out[entry.offset : entry.end] = factors[0] * a + factors[1] * b  # type: ignore[index]
        return Mixture(out[None], torch.ones(1), (f"{PARALLEL} ({straight} of {len(groups)})",) if straight else ())

    def _factors(self, pairs: list[tuple[Tensor, Tensor]], shares: list[float]) -> tuple[float, ...] | None:
        """Factors of the two; None where the interpolation is to be linear."""
        dot = sum(float(a.double() @ b.double()) for a, b in pairs)
        norms = [sum(float(pair[number].double().square().sum()) for pair in pairs) ** 0.5 for number in (0, 1)]
        cosine = dot / (norms[0] * norms[1]) if norms[0] and norms[1] else 1.0
        if not abs(cosine) <= self.threshold or abs(cosine) >= 1:  # there is no arc, whatever the threshold
            return None
        angle = torch.tensor(cosine, dtype=torch.float64).acos()
        return tuple(float((share * angle).sin() / angle.sin()) for share in shares)
