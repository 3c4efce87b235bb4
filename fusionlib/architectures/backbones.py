"""Backbones of four maps, at strides 4 to 32, for networks that take one or the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

from torch import nn

from fusionlib.architectures import resnet, swin
from fusionlib.contracts import Stage

Plan = resnet.Plan | swin.Plan

STRIDES = (4, 8, 16, 32)
"""Of the four maps."""

TINY = resnet.Plan((2, 2, 2, 2), bottleneck=False, stem=16, widths=(16, 32, 64, 128))
"""A ResNet for small pictures and short runs."""


def made(plan: Plan) -> nn.Module:
    """The network of a plan."""
    return swin.Swin(plan) if isinstance(plan, swin.Plan) else resnet.ResNet(plan)


def widths(plan: Plan) -> tuple[int, ...]:
    """Channels of its maps."""
    return plan.widths if isinstance(plan, swin.Plan) else tuple(width * plan.expansion for width in plan.widths)


def stages(network: nn.Module, prefix: str) -> list[Stage]:
    """Every block of it; the last returns the four maps (N, C, h, w), the finest first."""
    if isinstance(network, swin.Swin):
        steps = network.stages(prefix)
        last = steps[-1]
        return [*steps[:-1], replace(last, call=lambda state: last.call(state)[0])]
    assert isinstance(network, resnet.ResNet)
    return list(network.stages(prefix, {1, 2, 3}))


def title(plan: Plan) -> str:
    """In words."""
    if plan == TINY:
        return "tiny ResNet"
    blocks = "+".join(map(str, plan.depths))
    if isinstance(plan, swin.Plan):
        known = (one for one in swin.PLANS.items() if one[1] == replace(plan, window=one[1].window))
        size = next((f"-{size.upper()}" for size, _ in known), f" of {plan.width} channels, {blocks} blocks")
        return f"Swin{size}, windows of {plan.window}"
    layers = next((n for n, one in resnet.PLANS.items() if one == replace(plan, deep=False)), None)
    size = f"-{layers}" if layers else f" of {blocks} blocks"
    return f"ResNet{size}{' with a deep stem' * plan.deep}"


def nearest(plan: Plan) -> tuple[str, Plan]:
    """Name of the usual backbone that is most like it, and its plan."""
    if plan == TINY:
        return "tiny", TINY
    if isinstance(plan, swin.Plan):
        sizes = {(one.width, one.depths): letter for letter, one in swin.PLANS.items()}
        letter = sizes.get((plan.width, plan.depths), "")
        return f"swin{'-' * bool(letter)}{letter}", swin.PLANS[letter or "t"]
    layers = {(one.depths, one.bottleneck): number for number, one in resnet.PLANS.items()}
    number = layers.get((plan.depths, plan.bottleneck))
    return f"resnet{number or ''}{'-v1c' * plan.deep}", replace(resnet.PLANS[number or 50], deep=plan.deep)


def differences(one: object, other: object) -> Iterator[str]:
    """`field=value` of `one` wherever two dataclasses of a kind differ."""
    for item in fields(one):  # type: ignore[arg-type]
        if (value := getattr(one, item.name)) != getattr(other, item.name):
            yield f"{item.name}={'-'.join(map(str, value)) if isinstance(value, tuple) else value}"
