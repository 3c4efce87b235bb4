"""What looks at pictures in a worker of a Ray cluster, and the plain values that travel there and back."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fusionlib import errors
from fusionlib.architectures.programs import trust_again
from fusionlib.architectures.recognise import recognise
from fusionlib.architectures.user import refresh_user_models
from fusionlib.checkpoints.layout import Layout
from fusionlib.contracts import ARCHITECTURES, MEASURES, Sample, State
from fusionlib.data.labels import LabelSpace
from fusionlib.data.tables import Table, use
from fusionlib.engine.build import Builder, Built, Member
from fusionlib.engine.merge import Merger
from fusionlib.engine.observe import Pass, Task
from fusionlib.engine.worker import Worker
from fusionlib.errors import FusionError, UsageError
from fusionlib.recipe import Views
from fusionlib.runs.answers import software
from fusionlib.runs.ray_cluster import ray

# --- what travels -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """One set of weights (P,) float32 with what runs it: the name of its architecture, and the key of the two."""

    key: str
    architecture: str
    classes: int
    layout: Layout
    weights: np.ndarray
    integers: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Network:
    """A `Built` as it travels; `members` are references to `Weights`."""

    key: str
    members: tuple[Any, ...]
    shares: tuple[float, ...]
    rule: str
    space: LabelSpace
    temperature: float
    views: Views


@dataclass(frozen=True)
class Part:
    """Some pictures of a pass, by number references to `Sample`s: (as opened, whole); `tasks` are (number in the pass,
    name of the measure, members, wanted pictures).
    """

    networks: tuple[Network, ...]
    target: LabelSpace
    tasks: tuple[tuple[int, str, tuple[int, ...], frozenset[int]], ...]
    pictures: Mapping[int, Any]
    labelled: bool
    tiles: bool


@dataclass(frozen=True)
class Failed:
    """What a part raised, as plain values: exceptions of others' code need not survive a journey."""

    kind: str
    parts: tuple[str, ...]

    def error(self) -> Exception:
        """The same error here."""
        if len(self.parts) == 3:
            return getattr(errors, self.kind)(*self.parts)
        return RuntimeError(f"{self.kind}: {self.parts[0]}")


Kept = tuple[int, int, dict[str, np.ndarray], int]
"""Number of the task, number of the picture, its state, and in how many tiles it was measured."""


# --- in a worker's process --------------------------------------------------------------------------------------------


class PassWorker:
    """Looks at parts of passes, in a process of its own: with the threads, the precision, the model files and the
    tables of classes of whoever asks.
    """

    def __init__(
        self,
        threads: int,
        device: str,
        precision: str,
        models: tuple[str, ...],
        class_tables: tuple[Table, ...] = (),
        trusted: tuple[tuple[str, str], ...] = (),
    ) -> None:
        use(class_tables)
        torch.set_num_threads(threads)  # figures depend on it, and Ray sets another
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")  # nobody writes to pictures
        self.worker, self.models, self.trusted = Worker("ray"), models, trusted
        self.builder = Builder(Merger(self.worker, torch.device(device)), precision)
        self._members: dict[str, Member] = {}

    def about(self) -> tuple[int, int, str, str]:
        """Its process, the threads of its passes, its node, and the versions of what computes there."""
        return os.getpid(), self.worker.run(torch.get_num_threads), platform.node(), software()

    def look(self, part: Part) -> list[Kept] | Failed:
        """The states of a part's pictures."""
        try:
            return self._look(part)
        except FusionError as error:
            return Failed(type(error).__name__, (error.got, error.needs, error.do))
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever asked
            return Failed(type(error).__name__, (str(error),))

    def _look(self, part: Part) -> list[Kept]:
        found: list[Kept] = []
        tasks = [self._task(found, *task) for task in part.tasks]
        samples = dict(zip(part.pictures, ray().get(list(part.pictures.values())), strict=True))
        present: dict[str, Member] = {}
        networks = [self._built(network, present) for network in part.networks]
        self._members = present
        album = Album(samples, part.labelled, part.tiles)
        Pass(networks, part.target, album, tasks, self.worker).run()  # type: ignore[arg-type]
        return found

    def _task(
        self, found: list[Kept], place: int, measure: str, members: tuple[int, ...], wanted: frozenset[int]
    ) -> Task:
        def keep(index: int, state: State, tiles: int) -> None:
            found.append((place, index, {name: tensor.cpu().numpy() for name, tensor in state.items()}, tiles))

        return Task(MEASURES.get(measure), members, wanted, keep)

    def _built(self, network: Network, present: dict[str, Member]) -> Built:
        members = tuple(self._member(one, present) for one in ray().get(list(network.members)))
        rule, space, device = network.rule, network.space, self.builder.device
        return Built(network.key, members, network.shares, rule, space, device, (), network.temperature, network.views)

    def _member(self, sent: Weights, present: dict[str, Member]) -> Member:
        """The network of weights that were sent; those of the part before are still there."""
        member = present.get(sent.key) or self._members.get(sent.key) or self._new_member(sent)
        if member.key != sent.key:
            raise UsageError(
                f"Worker on {platform.node()} has other code for {sent.architecture} than this process",
                "the same on every machine of the cluster",
                "Install the same versions, and the same --model and --trust files, everywhere",
            )
        present[sent.key] = member
        return member

    def _new_member(self, sent: Weights) -> Member:
        refresh_user_models(self.models)
        trust_again(self.trusted)
        integers = {name: torch.from_numpy(values) for name, values in sent.integers.items()}
        if sent.architecture not in ARCHITECTURES:  # one of any size, which is registered where its tensors are seen
            shapes = {entry.name: entry.shape for entry in sent.layout.entries}
            recognise({**shapes, **{name: tuple(tensor.shape) for name, tensor in integers.items()}})
        known = ARCHITECTURES.get(sent.architecture), sent.classes
        row = torch.from_numpy(sent.weights)
        return self.worker.run(lambda: self.builder.member(known, sent.layout, integers, row))


@dataclass(frozen=True)
class Album:
    """Pictures that were sent, as far as a pass asks for them."""

    samples: Mapping[int, tuple[Sample, Sample | None]]
    labelled: bool
    tiles: bool

    def load(self, index: int, whole: bool = False) -> Sample:
        """As of `DecodedCache`."""
        reduced, full = self.samples[index]
        return full if whole and full is not None else reduced
