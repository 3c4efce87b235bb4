"""What a measure is: what it reads, what it keeps, which figures follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from fusionlib.registry import Registry

if TYPE_CHECKING:
    import torch

    from fusionlib.measures.observation import Observation

Needs = Literal["weights", "pictures", "masks"]
"""What something reads: tensors alone (any architecture, no data), pictures (a network too), or masks as well."""

Networks = Literal["one", "pair", "set"]
"""How many networks a measure is of: one, two, or two and more."""

Grain = Literal["picture", "split"]
"""Whether a state is kept for every picture (at most 4 KB packed), or one for all of them."""

State: TypeAlias = "dict[str, torch.Tensor]"
"""What a measure keeps: int64 (exact sums) or float64 tensors on one device, which add key by key."""


@dataclass(frozen=True)
class Figure:
    """One number that a measure gives, as tables, command line, curves and the browser show it.

    `name` is its key in JSON, `label` what people read. `unit` is `%` (a fraction, shown as percent), `nats`, `pixels`,
    the range of a score that has none, or empty; `digits` are those after the point as shown. `better` says which way
    is good, empty: neither. With `each` it is a list: one entry per class, per bin of confidence, per pair or
    subset of networks or learners, per learner or fusion, per size of an ensemble of the first ones, or per block.
    """

    name: str
    label: str
    unit: Literal["%", "nats", "pixels", "0 to 2", ""]
    better: Literal["higher", "lower", ""]
    digits: int
    help: str
    each: Literal["", "class", "bin", "pair", "block", "subset", "size", "learner", "fusion"] = ""


class Measure(Protocol):
    """What is measured of networks on pictures: `init -> update -> compute` over a state. A `MapMeasure` keeps pixels.

    States add: that of a whole is the sum of those of its parts (`fusionlib.measures.states.add`), whatever the order
    and the split. Whole sums (int64) are exact; sums of float64 are the same to the last bit in the order of the
    pictures alone. To add one, write one file with a class, and below it `MEASURES.register(name)(ItsClass())`.
    """

    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int]
    """Raised whenever figures move: answers of another version are not those of this one."""
    needs: ClassVar[Needs]
    networks: ClassVar[Networks]
    """How many observations `update` takes."""
    grain: ClassVar[Grain]
    always: ClassVar[bool]
    """Fed by every pass over masks, whoever asks: its figures are known wherever others were measured."""
    reads: ClassVar[frozenset[str]]
    """What observations must hold beside logits and truth: `activations` of the network's blocks."""
    figures: ClassVar[tuple[Figure, ...]]
    """Which of the values that `compute` gives are figures to show; it may give more."""

    def init(self, classes: int, device: torch.device, members: int = 1) -> State:
        """The state of no pictures, for `classes` classes of the annotation and `members` networks.

        Of grain `picture` every state has its names, shapes and types: what lies in the tables is held against it.
        """
        ...

    def update(self, state: State, *observations: Observation) -> None:
        """Add one picture, a band of one or a batch, in place: one observation per network, all of the same pixels."""
        ...

    def compute(self, state: State) -> dict[str, Any]:
        """Figures as plain floats, whole numbers, lists and None (None: undefined)."""
        ...


@runtime_checkable
class MapMeasure(Protocol):
    """A measure of grain `picture` that has a map of each kept beside its state, as PNG, as long as there is room."""

    def map(self, *observations: Observation) -> torch.Tensor:
        """The maps (N, H, W) uint8 of what `update` is told; `pixels` (values,) int64 of the state counts them."""
        ...


@dataclass(frozen=True)
class Diagnostic:
    """One measure of whether networks can be merged. Calling it calls `compute`, whose docstring has formula and
    shapes.

    `needs` says what it reads: `weights` alone (any architecture, no data), `pictures` (a network too) or `masks`
    (labels too).
    """

    title: str
    summary: str
    source: str
    needs: Needs
    compute: Callable[..., Any]

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.compute(*arguments, **options)


MEASURES: Registry[Measure] = Registry("measure", "fusionlib.measures", "MEASURES")
DIAGNOSTICS: Registry[Diagnostic] = Registry("diagnostic", "fusionlib.diagnostics", "DIAGNOSTICS")
