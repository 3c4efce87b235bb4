"""How good a run is while it goes on: mIoU of what it saves, on a few pictures apart."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fusionlib.checkpoints.layout import Layout
from fusionlib.checkpoints.reader import TensorInfo
from fusionlib.contracts import MEASURES, Architecture, Dataset, Progress, State
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import counterparts, label_space
from fusionlib.engine.build import Built, Member
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.observe import Pass, Task
from fusionlib.engine.worker import Worker
from fusionlib.errors import UsageError
from fusionlib.lab.manifest import Source, Validated

KEPT_BYTES = 512 << 20
"""Of decoded pictures."""


class Validation:
    """mIoU of networks of one architecture on labelled pictures, as `evaluate` measures it of the same file.

    They run in an instance of their own, and torch's random numbers are put back: what is trained is the same, to the
    bit, whether it is looked at or not. `due` are the steps after which the network in training is measured, where
    nothing is saved. Raises `UsageError` for pictures without masks, `DataError` for classes that have no counterpart.
    """

    def __init__(
        self, architecture: Architecture, classes: int, pictures: Dataset, device: torch.device, due: Sequence[int]
    ) -> None:
        if not pictures.labelled:
            raise UsageError(f"--validate {pictures.spec}", "labelled pictures", "Name others, or leave it out")
        self.architecture, self.classes, self.device, self.due = architecture, classes, device, frozenset(due)
        self.pictures = DecodedCache(pictures, KEPT_BYTES, tiles=True)
        self.source = Source(pictures.spec, len(pictures), self.pictures.fingerprint())
        self.figures: list[Validated] = []
        self._space = label_space(architecture.label_space(classes))
        counterparts(self._space, pictures.label_space)
        self._network: BoundNetwork | None = None
        self._worker: Worker | None = None

    def knows(self, name: str | None, step: int) -> bool:
        """Whether that file has been measured; without a name, the network after that step."""
        return any(one.name == name and (name is not None or one.step == step) for one in self.figures)

    def add(self, name: str | None, step: int, tensors: Mapping[str, Tensor] | None, progress: Progress | None) -> None:
        """Measure it; None where the file is not there any more."""
        miou = None if tensors is None else self.measure(tensors, progress)
        self.figures.append(Validated(step, name, miou))

    def measure(self, tensors: Mapping[str, Tensor], progress: Progress | None = None) -> float | None:
        """mIoU of a network of these tensors, as a fraction; None where no pixel is labelled. May raise `Cancelled`."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            found = self._confusion(tensors, progress)
        return found["miou"]

    def timed(self, tensors: Mapping[str, Tensor]) -> float:
        """Seconds of a picture: all of them once, after what is only done the first time."""
        self.measure(tensors)
        begun = time.perf_counter()
        self.measure(tensors)
        return (time.perf_counter() - begun) / max(1, len(self.pictures))

    def _confusion(self, tensors: Mapping[str, Tensor], progress: Progress | None) -> dict:
        measure = MEASURES.get("confusion")
        total: State = dict(measure.init(self.pictures.label_space.count, self.device))

        def keep(_: int, state: State, __: int) -> None:
            for name, value in state.items():
                total[name] = total[name] + value

        wanted = frozenset(range(len(self.pictures)))
        worker = self._worker = self._worker or Worker("validation")
        built = worker.run(lambda: self._built(tensors))
        Pass([built], self.pictures.label_space, self.pictures, [Task(measure, (0,), wanted, keep)], worker).run(
            progress
        )
        return measure.compute(total)

    def _built(self, tensors: Mapping[str, Tensor]) -> Built:
        infos = {name: TensorInfo(name, tuple(one.shape), one.dtype) for name, one in tensors.items()}
        layout = Layout.of(infos, self.architecture.head)
        integers = {name: tensors[name] for name in layout.integers}
        if self._network is None or self._network.layout.signature != layout.signature:
            self._network = BoundNetwork(self.architecture, self.classes, layout, integers, device=self.device)
        weights = torch.zeros(layout.size, device=self.device)
        for name, view in layout.views(weights).items():
            view.copy_(tensors[name])
        member = Member("", weights, integers, self._network)
        return Built("", (member,), (1.0,), "", self._space, self.device)
