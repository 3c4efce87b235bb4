"""KFAC-Laplace: a Gaussian whose precision is a Kronecker product in each layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.posterior import PosteriorFile
from fusionlib.contracts import POSTERIORS
from fusionlib.merging.draws import normal

INPUTS, OUTPUTS, FISHER = "inputs", "outputs", "fisher"
VALUES = ("input_values", "output_values")
VECTORS = ("input_vectors", "output_vectors")
EXAMPLES, TAU, DIAGONAL = "examples", "tau", "diagonal"
"""Numbers of the file: N and tau; and the names of tensors with a diagonal."""


class Kfac:
    """`mean + U_G (Z / sqrt(N g a^T + tau)) U_A^T` for a layer's matrix (out, in + 1), the bias its last column.

    `A = U_A diag(a) U_A^T` and `G = U_G diag(g) U_G^T`, so that the covariance is `(N A x G + tau I)^-1` exactly, where
    the usual product of `sqrt(N) A + sqrt(tau) I` and the same of G adds mixed terms. A tensor of no such layer has the
    diagonal `N F + tau`. Source: Ritter et al. 2018, "A Scalable Laplace Approximation for Neural Networks", section
    3; the eigendecomposition as in George et al. 2018.
    """

    title: ClassVar[str] = "KFAC-Laplace"
    summary: ClassVar[str] = "A Gaussian at a trained network, as wide as the curvature of its loss allows"
    citation: ClassVar[str] = "Ritter et al. 2018, A Scalable Laplace Approximation for Neural Networks, section 3"

    def check(self, file: PosteriorFile) -> None:
        """Factors that fit the layers. Raises `CheckpointError`."""
        file.only(*VALUES, *VECTORS, FISHER)
        for name in (EXAMPLES, TAU):
            file.number(name)
        layers = file.parts.get(VALUES[0], {})
        if not layers and not file.parts.get(FISHER):
            raise file.refused("no factors", "those of one layer or more")
        for part in (*VALUES, *VECTORS):
            if set(file.parts.get(part, {})) != set(layers):
                raise file.refused(f"its {part} are of other layers", "all four of each")
        taken = set(layers) | {_bias(name) for name in layers if self._biased(file, name)}
        for name in layers:
            self._check_layer(file, name)
        for name in file.parts.get(FISHER, {}):
            file.need(FISHER, name, file.shapes[name])
            if name in taken:
                raise file.refused(f"{name} twice", "factors or a diagonal")

    def _check_layer(self, file: PosteriorFile, name: str) -> None:
        shape, biased = file.shapes[name], self._biased(file, name)
        if len(shape) not in (2, 4):
            raise file.refused(f"factors of {name}, which is {shape}", "those of a linear layer or a convolution")
        sides = (math.prod(shape[1:]) + biased, shape[0])
        if biased and file.shapes.get(_bias(name)) != (shape[0],):
            raise file.refused(f"factors of {name} with a bias", "a layer that has one")
        for side, values, vectors in zip(sides, VALUES, VECTORS, strict=True):
            file.need(values, name, (side,))
            file.need(vectors, name, (side, side))

    def _biased(self, file: PosteriorFile, name: str) -> bool:
        return file.shape(VALUES[0], name) == (math.prod(file.shapes[name][1:]) + 1,)

    def deviations(self, file: PosteriorFile, keys: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        """As the class says."""
        examples, tau = file.number(EXAMPLES), file.number(TAU)
        for name in file.parts.get(VALUES[0], {}):
            a, g = (file.read(part, name, least=0.0) for part in VALUES)
            by_inputs, by_outputs = (file.read(part, name) for part in VECTORS)
            spread = (examples * g[:, None] * a[None] + tau).rsqrt_()
            rows = [
                by_outputs @ (normal(key, name, *spread.shape, dtype=spread.dtype) * spread) @ by_inputs.T
                for key in keys
            ]
            drawn = torch.stack(rows)
            biased, shape = self._biased(file, name), file.shapes[name]
            yield name, drawn[..., : drawn.shape[-1] - biased].reshape(len(keys), *shape)
            if biased:
                yield _bias(name), drawn[..., -1]
        for name in file.parts.get(FISHER, {}):
            spread = (examples * file.read(FISHER, name, least=0.0) + tau).rsqrt_()
            yield name, torch.stack([normal(key, name, *spread.shape, dtype=spread.dtype) * spread for key in keys])


def _bias(name: str) -> str:
    """The bias of the layer of a weight."""
    return f"{name.removesuffix('weight')}bias"


POSTERIORS.register("kfac")(Kfac())
