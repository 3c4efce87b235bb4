"""Every extension point of the library, in one file.

| to add            | write one file in          | and register it with            |
|-------------------|----------------------------|---------------------------------|
| an architecture   | `fusionlib/architectures/` | `@ARCHITECTURES.register(name)` |
| names of other code | `fusionlib/architectures/` | `@SPELLINGS.register(name)`   |
| a dataset         | `fusionlib/data/`          | `@DATASETS.register(name)`      |
| a merge method    | `fusionlib/merging/`       | `@METHODS.register(name)`       |
| a statistic       | `fusionlib/statistics/`    | `@STATISTICS.register(name)`    |
| a measure         | `fusionlib/measures/`      | `@MEASURES.register(name)`      |
| a study           | `fusionlib/studies/`       | `@STUDIES.register(name)`       |
| a way to search   | `fusionlib/studies/strategies/` | `@STRATEGIES.register(name)` |
| a diagnostic      | `fusionlib/diagnostics/`   | `@DIAGNOSTICS.register(name)`   |

Shapes: K checkpoints, M members of a mixture, P packed float elements, N images, C classes, H rows, W columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeAlias, runtime_checkable

from fusionlib.description import (  # noqa: F401 - part of the contract
    Description,
    Part,
    Parts,
    Spelling,
    TensorShapes,
    Turn,
    whole_shapes,
)
from fusionlib.errors import UsageError
from fusionlib.parameters import Parameter, parameter, parameters_of  # noqa: F401 - part of the contract
from fusionlib.registry import Registry

if TYPE_CHECKING:  # names in annotations: whoever reads a help text does not wait for torch
    import numpy as np
    import torch

    from fusionlib.candidate import Candidate, Learned, Learning, Outcome
    from fusionlib.checkpoints.arena import Arena
    from fusionlib.data.labels import LabelSpace
    from fusionlib.measures.observation import Observation
    from fusionlib.question import Known, Step
    from fusionlib.recipe import Recipe

IGNORE = 255
"""The one id of void pixels in every truth map handed out by a dataset, whatever the files call it."""


# --- architectures ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preprocessing:
    """How pictures become the network's input: `(scale * rgb / 255 - mean) / std`, in channels-last memory where that
    is safe.

    `scale` is the value of white, 1 or 255. `order` is that of the channels, of `mean` and `std` too: RGB or BGR.
    With `resize` all pictures are resized to that height and width. With `pad` they are continued at the right and at
    the bottom, by their outermost pixels, until both sides are multiples of it. With `window`, (side, step), the
    network sees squares of that side, a step apart and the last flush with the edge, and logits are averaged where they
    overlap; smaller pictures are continued as with `pad`. Logits come back at the picture's size.
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channels_last: bool = False
    scale: int = 1
    order: Literal["RGB", "BGR"] = "RGB"
    pad: int = 1
    resize: tuple[int, int] | None = None
    window: tuple[int, int] | None = None

    def seen(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what the network sees at a time of a picture of these."""
        if self.window:
            return self.window[0], self.window[0]
        return self.resize or (-(-height // self.pad) * self.pad, -(-width // self.pad) * self.pad)


@dataclass(frozen=True)
class Output:
    """Where the answer lies in what a network returns, and what its numbers are.

    `key` is that of a dict, the name of an attribute or the place in a tuple; None takes what networks usually return
    (`fusionlib.architectures.outputs`). `activation` is what `forward` ends with: probabilities become logits again.
    """

    key: str | int | None = None
    activation: Literal["logits", "softmax", "sigmoid"] = "logits"


@dataclass(frozen=True)
class OwnClasses:
    """Classes that a network declares itself: their names in the order of its outputs, or a label space by its name.

    `counts_as` are pairs of a class and the class of an annotation that it counts as, None for none of them; a class
    without a pair counts as usual.
    """

    space: str | tuple[str, ...]
    counts_as: tuple[tuple[str, str | None], ...] = ()


def class_count(outputs: int) -> int:
    """How many classes that many outputs tell apart: a single one says class 1 against class 0."""
    return 2 if outputs == 1 else outputs


@runtime_checkable
class Architecture(Protocol):
    """A network that can run a checkpoint.

    One that knows better than the file of its class what it consists of has an attribute `code`, a text that is another
    for other code. One that does not simply return logits has an attribute `output`, an `Output`. One that the operator
    named has an attribute `named`, how it was: `--model FILE.py:FACTORY`. One that computes something else with the
    tensors of another, such as an output stride, has an attribute `chosen`: False, and it is never recognised, until
    the operator asks for it by `--model NAME`; then it comes before the other. One with integer tensors whose numbers
    follow from their shape has a method `check(module)`, which raises `ArchitectureError` where the loaded are others.
    One that stands in where no other runs a checkpoint has `last = True`: other names for its tensors are tried first.
    Those of this library have two more attributes: `names`, whose names of tensors they go by, and `stride`, the pixels
    of the picture a side of one of the backbone's.
    """

    title: str
    citation: str
    head: tuple[str, ...]
    """Name prefixes of the head; everything else is backbone."""
    preprocessing: Preprocessing

    def recognise(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        """The class count when tensors of these names and shapes belong to this network, else None."""
        ...

    def build(self, classes: int) -> torch.nn.Module:
        """A fresh network: `(N, 3, H, W)` float32 in, logits `(N, C, h, w)` out, or what its `Output` says."""
        ...

    def label_space(self, classes: int) -> str | OwnClasses:
        """The label space that `classes` outputs stand for, by its name, or classes of the network's own."""
        ...


@dataclass(frozen=True)
class Permutation:
    """`size` hidden units whose order does not matter, as long as all that is tied to it follows.

    `axes` are (tensor name, axis, start): positions start ... start + size - 1 of that axis. An architecture that
    declares its permutations has an attribute `permutations`, a tuple of these; running statistics belong to them like
    weights.
    """

    name: str
    size: int
    axes: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Stage:
    """One step of a forward pass. A pass over a picture seen before starts at the first stage whose tensors have
    changed.

    An architecture that declares its stages has a method `stages(module)`, a sequence of these whose calls in turn are
    the forward pass: the first takes the input, every other what the one before returned, the last returns what the
    network returns. In between is the state: a tensor, or a tuple, list or dict of all that later stages need. A call
    leaves the state it gets as it is, and reads no tensor of a later stage.
    """

    name: str
    call: Callable[[Any], Any]
    prefixes: tuple[str, ...] = ()
    """Modules or tensors whose weights the call reads; left out, the one that the stage is named after."""

    def owns(self, tensor: str) -> bool:
        """Whether the tensor of that name is read here."""
        return any(tensor == prefix or tensor.startswith(f"{prefix}.") for prefix in self.prefixes or (self.name,))


# --- data ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """One picture. `image` (H, W, 3) uint8 RGB; `truth` (H, W) uint8 ids of the label space, `IGNORE` for void, or
    None.

    With a `scale` of N > 1 both are reduced: N x N pixels of the file became one, the mean of the picture and the
    middle of the truth.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray | None
    scale: int = 1
    read_instances: Callable[[], np.ndarray] | None = field(default=None, repr=False, compare=False)
    """How to get at `instances`: most measures do not look at them, and decoding them takes as long as the truth."""

    @property
    def instances(self) -> np.ndarray | None:
        """(H, W) int32 at the size of the truth: a number for each instance, 0 outside of all; None where the data
        tells none apart. Read anew at each call. Raises `DataError` that names the file.
        """
        return None if self.read_instances is None else self.read_instances()


class Dataset(Protocol):
    """An ordered, finite set of pictures of one split. Opening one validates it; `load` reads a single picture."""

    spec: str
    """How the user names it, e.g. `camvid:DIR@val`."""
    title: str
    label_space: LabelSpace
    labelled: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user must know of how its files were taken: what was skipped, which of two readings was chosen.

        No full stops.
        """
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """A short name of picture `index` for captions."""
        ...

    def load(self, index: int, whole: bool = False) -> Sample:
        """Read picture `index`, a very large one reduced unless `whole`. Raises `DataError` that names the file."""
        ...

    def fingerprint(self) -> str:
        """Content key: changes when any picture, mask or label changes."""
        ...

    def picture_key(self, index: int) -> str:
        """Content key of picture `index` with its mask and what the mask's ids mean: the same in any dataset, at any
        place, under any name.
        """
        ...

    def group(self, index: int) -> str:
        """Name of what picture `index` belongs to (a video sequence, a city): pictures of one group err together.

        Its own where it stands alone. A part of a dataset has the groups of the whole.
        """
        ...


class DatasetOpener(Protocol):
    """What a dataset file registers: `open(argument, split)` of the spec `name:argument@split`."""

    title: str
    usage: str

    def splits(self, argument: str) -> tuple[str, ...]:
        """Names of the splits found there."""
        ...

    def open(self, argument: str, split: str | None) -> Dataset:
        """The dataset, validated. Raises `DataError` before any work starts."""
        ...


# --- finding out -----------------------------------------------------------------------------------------------------

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


# --- merging ---------------------------------------------------------------------------------------------------------

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


# --- measuring -------------------------------------------------------------------------------------------------------


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
    subset of networks, or per block of them.
    """

    name: str
    label: str
    unit: Literal["%", "nats", "pixels", "0 to 2", ""]
    better: Literal["higher", "lower", ""]
    digits: int
    help: str
    each: Literal["", "class", "bin", "pair", "block", "subset"] = ""


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


# --- diagnosing ------------------------------------------------------------------------------------------------------


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


class Study(ABC):
    """A frozen dataclass of plain values, so that it runs the same anywhere: which questions next. Loads no torch."""

    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int]
    goes_on: ClassVar[bool] = False
    """Whether what cannot be answered is one row's affair (`Refused`), and the others go on."""
    fits: ClassVar[bool] = False
    """Whether something is fitted: `planned` is then given two halves of the pictures, to fit on and to report on."""

    @classmethod
    def planned(cls, members: Sequence[Recipe], data: str, **settings: Any) -> Self:
        """The study of these networks on the pictures of this content key: what `studies NAME` runs.

        `settings` are those of its fields that are declared by `parameter`; of one that `fits` also `fit_on`. Raises
        `UsageError` where a study needs more than that, and so has a verb of its own.
        """
        raise UsageError(f"The study {cls.title}", "its own verb, which plans it", "See --help")

    @abstractmethod
    def steps(self, known: Known) -> Sequence[Step]:
        """All that is to be found out as far as can be told, in order, a pass each.

        What is known may be among it and is skipped. Asked again after every answer: later steps may rest on earlier
        ones. At the end nothing of it is unknown.
        """

    def later(self, known: Known) -> int:
        """About how many networks will be asked for that no step names yet: what the time left is estimated from."""
        return 0

    @abstractmethod
    def table(self, known: Known) -> dict[str, Any]:
        """What is known so far, as JSON values."""


class Objective(Protocol):
    """What a search may ask: scores of candidates on the pictures that it chooses by. Higher is better.

    Every call gives what is known, and where something is not, ends the search for now: it is found out, and the search
    is gone through again from its beginning, up to the next question. So a search is written down as plain code.
    """

    members: int
    """K, how many checkpoints there are."""
    pictures: int
    """N, how many there are to choose by."""
    units: tuple[str, ...]
    """Names of the units of the strategy's granularity, in network order."""

    def scores(self, candidates: Sequence[Candidate], part: int | None = None) -> list[float]:
        """The score of each, on part number `part` of the pictures (None: all of them)."""
        ...

    def figures(self, measure: str, candidates: Sequence[Candidate]) -> Sequence[Mapping[str, Any]]:
        """What a measure gives of one candidate, or of several together, on all pictures of each dataset."""
        ...

    def draws(self, candidates: Sequence[Candidate], part: int | None = None) -> np.ndarray | None:
        """Scores of candidates that are known, each in the same resamples (B, candidates); None for too few pictures to
        resample, and where scores do not follow from the states of single pictures.
        """
        ...

    def learned(self, wish: Learning) -> Learned:
        """Weights that gradients find on all pictures."""
        ...


@dataclass(frozen=True)
class Strategy(ABC):
    """A way to search for the best network of K checkpoints: a frozen dataclass whose fields are its settings.

    It decides from scores alone, and the same scores lead it the same way: what is random comes from its own seed.
    """

    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int]
    fewest: ClassVar[int] = 2
    most: ClassVar[int] = 64
    """How many checkpoints it takes."""
    buffers: ClassVar[str] = "average"
    """What it does with running statistics where nobody says; `recalibrate` is `average` where there are none."""
    several: ClassVar[bool] = True
    """Whether it can choose by several datasets at once: it asks about scores, and looks at no picture itself."""

    def parts(self, pictures: int) -> tuple[tuple[int, ...], ...]:
        """Numbers of the pictures of each part that it asks about, of so many."""
        return ()

    def granularity(self) -> str:
        """Whose names `units` of the objective are; empty for a strategy without units."""
        return ""

    @abstractmethod
    def expected(self, members: int, pictures: int) -> int:
        """About how many forward passes it asks for, an upper bound where it can be told."""

    @abstractmethod
    def search(self, objective: Objective) -> Outcome:
        """Search. Raises `UsageError` where its settings do not fit so many checkpoints."""


Progress = Callable[[int, int], Any]
"""Called with (done, total) units of work; may raise `Cancelled`."""

ARCHITECTURES: Registry[Architecture] = Registry("architecture", "fusionlib.architectures", "ARCHITECTURES")
SPELLINGS: Registry[Spelling] = Registry("spelling", "fusionlib.architectures", "SPELLINGS")
DATASETS: Registry[DatasetOpener] = Registry("dataset", "fusionlib.data", "DATASETS")
METHODS: Registry[type[MergeMethod]] = Registry("merge method", "fusionlib.merging", "METHODS")
STATISTICS: Registry[Statistic] = Registry("statistic", "fusionlib.statistics", "STATISTICS")
STUDIES: Registry[type[Study]] = Registry("study", "fusionlib.studies", "STUDIES")
STRATEGIES: Registry[type[Strategy]] = Registry("strategy", "fusionlib.studies.strategies", "STRATEGIES")
MEASURES: Registry[Measure] = Registry("measure", "fusionlib.measures", "MEASURES")
DIAGNOSTICS: Registry[Diagnostic] = Registry("diagnostic", "fusionlib.diagnostics", "DIAGNOSTICS")
