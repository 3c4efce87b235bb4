"""Whether declared stages are the forward pass, and which tensors they read: found out by running them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from fusionlib.architectures.modules import methods_of_torch
from fusionlib.architectures.outputs import logits_of
from fusionlib.contracts import Output, Preprocessing, Stage
from fusionlib.errors import ArchitectureError

SIDES = (96, 130)
"""Of the random picture that is tried."""


def check_stages(
    module: nn.Module, stages: Sequence[Stage], about: Preprocessing | None = None, output: Output | None = None
) -> None:
    """Raises `ArchitectureError` where the stages in turn are not the forward pass, or one reads a tensor of a later
    one.

    Passes on what the network itself raises, which may be made for pictures of one size. It ruins the module, which is
    in evaluation mode: all weights are shaken, so that none is 0, and those of later stages overwritten with NaN while
    the earlier ones run again.
    """
    if not stages or not all(isinstance(stage, Stage) for stage in stages):
        raise _refused("stages(module) does not return stages", "a sequence of fusionlib.contracts.Stage, one or more")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in _floating(module).values():
            tensor.add_((torch.randn(tensor.shape, generator=generator) * 0.01).to(tensor))
        picture = trial_picture(about or Preprocessing(), *SIDES).to(_device(module))
        states: list[Any] = [picture]
        for stage in stages:
            states.append(stage.call(deepcopy(states[-1])))
        output = output or Output()
        if not _alike(logits_of(states[-1], output), logits_of(module(picture.clone()), output)):
            raise _refused("The stages give other logits than forward", "the forward pass in steps")
        owners = {
            name: next((number for number, stage in enumerate(stages) if stage.owns(name)), 0)
            for name in _floating(module)
        }
        for number in range(len(stages) - 1, -1, -1):
            for name, tensor in _floating(module).items():
                if owners[name] > number:
                    tensor.fill_(torch.nan)
            if not _alike(stages[number].call(deepcopy(states[number])), states[number + 1]):
                raise _refused(
                    f"Stage {stages[number].name} reads tensors of a later stage", "their names among its prefixes"
                )


def trial_picture(about: Preprocessing, height: int, width: int) -> Tensor:
    """Noise (1, 3, h, w) as a network sees a picture of that height and width."""
    return torch.rand(1, 3, *about.seen(height, width), generator=torch.Generator().manual_seed(1))


def _floating(module: nn.Module) -> dict[str, Tensor]:
    with methods_of_torch(module):
        return {name: tensor for name, tensor in module.state_dict().items() if tensor.is_floating_point()}


def _device(module: nn.Module) -> torch.device:
    return next((tensor.device for tensor in _floating(module).values()), torch.device("cpu"))


def _alike(one: Any, other: Any) -> bool:
    """Whether two states hold the same, up to rounding."""
    if isinstance(one, Tensor):
        return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-5)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_alike(part, other[name]) for name, part in one.items())
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(_alike(*pair) for pair in zip(one, other, strict=True))
    if one is None or isinstance(one, int | float | str):
        return one == other
    raise _refused(
        f"A state has a {type(one).__name__} in it", "tensors, plain numbers, and tuples, lists and dicts of them"
    )


def _refused(what: str, expected: str) -> ArchitectureError:
    return ArchitectureError(what, expected, "Correct stages(module) of the model code, or leave it out")
