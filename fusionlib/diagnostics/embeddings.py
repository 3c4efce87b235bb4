"""How alike the class embeddings of a learner are: cosines of pairs of classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def class_cosines(table: NDArray[np.floating], *, diagonals: bool = False) -> NDArray[np.float64]:
    """Cosines of the embeddings (N, d) of all pairs k < l of N classes, row by row.

    With `diagonals` the set of the paper's figure 4, k in 1 ... N - 1 and l in k ... N: N - 1 ones lie in it, each an
    embedding beside itself. A zero embedding has no pairs.

    Source: "Efficient Self-Ensemble for Semantic Segmentation", figure 4.
    """
    rows = np.asarray(table, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    there = lengths > 0
    units = rows[there] / lengths[there, None]
    first, second = np.triu_indices(len(units), 0 if diagonals else 1)
    kept = first < len(units) - 1  # the last class begins no pair
    products = units @ units.T
    return np.clip(products[first[kept], second[kept]], -1, 1)
