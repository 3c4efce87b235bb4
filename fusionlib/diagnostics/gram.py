"""Inner products of weight vectors: cosine, norms and distances of all pairs, and the whole path between two, from one
pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fusionlib.contracts import DIAGNOSTICS, Diagnostic
from fusionlib.errors import UsageError

CHUNK = 1 << 15
"""Elements a product is taken over at a time: both pieces (128 KiB each) stay in the core's cache while all pairs are
formed, float32 loses few digits within a piece, and fewer pieces make the interpreter's share small.
"""

_FAINT, _HUGE = 1e-30, 1e30
"""Outside of these a float32 sum of squares may have lost digits to underflow, or overflowed: it is formed again in
float64.
"""


def gram(rows: Sequence[Any] | np.ndarray | torch.Tensor) -> np.ndarray:
    """Inner products of K weight vectors: K arrays or tensors of equal size, flattened -> (K, K) float64.

    `G[i, j] = sum_n rows_i[n] rows_j[n]`. Products are formed piece by piece in float32 (float64 for float64 rows) and
    the pieces summed in float64: the relative error of the squares is about 1e-8 for float32 rows. Grams of disjoint
    tensors add.

    Raises: `UsageError` where sizes differ.
    """
    flats = [_flat(row) for row in rows]
    if len({flat.size for flat in flats}) > 1:
        raise UsageError(
            f"Rows of {', '.join(str(flat.size) for flat in flats)} elements",
            "vectors of equal size",
            "Compare tensors of the same shape",
        )
    return products_of(flats)


def products_of(rows: Sequence[np.ndarray]) -> np.ndarray:
    """(K, K) float64 inner products of K flat arrays (n,) float32 or float64, formed piece by piece; see `gram`."""
    count, size = len(rows), rows[0].size if rows else 0
    pairs = [(i, j) for i in range(count) for j in range(i, count)]
    squares = [number for number, (i, j) in enumerate(pairs) if i == j]
    sums = [0.0] * len(pairs)
    # Plain floats in this loop: NumPy's bookkeeping for a handful of numbers would take longer than the products
    # themselves.
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, size, CHUNK):
            pieces = [row[start : start + CHUNK] for row in rows]
            found = [float(pieces[i].dot(pieces[j])) for i, j in pairs]
            if not all(_FAINT < found[number] < _HUGE for number in squares):
                wide = [piece.astype(np.float64) for piece in pieces]
                found = [float(wide[i].dot(wide[j])) for i, j in pairs]
            sums = [total + product for total, product in zip(sums, found, strict=True)]
    result = np.empty((count, count))
    for (i, j), total in zip(pairs, sums, strict=True):
        result[i, j] = result[j, i] = total
    return result


def cosine_from_gram(products: Any) -> np.ndarray:
    """`cos[i, j] = G[i, j] / sqrt(G[i, i] G[j, j])`: (K, K) -> (K, K) float64 in [-1, 1]; NaN for a vector of norm 0.

    Source: Weight Fusion, section 2.1 and Listing 3.
    """
    products = np.asarray(products, dtype=np.float64)
    norms = np.sqrt(products.diagonal())
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = np.clip(products / np.outer(norms, norms), -1.0, 1.0)
    np.fill_diagonal(cosine, np.where(norms > 0, 1.0, np.nan))
    return cosine


def norms_from_gram(products: Any) -> np.ndarray:
    """Euclidean norms `sqrt(G[i, i])`: (K, K) -> (K,) float64, in units of the weights."""
    return np.sqrt(np.asarray(products, dtype=np.float64).diagonal())


def l2_from_gram(products: Any) -> np.ndarray:
    """Distances `sqrt(G[i, i] + G[j, j] - 2 G[i, j])`: (K, K) -> (K, K) float64, in units of the weights.

    For vectors that nearly coincide the difference cancels: below about 1e-4 of the norm it has no correct digits. A
    `WeightSurvey` with tau sums the squared differences themselves instead.
    """
    products = np.asarray(products, dtype=np.float64)
    squares = products.diagonal()
    return np.sqrt(np.clip(squares[:, None] + squares[None, :] - 2 * products, 0.0, None))


def cosine_along_path(products: Any, alphas: Any, reference: int = 0) -> np.ndarray:
    """Cosine of `alpha A + (1 - alpha) B` with one of its ends, in closed form: G (2, 2), alphas (n,) -> (n,) float64.

    With reference r: `(alpha G[0, r] + (1 - alpha) G[1, r]) / (|theta(alpha)| sqrt(G[r, r]))` and `|theta(alpha)|^2 =
    alpha^2 G[0, 0] + 2 alpha (1 - alpha) G[0, 1] + (1 - alpha)^2 G[1, 1]`. No weight is read again. NaN where a norm is
    0.
    """
    products, alpha = np.asarray(products, dtype=np.float64), np.asarray(alphas, dtype=np.float64)
    shares = np.stack([alpha, 1 - alpha])
    square = np.einsum("in,ij,jn->n", shares, products, shares)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(
            (products[reference] @ shares) / np.sqrt(np.clip(square, 0, None) * products[reference, reference]),
            -1.0,
            1.0,
        )


def _flat(row: Any) -> np.ndarray:
    if isinstance(row, torch.Tensor):
        return as_floats(row)
    values = np.asarray(row).reshape(-1)
    return (
        values
        if values.dtype in (np.float32, np.float64)
        else values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64)
    )


def as_floats(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as a flat array (n,) float32, or float64 where it is; no copy for those two types."""
    kind = tensor.dtype if tensor.dtype in (torch.float32, torch.float64) else torch.float32
    return tensor.detach().to("cpu", kind).reshape(-1).numpy()


DIAGNOSTICS.register("cosine")(
    Diagnostic(
        "Cosine similarity",
        "How much of their direction two networks share: 1 the same, 0 unrelated",
        "Weight Fusion, section 2.1, Listing 3; useful above about 0.93 (appendix E), fails under 0.925 (Finding 2)",
        "weights",
        gram,
    )
)
DIAGNOSTICS.register("l2")(
    Diagnostic(
        "L2 distance",
        "Length of the straight path between two networks, in units of the weights",
        "Euclidean distance of the flattened weights",
        "weights",
        l2_from_gram,
    )
)
