"""Modules of networks whose attributes are called like methods of `torch.nn.Module`.

`self.modules = ["a", "b"]` in a user's network hides the method of that name, and with it whatever torch does by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


def named_modules(network: nn.Module) -> dict[str, nn.Module]:
    """Every module by its first name, in the order of `nn.Module.named_modules`, whatever its attributes are called."""
    found: dict[str, nn.Module] = {}
    seen: set[int] = set()

    def walk(name: str, module: nn.Module) -> None:
        if id(module) in seen:
            return
        seen.add(id(module))
        found[name] = module
        for leaf, child in module._modules.items():
            if child is not None:
                walk(f"{name}.{leaf}" if name else leaf, child)

    walk("", network)
    return found


@contextmanager
def methods_of_torch(network: nn.Module) -> Iterator[None]:
    """Inside the block `network.eval()`, `.to()`, `.state_dict()` and so on work: attributes that hide them are set
    aside.

    Not for a forward pass, which may read them.
    """
    hidden: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for module in named_modules(network).values():
        own = vars(module)
        hiding = {name: value for name, value in own.items() if callable(getattr(nn.Module, name, None))}
        for name in hiding:
            del own[name]
        hidden.append((own, hiding))
    try:
        yield
    finally:
        for own, hiding in hidden:
            own |= hiding
