"""How alike the probabilities of networks are, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import torch

from fusionlib.contracts import MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.measures.observation import Observation

CONSTANT = 1e-12
"""Share of a sum of squares: a variance below it is what rounding leaves of none."""


class Correlation:
    """Pearson's correlation of the softmax outputs of M networks, pair by pair, over pixels x classes.

    `r = (sum xy - sum x sum y / n) / sqrt((sum x^2 - (sum x)^2 / n) (sum y^2 - (sum y)^2 / n))`, x and y the
    probabilities that two networks give to the classes of the annotation. With masks only labelled pixels count;
    without masks all do.

    State: `values` () int64, n; `undefined` (M,) int64, values that are no number; `sums` (M,) float64 and `products`
    (M (M + 1) / 2,) float64, the upper triangle row by row. Of M > 30 a state takes more than 4 KB.
    """

    title: ClassVar[str] = "Correlation"
    summary: ClassVar[str] = "Pearson correlation of the probabilities of two networks, pair by pair: 1 where alike"
    source: ClassVar[str] = 'lecture "Ensembling and Weight Averaging", pairwise correlation of softmax outputs'
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "pictures"
    networks: ClassVar[Networks] = "set"
    grain: ClassVar[Grain] = "picture"
    always: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset()
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("correlation", "Correlation", "", "", 4, "Pearson correlation of probabilities, mean of the pairs"),
        Figure("pair_correlation", "Correlation", "", "", 4, "The same of two networks", "pair"),
    )

    def init(self, classes: int, device: torch.device, members: int = 2) -> State:
        """Zeros for `members` networks."""
        float64, int64 = ({"dtype": kind, "device": device} for kind in (torch.float64, torch.int64))
        return {
            "values": torch.zeros((), **int64),
            "undefined": torch.zeros(members, **int64),
            "sums": torch.zeros(members, **float64),
            "products": torch.zeros(members * (members + 1) // 2, **float64),
        }

    def update(self, state: State, *observations: Observation) -> None:
        """Add what M networks see of the same pixels."""
        first = observations[0]
        counted = first.valid if first.labelled else torch.ones_like(first.valid)
        self.add(state, [one.target_probabilities.movedim(1, 0)[:, counted] for one in observations])

    def add(self, state: State, probabilities: Sequence[torch.Tensor]) -> None:
        """Add tables (classes, pixels) of all networks; class by class, so that little is held in float64."""
        rows, columns = torch.triu_indices(len(probabilities), len(probabilities), device=state["products"].device)
        for values in zip(*probabilities, strict=True):
            table = torch.stack(values).double()
            finite = table.isfinite()
            table.masked_fill_(~finite, 0)
            state["undefined"] += (~finite).sum(1)
            state["sums"] += table.sum(1)
            state["products"] += (table @ table.T)[rows, columns]
            state["values"] += table.shape[1]

    def compute(self, state: State) -> dict[str, Any]:
        """`correlation`, the mean of the pairs, and `pair_correlation` in the order (0, 1), (0, 2), ... (M - 2, M - 1).

        None without pixels, and for a network that says the same everywhere, or something that is no number.
        """
        sums, undefined = state["sums"].cpu().numpy(), state["undefined"].cpu().numpy()
        count, products = int(state["values"]), np.zeros((len(sums), len(sums)))
        products[np.triu_indices(len(sums))] = state["products"].cpu().numpy()
        spread = products - np.outer(sums, sums) / max(1, count)
        moving = (spread.diagonal() > CONSTANT * products.diagonal()) & (undefined == 0)

        def of(one: int, other: int) -> float | None:
            if not (moving[one] and moving[other]):
                return None
            value = spread[one, other] / np.sqrt(spread[one, one] * spread[other, other])
            return float(np.clip(value, -1, 1))

        pairs = [of(*pair) for pair in combinations(range(len(sums)), 2)]
        known = [one for one in pairs if one is not None]
        whole = known and len(known) == len(pairs)
        return {"correlation": float(np.mean(known)) if whole else None, "pair_correlation": pairs}


MEASURES.register("correlation")(Correlation())
