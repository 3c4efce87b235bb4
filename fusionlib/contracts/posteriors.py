"""What a kind of posterior is: how networks are drawn from what a file holds beside its mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from fusionlib.registry import Registry

if TYPE_CHECKING:
    import torch

    from fusionlib.checkpoints.posterior import PosteriorFile


class Posterior(Protocol):
    """Samples around the network of a checkpoint, which is their mean, from the further tensors of its file."""

    title: ClassVar[str]
    summary: ClassVar[str]
    """One line on what its samples are."""
    citation: ClassVar[str]

    def check(self, file: PosteriorFile) -> None:
        """Refuse what cannot be sampled, by names, shapes and numbers alone: no tensor is read.

        Raises: `CheckpointError`.
        """
        ...

    def deviations(self, file: PosteriorFile, keys: Sequence[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """Samples minus their mean, tensor by tensor: name, and (M, ...) for M `keys`, on the CPU.

        A sample follows from its key alone: not from the others, nor from their number.
        """
        ...


POSTERIORS: Registry[Posterior] = Registry("posterior", "fusionlib.merging.posteriors", "POSTERIORS")
