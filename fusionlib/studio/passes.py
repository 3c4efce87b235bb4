"""Who carries out the passes of a process, as its options say."""

from __future__ import annotations

import torch

from fusionlib.options import Options
from fusionlib.runs.passes import Passes, PassesHere


def passes_of(options: Options, device: torch.device) -> Passes:
    """By this process, or by the workers of a cluster. Raises `UsageError` where what that needs is not installed."""
    if options.engine == "here":
        return PassesHere()
    from fusionlib.runs.ray_executor import RayPasses

    return RayPasses(device, options.precision, options.models, options.address, options.workers, options.trusted)
