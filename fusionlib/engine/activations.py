"""Activations of a network's blocks, by forward hooks, for comparing representations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

FEWEST, MOST, DEEPEST = 4, 48, 3
"""Blocks worth showing, and how deep to look for them: wrappers such as `backbone` are opened until there are
enough.
"""


def blocks_of(network: nn.Module) -> dict[str, nn.Module]:
    """The network's blocks by name, in order of registration: its children, or theirs where there are too few.

    Containers that are never called themselves (`ModuleList`, `ModuleDict`) are always opened.
    """
    blocks = _children(network)
    for _ in range(DEEPEST):
        opened: dict[str, nn.Module] = {}
        for name, block in blocks.items():
            children = _children(block)
            wants = isinstance(block, nn.ModuleList | nn.ModuleDict) or (len(blocks) < FEWEST and children)
            opened |= {f"{name}.{child}": module for child, module in children.items()} if wants else {name: block}
        if len(opened) > MOST or opened.keys() == blocks.keys():
            break
        blocks = opened
    return dict(list(blocks.items())[:MOST])


def _children(module: nn.Module) -> dict[str, nn.Module]:
    return dict(nn.Module.named_children(module))  # of the class: an attribute of the network may be called like it


@contextmanager
def recorded(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Inside the block, every forward pass fills the table: block -> a copy of its output (N, C, h, w) or (N, T, C).

    A copy, because networks write over activations in place. Blocks that give no such tensor are left out.
    """
    found: dict[str, Tensor] = {}

    def hook(name: str):
        def keep(_module: nn.Module, _inputs: object, output: object) -> None:
            first = output[0] if isinstance(output, tuple | list) and output else output
            if isinstance(first, Tensor) and first.ndim in (3, 4) and first.is_floating_point():
                found[name] = first.detach().float().clone()

        return keep

    handles = [module.register_forward_hook(hook(name)) for name, module in blocks_of(network).items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
