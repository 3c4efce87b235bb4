"""Do two networks represent the same pictures alike, block by block? Linear CKA, and how far features lie apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from fusionlib.contracts import MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.measures.observation import Observation

CHANNELS = 512
"""Blocks with more channels are represented by that many of them, evenly spaced: covariances grow with the square."""

SEED = 0
"""With a picture's number it decides which positions are drawn."""

POSITIONS = 2048
"""Positions taken of a picture's feature maps, at random: neighbours say nearly the same, and products of all of them
would take longer than the forward passes. Not evenly spaced: a stride that shares a factor with the width sees few
columns, or one.
"""


def linear_cka(first: Any, second: Any) -> float | None:
    """Similarity of two representations of the same n examples: (n, p) and (n, q) -> 0 to 1; None for a constant
    representation.

    With columns centred, `|Y'X|_F^2 / (|X'X|_F |Y'Y|_F)`: 1 for representations that agree up to rotation and scale.
    The plug-in (biased) estimator; its bias is of the order p / n, so it wants many more examples than channels.

    Source: Kornblith et al. 2019, equation 5 with the linear kernel.
    """
    state: State = {}
    rows = [torch.as_tensor(np.asarray(one)).double() for one in (first, second)]
    _add_rows(state, "x", rows[0], rows[1])
    return _similarity(state, "x")


class Cka:
    """Linear CKA and l2 distance of two networks block by block, streamed: sums and products of channels, never the
    activations.

    A position of a feature map is one example, its channels are the features: `POSITIONS` of each picture, drawn
    without replacement and the same for both networks, so thousands of examples from a few pictures. What is drawn
    follows from the picture's number and the map's size alone, not from who else is compared or what came before. The
    plug-in (biased) estimator, see `linear_cka`. The distance is `sqrt(mean_i |x_i - y_i|^2)` over the same positions
    and all channels, in the unit of the activations: unlike CKA it sees a rotation, and a block whose channels mean the
    same but are larger. `relative` divides it by the root of the mean of both networks' mean squares: 0 for the same
    features, about 1.4 for unrelated ones.

    State, for every block of name b that either network has: `count/b` (3,) int64, examples of the first, the second
    and of both; where they have it `sum0/b` (p,), `sum1/b` (q,), `product00/b` (p, p), `product11/b` (q, q),
    `product01/b` (p, q) and, where both have the same channels, `squares/b` (2,) float64, sums of squares of the
    difference and of both. They add, in float64 and so to the last bit in the order of the pictures alone: one
    state stands for all of them. Sums are not shifted by a mean, which float64 has digits for: a channel whose mean is
    1,000 times its deviation still has ten.
    """

    title: ClassVar[str] = "Activation similarity"
    summary: ClassVar[str] = "Linear CKA per block, 1 where both networks represent the pictures alike, and l2 distance"
    source: ClassVar[str] = "Kornblith et al. 2019, equation 5, linear kernel, biased estimator, positions as examples"
    version: ClassVar[int] = 2
    needs: ClassVar[Needs] = "pictures"
    networks: ClassVar[Networks] = "pair"
    grain: ClassVar[Grain] = "split"
    always: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset({"activations"})
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("cka", "CKA", "", "", 3, "1 where both networks represent the pictures alike, 0 where not", "block"),
        Figure("feature_distance", "Feature distance", "", "", 4, "Root mean square l2 distance of positions", "block"),
    )

    def init(self, classes: int, device: torch.device, members: int = 2) -> State:
        """An empty state: blocks come with the activations."""
        return {}

    def update(self, state: State, *observations: Observation) -> None:
        """Add the activations that two networks have of the same pictures."""
        first, second = observations
        self.add(state, first.activations, second.activations, first.picture)

    def add(
        self, state: State, first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor], picture: int
    ) -> None:
        """Add two tables block -> feature maps (N, C, h, w) or token sequences (N, T, C) of picture number `picture`.

        Blocks whose positions differ are left out: their rows are not the same examples.
        """
        for block in dict.fromkeys((*first, *second)):
            maps = [_channels_last(one[block]) if block in one else None for one in (first, second)]
            shapes = [None if one is None else tuple(one.shape[:-1]) for one in maps]
            rows = [
                None if one is None or shape is None else one[_drawn(shape, (SEED, picture))]
                for one, shape in zip(maps, shapes, strict=True)
            ]
            _add_rows(state, block, *rows, paired=shapes[0] == shapes[1])
            _add_squares(state, block, *rows)

    def compute(self, state: State) -> dict[str, Any]:
        """`cka`: `block` and its `cka` in the order in which the blocks ran; None where a representation is constant.
        `feature_distance`: `block`, `distance` and `relative`; None where channels differ.

        Blocks that the two did not share in every picture are left out.
        """
        blocks = [name.removeprefix("count/") for name in state if name.startswith("count/")]
        shared = [block for block in blocks if len(set(state[f"count/{block}"].tolist())) == 1]
        return {
            "cka": [{"block": block, "cka": _similarity(state, block)} for block in shared],
            "feature_distance": [{"block": block, **_distance(state, block)} for block in shared],
        }


def _add_rows(
    state: State, block: str, first: torch.Tensor | None, second: torch.Tensor | None, paired: bool = True
) -> None:
    """Add matrices (n, p) and (n, q), which hold the same n examples where they are `paired`."""
    rows = [None if one is None else _thinned(one).double() for one in (first, second)]
    for number, one in enumerate(rows):
        if one is not None:
            _add(state, f"sum{number}/{block}", one.sum(0))
            _add(state, f"product{number}{number}/{block}", one.T @ one)
    left, right = rows
    counts = [0 if one is None else len(one) for one in rows]
    if left is not None and right is not None and paired:
        _add(state, f"product01/{block}", left.T @ right)
        counts.append(len(left))
    _add(state, f"count/{block}", torch.tensor([*counts, 0][:3]))


def _add_squares(state: State, block: str, first: torch.Tensor | None, second: torch.Tensor | None) -> None:
    """Add what matrices (n, p) of the same examples have in squares: of their difference, and of both together."""
    if first is None or second is None or first.shape != second.shape:
        return
    one, other = first.double(), second.double()
    apart, both = (one - other).square().sum(), one.square().sum() + other.square().sum()
    _add(state, f"squares/{block}", torch.stack([apart, both]))


def _distance(state: State, block: str) -> dict[str, float | None]:
    """The root mean square distance of positions, and as a part of the features' root mean square."""
    if f"squares/{block}" not in state:
        return {"distance": None, "relative": None}
    apart, both = state[f"squares/{block}"].tolist()
    count = float(state[f"count/{block}"][2])
    return {"distance": (apart / count) ** 0.5, "relative": (2 * apart / both) ** 0.5 if both else None}


def _add(state: State, name: str, value: torch.Tensor) -> None:
    state[name] = state[name] + value if name in state else value


def _similarity(state: State, block: str) -> float | None:
    cross, left, right = (float(_centred(state, block, i, j).square().sum()) for i, j in ((0, 1), (0, 0), (1, 1)))
    # Constant channels leave rounding behind, not exactly 0: compare with what their mean would give.
    count = float(state[f"count/{block}"][0])
    floors = [(1e-12 / count * float(state[f"sum{number}/{block}"].square().sum())) ** 2 for number in (0, 1)]
    if left <= floors[0] or right <= floors[1]:
        return None
    return float(min(1.0, cross / (left * right) ** 0.5))


def _centred(state: State, block: str, a: int, b: int) -> torch.Tensor:
    outer = torch.outer(state[f"sum{a}/{block}"], state[f"sum{b}/{block}"])
    return state[f"product{a}{b}/{block}"] - outer / float(state[f"count/{block}"][0])


def _channels_last(activations: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) as a view (N, h, w, C); (N, T, C) as it is."""
    return activations.permute(0, 2, 3, 1) if activations.ndim == 4 else activations


def _drawn(shape: tuple[int, ...], seed: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    """Indices (n,) into each axis of `shape` that pick a random `POSITIONS` of its elements, in their order; all where
    there are fewer.
    """
    count = math.prod(shape)
    chosen = (
        np.arange(count)
        if count <= POSITIONS
        else np.sort(np.random.default_rng(seed).choice(count, POSITIONS, replace=False, shuffle=False))
    )
    return tuple(torch.from_numpy(axis) for axis in np.unravel_index(chosen, shape))


def _thinned(rows: torch.Tensor) -> torch.Tensor:
    channels = rows.shape[1]
    if channels <= CHANNELS:
        return rows
    return rows[:, torch.linspace(0, channels - 1, CHANNELS, device=rows.device).round().long()]


MEASURES.register("cka")(Cka())
