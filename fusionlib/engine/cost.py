"""What one forward pass of a network costs: time and memory, measured on one picture."""

from __future__ import annotations

import platform
import statistics
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fusionlib.contracts import Progress
from fusionlib.engine.build import Built

FORWARDS = 5
"""Timed passes, of which the median counts."""

PASSES = FORWARDS + 2
"""All passes of a measurement: one to warm up, the timed ones, and one whose memory is followed."""

FLOAT = 4
"""Bytes of a weight as it is held."""


@dataclass(frozen=True)
class Cost:
    """Of one forward pass of one picture: `milliseconds`, the median of `FORWARDS`, and `megabytes` (10^6 bytes).

    Memory is the weights of all members in float32 and the most that the pass allocates on top of them. On CUDA that is
    what torch's allocator counts (`max_memory_allocated`); on a CPU what the tensors take that operators return,
    without the scratch space inside an operator, so that it does not depend on the number of threads.
    """

    milliseconds: float
    megabytes: float


def measure_cost(network: Built, image: np.ndarray, run: Callable[[Callable[[], Any]], Any], told: Progress) -> Cost:
    """The cost of a picture (H, W, 3) uint8, as the network runs: an ensemble's members one after the other.

    `run` executes a call on the device's worker; progress is in passes, and may raise `Cancelled` before each.
    """
    images, member_passes = image[None], network.forwards

    def passed() -> float:
        with torch.inference_mode():
            begun = time.perf_counter()
            network.logits(images)
            if network.device.type == "cuda":
                torch.cuda.synchronize(network.device)
            return 1000 * (time.perf_counter() - begun)

    times = []
    for number in range(FORWARDS + 1):
        told(number * member_passes, PASSES * member_passes)
        times.append(run(passed))
    told((PASSES - 1) * member_passes, PASSES * member_passes)
    weights = sum(member.weights.numel() for member in network.members) * FLOAT
    allocated = run(lambda: _allocated(passed, network.device))
    told(PASSES * member_passes, PASSES * member_passes)
    return Cost(statistics.median(times[1:]), (weights + allocated) / 1e6)


def device_words(device: torch.device) -> str:
    """The device as people know it, with what else decides how long a pass takes."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{platform.processor() or platform.machine()}, {threads} thread{'' if threads == 1 else 's'}"


def _allocated(call: Callable[[], Any], device: torch.device) -> int:
    """Bytes that a call takes at most beyond what was there before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with Followed() as followed:
        call()
    return followed.most


class Followed(TorchDispatchMode):
    """Bytes of the tensors that operators return: `most` at once. Memory that several tensors share counts once."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.most = 0
        self._there: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator; what it returns is followed until it is freed, what it was given was there before."""
        given = {_memory(one) for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)}
        found = func(*args, **(kwargs or {}))
        for one in tree_leaves(found):
            if isinstance(one, torch.Tensor) and (key := _memory(one)) not in given | self._there:
                storage = one.untyped_storage()
                self._there.add(key)
                self.held += storage.nbytes()
                self.most = max(self.most, self.held)
                weakref.finalize(storage, self._freed, key, storage.nbytes())
        return found

    def _freed(self, key: int, size: int) -> None:
        self._there.discard(key)
        self.held -= size


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
