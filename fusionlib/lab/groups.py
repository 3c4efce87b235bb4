"""Parameters as a network wants them trained: groups of their own rate, and without weight decay."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from fusionlib.contracts import Architecture, ParameterGroup

RATE = "rate_factor"
"""Where a group of an optimiser keeps by how much its learning rate differs from that of the run."""


def grouped(
    architecture: Architecture, named: Mapping[str, nn.Parameter]
) -> Sequence[nn.Parameter] | Sequence[dict[str, Any]]:
    """The parameters themselves, or groups of them where the architecture declares some: the usual ones first."""
    declared: tuple[ParameterGroup, ...] = getattr(architecture, "groups", ())
    if not declared:
        return list(named.values())
    shares: dict[ParameterGroup | None, list[nn.Parameter]] = {None: [], **{one: [] for one in declared}}
    for name, parameter in named.items():
        own = next((one for one in declared if re.search(one.pattern, name)), None)
        shares[own].append(parameter)
    return [_as_group(one, parameters) for one, parameters in shares.items() if parameters]


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of the next step, each group's by its factor."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get(RATE, 1.0)


def _as_group(about: ParameterGroup | None, parameters: list[nn.Parameter]) -> dict[str, Any]:
    found: dict[str, Any] = {"params": parameters, RATE: about.rate if about else 1.0}
    return found if about is None or about.decay else {**found, "weight_decay": 0.0}
