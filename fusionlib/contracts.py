"""Every extension point of the library, in one file.

| to add            | write one file in          | and register it with            |
|-------------------|----------------------------|---------------------------------|
| an architecture   | `fusionlib/architectures/` | `@ARCHITECTURES.register(name)` |
| a dataset         | `fusionlib/data/`          | `@DATASETS.register(name)`      |
| a merge method    | `fusionlib/merging/`       | `@METHODS.register(name)`       |
| a measure         | `fusionlib/measures/`      | `@MEASURES.register(name)`      |
| a study           | `fusionlib/studies/`       | `@STUDIES.register(name)`       |
| a meter           | `fusionlib/measures/`      | `@METERS.register(name)`        |
| a diagnostic      | `fusionlib/diagnostics/`   | `@DIAGNOSTICS.register(name)`   |

Shapes: K checkpoints, M members of a mixture, P packed float elements, N images, C classes, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from fusionlib.registry import Registry

if TYPE_CHECKING:  # names in annotations: whoever reads a help text does not wait for torch
    import numpy as np
    import torch

    from fusionlib.checkpoints.arena import Arena
    from fusionlib.data.labels import LabelSpace
    from fusionlib.measures.observation import Observation
    from fusionlib.question import Question

IGNORE = 255
"""The one id of void pixels in every truth map handed out by a dataset, whatever the files call it."""


# --- architectures ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preprocessing:
    """How pictures become the network's input: `(scale * rgb / 255 - mean) / std`, in channels-last memory where that
    is safe.

    `scale` is the value of white, 1 or 255. `order` is that of the channels, of `mean` and `std` too: RGB or BGR.
    With `resize` all pictures are resized to that height and width. With `pad` they are continued at the right and at
    the bottom, by their outermost pixels, until both sides are multiples of it. Logits come back at the picture's size.
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channels_last: bool = False
    scale: int = 1
    order: Literal["RGB", "BGR"] = "RGB"
    pad: int = 1
    resize: tuple[int, int] | None = None

    def seen(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the network sees a picture of these."""
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
    named has an attribute `named`, how it was: `--model FILE.py:FACTORY`.
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


# --- merging ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mixture:
    """What a merge method gives: `weights` (M, P) and `coefficients` (M,); M = 1 is one merged network.

    Integer tensors are no part of it: they are never averaged. `notes` are remarks the user must see (a fallback, say).
    """

    weights: torch.Tensor
    coefficients: torch.Tensor
    notes: tuple[str, ...] = ()


class MergeMethod(Protocol):
    """A frozen dataclass whose fields are its hyper-parameters."""

    title: ClassVar[str]
    summary: ClassVar[str]
    citation: ClassVar[str]
    breaks: ClassVar[frozenset[str]]
    """Names of the laws (tests/test_laws.py) that the method cannot satisfy, each explained in its docstring."""
    version: ClassVar[int]
    """Raised whenever the weights that the method gives move: answers of another version are not those of this one."""
    needs: ClassVar[str]
    """`weights` alone, `pictures` (unlabelled ones, and so a network) or `architecture` (its declared permutations).

    A method with an anchor has a field `anchor`; one with weights of its own for every tensor offers
    `tensor_shares(arena) -> {name: K weights}`, which the buffer policies follow layer by layer. One that takes
    checkpoints of different heads by itself, without being asked to, has `takes_unlike = True`. One that does not
    average weights as they are in the files (it takes each from one checkpoint, or puts units into another order first)
    has `averages = False`: what the weights say of an average does not concern it.
    """

    def shares(self, count: int) -> tuple[float, ...]:
        """How much each of `count` checkpoints weighs (sums to 1); the buffer policies use it for running
        statistics.
        """
        ...

    def __call__(self, arena: Arena, out: torch.Tensor | None = None) -> Mixture:
        """Merge the arena's K checkpoints, into `out` (P,) where it is given."""
        ...


def parameter(
    default: Any,
    help: str,
    *,
    min: float | None = None,
    max: float | None = None,
    step: float | None = None,
    choices: Sequence[str] | None = None,
    checkpoint: bool = False,
) -> Any:
    """A dataclass field with what a widget needs to draw it: range, step, choices and one line of help.

    `checkpoint` says that the number is the place of a checkpoint, which people would rather choose by name.
    """
    about = {
        "help": help,
        "min": min,
        "max": max,
        "step": step,
        "choices": tuple(choices) if choices else None,
        "checkpoint": checkpoint,
    }
    if isinstance(default, list | dict):
        return field(default_factory=lambda: default, metadata=about)
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class Parameter:
    """One hyper-parameter of a method, as listed to users."""

    name: str
    default: Any
    help: str
    min: float | None
    max: float | None
    step: float | None
    choices: tuple[str, ...] | None
    checkpoint: bool = False


def parameters_of(method: type) -> tuple[Parameter, ...]:
    """The hyper-parameters of a dataclass, in order of declaration."""
    listed = []
    for item in fields(method):
        if item.metadata.get("hidden"):  # what a method is told by the program, not by the user
            continue
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        listed.append(Parameter(item.name, default, **item.metadata))
    return tuple(listed)


# --- measuring -------------------------------------------------------------------------------------------------------


class Meter(Protocol):
    """A fixed-size streaming state: `init -> update -> compute`. Never keeps pixels.

    States are tensors that add: the state of a whole is the sum of the states of its parts, so meters of two halves of
    a dataset merge exactly (counts are int64, sums float64).
    """

    title: str
    source: str

    def init(self, classes: int, device: torch.device) -> dict[str, torch.Tensor]:
        """Zeros."""
        ...

    def update(self, state: dict[str, torch.Tensor], observation: Any) -> None:
        """Add one batch in place; `observation` is a `fusionlib.measures.observation.Observation`."""
        ...

    def compute(self, state: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Figures as plain floats, lists and None (None: undefined)."""
        ...


State: TypeAlias = "dict[str, torch.Tensor]"
"""What a measure keeps: int64 (exact sums) or float64 tensors on one device, which add key by key."""


@dataclass(frozen=True)
class Figure:
    """One number that a measure gives, as tables, command line, curves and the browser show it.

    `name` is its key in JSON, `label` what people read. `unit` is `%` (a fraction, shown as percent), `nats`, `pixels`
    or empty; `digits` are those after the point as shown. `better` says which way is good, empty: neither. With `each`
    it is a list: one entry per class, per bin of confidence, per pair of networks, or per block of them.
    """

    name: str
    label: str
    unit: Literal["%", "nats", "pixels", ""]
    better: Literal["higher", "lower", ""]
    digits: int
    help: str
    each: Literal["", "class", "bin", "pair", "block"] = ""


class Measure(Protocol):
    """Something that is measured of networks on pictures: `init -> update -> compute` over a state. Never keeps pixels.

    States add: that of a whole is the sum of those of its parts (`fusionlib.measures.states.add`), whatever the order
    and the split. Whole sums (int64) are exact; sums of float64 are the same to the last bit in the order of the
    pictures alone. To add one, write one file with `@MEASURES.register(name)` over a class; an instance is filed.
    """

    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int]
    """Raised whenever figures move: answers of another version are not those of this one."""
    needs: ClassVar[Literal["weights", "pictures", "masks"]]
    networks: ClassVar[Literal["one", "pair", "set"]]
    """How many observations `update` takes: one, two, or two and more."""
    grain: ClassVar[Literal["picture", "split"]]
    """Whether a state is kept for every picture (at most 4 KB packed), or one for all of them."""
    always: ClassVar[bool]
    """Fed by every pass over masks, whoever asks: its figures are known wherever others were measured."""
    reads: ClassVar[frozenset[str]]
    """What observations must hold beside logits and truth: `activations` of the network's blocks."""
    figures: ClassVar[tuple[Figure, ...]]
    """Which of the values that `compute` gives are figures to show; it may give more."""

    def init(self, classes: int, device: torch.device, members: int = 1) -> State:
        """The state of no pictures, for `classes` classes of the annotation and `members` networks."""
        ...

    def update(self, state: State, *observations: Observation) -> None:
        """Add one picture, a band of one or a batch, in place: one observation per network, all of the same pixels."""
        ...

    def compute(self, state: State) -> dict[str, Any]:
        """Figures as plain floats, whole numbers, lists and None (None: undefined)."""
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
    needs: Literal["weights", "pictures", "masks"]
    compute: Callable[..., Any]

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.compute(*arguments, **options)


class Study(Protocol):
    """A plan: which questions next, given what is known, and the table of what is known. Loads no torch.

    A frozen dataclass of plain values, so that it runs the same in a thread, in another process, and again. What it
    asks for at once is found out in one pass.
    """

    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int]

    def questions(self, known: Mapping[Question, Mapping[str, Any]]) -> Sequence[Question]:
        """What to find out next, in one pass over one dataset; nothing where it has come to its end."""
        ...

    def table(self, known: Mapping[Question, Mapping[str, Any]]) -> dict[str, Any]:
        """What is known so far, as JSON values."""
        ...


Progress = Callable[[int, int], Any]
"""Called with (done, total) units of work; may raise `Cancelled`."""

ARCHITECTURES: Registry[Architecture] = Registry("architecture", "fusionlib.architectures")
DATASETS: Registry[DatasetOpener] = Registry("dataset", "fusionlib.data")
METHODS: Registry[type] = Registry("merge method", "fusionlib.merging")
STUDIES: Registry[type] = Registry("study", "fusionlib.studies", "STUDIES")
MEASURES: Registry[Measure] = Registry("measure", "fusionlib.measures", "MEASURES")
METERS: Registry[Meter] = Registry("meter", "fusionlib.measures", "METERS")
DIAGNOSTICS: Registry[Diagnostic] = Registry("diagnostic", "fusionlib.diagnostics")
