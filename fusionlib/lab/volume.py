"""The volume of a simplex of networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def squared_distances(vertices: Sequence[Weights]) -> Tensor:
    """`|v_i - v_j|^2` over all tensors, float64 (n, n); differentiable."""
    zero = next(iter(vertices[0].values())).new_zeros((), dtype=torch.float64)
    rows = [[zero for _ in vertices] for _ in vertices]
    for i, one in enumerate(vertices):
        for j, other in enumerate(vertices[:i]):
            parts = [(one[name].double() - other[name].double()).square().sum() for name in one]
            rows[i][j] = rows[j][i] = torch.stack(parts).sum()
    return torch.stack([torch.stack(row) for row in rows])


def squared_volume(squares: Tensor) -> Tensor:
    """V^2 of the simplex whose corners have these squared distances (k + 1, k + 1), by the Cayley-Menger determinant.

    `V^2 = (-1)^(k+1) / (2^k k!^2) det [[D, 1], [1, 0]]`; 1 for a single corner. The determinant is expanded, not
    factorised: where the corners lie in a plane it is singular, and its gradient is still wanted.
    """
    sides = len(squares) - 1
    ones = squares.new_ones(len(squares), 1)
    bordered = torch.cat([torch.cat([squares, ones], 1), torch.cat([ones.T, squares.new_zeros(1, 1)], 1)])
    return (-1) ** (sides + 1) / (2**sides * math.factorial(sides) ** 2) * determinant(bordered)


def determinant(matrix: Tensor) -> Tensor:
    """By minors of growing sets of columns, 2^n of them: for the few corners of a simplex, with an exact gradient."""
    size = len(matrix)
    minors = {0: matrix.new_ones(())}
    for row in range(size):
        grown: dict[int, Tensor] = {}
        for taken, minor in minors.items():
            for column in range(size):
                if taken >> column & 1:
                    continue
                sign = (-1) ** (taken >> column).bit_count()
                key = taken | 1 << column
                term = sign * matrix[row, column] * minor
                grown[key] = grown[key] + term if key in grown else term
        minors = grown
    return minors[(1 << size) - 1]
