"""What a method must find out before it can merge, and who finds it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from fusionlib.contracts.progress import Progress
from fusionlib.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import torch

    from fusionlib.checkpoints.arena import Arena

Table: TypeAlias = "Mapping[str, torch.Tensor]"
"""What a statistic has found out: tensors by name, as they lie in a safetensors file."""

Found: TypeAlias = "Mapping[tuple[str, tuple[int, ...]], Table]"
"""What a method is told: a table by name of the statistic and numbers of the checkpoints."""


@dataclass(frozen=True)
class Wanted:
    """A statistic of `members`, numbers of checkpoints, with the options that decide its values."""

    statistic: str
    members: tuple[int, ...]
    options: Mapping[str, Any]


class LoadedNetwork(Protocol):
    """One checkpoint in its network, in evaluation mode, without gradients."""

    module: torch.nn.Module
    flat: torch.Tensor
    """All floating tensors (P,), which those of `module` are views on."""

    def logits(self, images: np.ndarray) -> torch.Tensor:
        """Pictures (N, H, W, 3) uint8 -> logits (N, C, H, W); runs `module`."""
        ...

    def differentiable(self, weights: torch.Tensor, images: np.ndarray) -> torch.Tensor:
        """Logits (N, C, h, w) at the network's own resolution as a function of `weights` (P,)."""
        ...


@dataclass(frozen=True)
class Subject:
    """What a statistic is estimated of: an arena of the members alone.

    `network` loads a member by its row in the arena; `pictures` are `count` pairs of a number and a picture (H, W, 3)
    uint8, to be walked through once. Every step on the device, a picture or so long, goes through `run`.
    """

    arena: Arena
    run: Callable[[Callable[[], Any]], Any]
    network: Callable[[int], LoadedNetwork]
    pictures: Iterable[tuple[int, np.ndarray]] = ()
    count: int = 0


class Statistic(Protocol):
    """What a method must find out before it can merge: estimated once, stored, found again by content."""

    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int]
    """Raised whenever values move: what other versions have stored is then estimated anew."""
    needs: ClassVar[Literal["weights", "architecture", "pictures"]]
    grain: ClassVar[Literal["checkpoint", "pair", "set"]]
    """One table for each checkpoint; for each with the anchor before it; or one for all, by fingerprint."""
    options: ClassVar[tuple[str, ...]]
    """Names of what decides the values beside checkpoints and pictures; fields of a method that wants them."""
    cost: ClassVar[int]
    """What a picture costs beside its evaluation, in forward passes: for progress bars."""

    def estimate(self, subject: Subject, options: Mapping[str, Any], progress: Progress) -> dict[str, torch.Tensor]:
        """Its tensors, on the CPU. Progress is in pictures, (0, 0) where there are none; it may raise `Cancelled`."""
        ...


STATISTICS: Registry[Statistic] = Registry("statistic", "fusionlib.statistics", "STATISTICS")
