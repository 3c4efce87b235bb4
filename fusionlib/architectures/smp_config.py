"""What `config.json` of segmentation_models_pytorch says: the arguments that a network was made with.

Some change what is computed and no tensor, so that shapes alone would take one network for another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fusionlib.errors import ArchitectureError, shown

DEPTHS = (18, 34, 50, 101)

_USUAL: dict[str, Any] = {"in_channels": 3, "encoder_depth": 5, "activation": None}


def encoder_of(config: Mapping[str, Any], usual: Mapping[str, Any]) -> int:
    """How many layers the ResNet has. `usual` are further arguments with the only values that are built in.

    Raises `ArchitectureError` for another encoder, and where an argument is another.
    """
    for name, value in {**_USUAL, **usual}.items():
        if config.get(name, value) != value:
            raise refused(config, name, shown(value))
    found = re.fullmatch(r"resnet(\d{2,3})", str(config.get("encoder_name", "")))
    if found is None or int(found[1]) not in DEPTHS:
        raise refused(config, "encoder_name", " or ".join(f"resnet{depth}" for depth in DEPTHS))
    return int(found[1])


def refused(config: Mapping[str, Any], name: str, needs: str) -> ArchitectureError:
    """The error for an argument whose value is not built in."""
    return ArchitectureError(
        f"its folder has {name} {shown(config.get(name))}, built in is {needs}",
        f"{name} {needs}",
        "Give the network's code with --model FILE.py:FACTORY",
    )
