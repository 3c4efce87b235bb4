"""What a merge method is, and all that the rest of the program may ask of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from fusionlib.contracts.statistics import STATISTICS, Found, Table, Wanted
from fusionlib.errors import UsageError
from fusionlib.registry import Registry

if TYPE_CHECKING:
    import torch

    from fusionlib.checkpoints.arena import Arena

Shares = tuple[float, ...]
"""How much each checkpoint weighs; they sum to 1."""


@dataclass(frozen=True)
class Mixture:
    """What a merge method gives: `weights` (M, P) and `coefficients` (M,); M = 1 is one merged network.

    Integer tensors are no part of it: they are never averaged. `notes` are remarks the user must see (a fallback, say).
    With M > 1 `rule` says how the answers of the networks are combined, see `fusionlib.merging.choices.RULES`.
    """

    weights: torch.Tensor
    coefficients: torch.Tensor
    notes: tuple[str, ...] = ()
    rule: str = "softmax"


@dataclass(frozen=True)
class MergeMethod(ABC):
    """A frozen dataclass whose fields are its hyper-parameters.

    All that the rest of the program may ask of a method is declared here, with what holds for one that says nothing:
    nobody looks at a method's name or type.
    """

    title: ClassVar[str]
    """What people read."""
    summary: ClassVar[str]
    """One line on what it does."""
    citation: ClassVar[str]
    """Its source."""
    version: ClassVar[int] = 1
    """Raised whenever merges come out otherwise: figures of other versions are then measured anew."""
    breaks: ClassVar[frozenset[str]] = frozenset()
    """Names of the laws (tests/test_laws.py) that it cannot satisfy, each explained in its docstring."""
    needs: ClassVar[Literal["weights", "architecture", "pictures"]] = "weights"
    """What it must be given: weights alone, a network with declared permutations, or unlabelled pictures too."""
    statistics: ClassVar[tuple[str, ...]] = ()
    """Names of the statistics that it must be told before it can merge, see `wanted`."""
    averages: ClassVar[bool] = True
    """Whether it averages weights as they are in the files: else what they say of an average does not concern it."""
    streams: ClassVar[bool] = False
    """Whether the merge is `sum_i shares_i theta_i` and nothing else, so that it can go from file to file."""
    tensorwise: ClassVar[bool] = False
    """Whether every tensor has weights of its own: `tensor_shares`. Running statistics are then merged with these."""
    takes_unlike: ClassVar[bool] = False
    """Whether it takes checkpoints of different heads by itself, without being asked to merge what they share."""
    keeps_statistics: ClassVar[bool] = False
    """Whether every network that it gives keeps its own running statistics, whatever the buffer policy is."""
    whole_checkpoints: ClassVar[bool] = False
    """Whether its networks are the checkpoints as they are, each in its own architecture: they need not be alike."""
    for_each_anchor: ClassVar[bool] = False
    """Whether it is meant to be used once per checkpoint as the anchor, where nobody names one."""
    no_defaults: ClassVar[str] = ""
    """Why it cannot be tried with its defaults, and what to do; empty where it can."""
    by_preset: ClassVar[bool] = False
    """Whether its parameters are drawn unit by unit and saved as a preset, too many for a form."""
    on_subsets: ClassVar[bool] = False
    """Whether a comparison tries it on the subsets of a set as well, as the tables of its paper do."""
    found: Found | None = field(default=None, kw_only=True, compare=False, repr=False, metadata={"hidden": True})
    """What it was told, see `informed`."""

    @property
    def anchor(self) -> int | None:
        """Number of the checkpoint that leads, mostly a field of its own; None for a method that has none."""
        return None

    @classmethod
    def defaults(cls, count: int) -> dict[str, Any]:
        """Hyper-parameters for `count` checkpoints that nobody says more about, where they depend on the count."""
        return {}

    @abstractmethod
    def shares(self, count: int) -> Shares:
        """How much each of `count` checkpoints weighs, on the whole: what running statistics and counters follow."""

    def tensor_shares(self, arena: Arena) -> Mapping[str, Shares]:
        """K weights by tensor name of a method that is `tensorwise`: what the buffer policies follow."""
        return {}

    def networks(self, count: int) -> int:
        """M, how many networks a merge of `count` checkpoints is."""
        return 1

    def remark(self, names: Sequence[str]) -> str:
        """What its title does not tell of a merge of checkpoints of these names; mostly nothing."""
        return ""

    def wanted(self, count: int) -> tuple[Wanted, ...]:
        """What to find out about `count` checkpoints: each of `statistics`, by its grain, of those with a weight."""
        if not self.statistics:
            return ()
        there = [number for number, share in enumerate(self.shares(count)) if share != 0]
        leader = self.anchor or 0
        sets = {
            "checkpoint": [(number,) for number in there],
            "pair": [(leader, number) for number in there if number != leader],
            "set": [tuple(there)],
        }
        return tuple(
            Wanted(name, members, {option: getattr(self, option) for option in STATISTICS.get(name).options})
            for name in self.statistics
            for members in sets[STATISTICS.get(name).grain]
        )

    def informed(self, found: Found) -> Self:
        """The same method that knows these tables."""
        return replace(self, found=found)

    def table(self, statistic: str, *members: int) -> Table:
        """What it was told. Raises `UsageError` where it was not."""
        known = None if self.found is None else self.found.get((statistic, members))
        if known is None:
            raise UsageError(
                f"{self.title} without the {STATISTICS.get(statistic).title} of these checkpoints",
                "unlabelled pictures to estimate it on" if self.needs == "pictures" else "to find it out first",
                "Give --data" if self.needs == "pictures" else "Call fusionlib.engine.statistics.find",
            )
        return known

    def aligned(self, arena: Arena) -> Arena:
        """The arena with units in the order in which they are merged, and running statistics with them."""
        return arena

    def update(self, arena: Arena, out: torch.Tensor, held: MergeMethod | None) -> tuple[str, ...] | None:
        """Write the merge into `out` (P,), which holds that of `held` (None: anything), only where the two differ.

        Names of the tensors written, in network order; None, and nothing is written, where the method cannot do that.
        """
        return None

    @abstractmethod
    def __call__(self, arena: Arena, out: torch.Tensor | None = None) -> Mixture:
        """Merge the arena's K checkpoints, into `out` (P,) where it is given."""


METHODS: Registry[type[MergeMethod]] = Registry("merge method", "fusionlib.merging", "METHODS")
