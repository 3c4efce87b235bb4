"""Weights that gradients find, tensor by tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusionlib.contracts import STRATEGIES
from fusionlib.studies.strategies.learned import Soup


@STRATEGIES.register("learned-by-layer")
@dataclass(frozen=True)
class LearnedByLayer(Soup):
    """A row of weights for every tensor of parameters. Source: Wortsman et al. 2022, "Model soups", appendix I, and its
    code, whose layers are tensors.
    """

    title: ClassVar[str] = "Learned soup by layer"
    summary: ClassVar[str] = "Weights of its own for every tensor, found by gradients on the pictures to choose by"
    source: ClassVar[str] = "Wortsman et al. 2022, Model soups, appendix I"
    version: ClassVar[int] = 1
    buffers: ClassVar[str] = "recalibrate"
    by_tensor: ClassVar[bool] = True
