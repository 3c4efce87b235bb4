"""A network whose parameters are views on one flat buffer: to change the buffer is to change the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fusionlib.architectures.modules import methods_of_torch, named_modules
from fusionlib.architectures.outputs import described, logits_of
from fusionlib.checkpoints.layout import COUNTER, Layout
from fusionlib.checkpoints.rounding import refuse_overflow
from fusionlib.contracts import Architecture, Learners, Output, class_count
from fusionlib.data.labels import LabelSpace, label_space
from fusionlib.engine.inputs import Inputs
from fusionlib.engine.precision import PRECISIONS
from fusionlib.engine.stages import Trail
from fusionlib.engine.turns import Superseded
from fusionlib.engine.worker import Run, at_once
from fusionlib.errors import ArchitectureError, FusionError, UsageError
from fusionlib.quiet import quiet

SMALL = 256
"""Pixels a side up to which it is tried whether larger pictures than those that failed would do."""


class Network(Protocol):
    """What a measurement needs of a network: one set of weights, an ensemble of several, or one with scaled logits."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...

    def logits(self, images: np.ndarray, size: tuple[int, int] | None = None) -> Tensor:
        """Pictures (N, H, W, 3) uint8 RGB -> logits (N, C, h, w) float32 at `size` (default: the pictures')."""
        ...


def choose_device(name: str = "auto") -> torch.device:
    """`auto` is CUDA where there is one. Raises `UsageError` for a device that this machine lacks."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"Device {name!r}, but torch sees no CUDA here", "cpu or auto", "Leave --device out")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"Unknown device {name!r}", "auto, cpu or cuda", "Correct --device") from error


class BoundNetwork:
    """One instance of an architecture in evaluation mode, its tensors views on `flat` (P,) float32.

    Belongs to one worker thread. Raises `ArchitectureError` when the layout lacks a tensor of the network, `UsageError`
    when its label space has another number of classes.
    """

    def __init__(
        self,
        architecture: Architecture,
        classes: int,
        layout: Layout,
        integers: Mapping[str, Tensor],
        *,
        device: torch.device,
        precision: str = "float32",
    ) -> None:
        if precision not in PRECISIONS:
            raise UsageError(
                f"Unknown precision {precision!r}", f"one of {', '.join(PRECISIONS)}", "Correct --precision"
            )
        self.layout, self.device, self.precision, self.classes = layout, device, precision, classes
        self.architecture = architecture
        self.occupant: object = None
        self.title, self._own_code = architecture.title, getattr(architecture, "named", None) is not None
        """Whose weights it holds, where several share it."""
        self.space = _checked_space(architecture, classes)
        self.flat = torch.zeros(layout.size, device=device)
        self.integers: dict[str, Tensor] = {}
        self.module = architecture.build(classes)
        with methods_of_torch(self.module):
            self.module = self.module.to(device).eval()
        declared = getattr(architecture, "stages", None)
        inside = getattr(architecture, "learners", None)
        self.learners: Learners | None = inside(self.module) if inside else None
        self.trail = Trail(declared(self.module) if declared else (), layout, self.flat)
        self._trained: list[tuple[dict[str, Any], str, str]] = []
        self._bind(integers)
        check = getattr(architecture, "check", None)
        if check is not None:
            check(self.module)
        self.inputs = Inputs(architecture.preprocessing, device)
        self.output: Output = getattr(architecture, "output", Output())

    def _bind(self, integers: Mapping[str, Tensor]) -> None:
        for prefix, module in named_modules(self.module).items():
            tables: list[tuple[dict[str, Any], bool]] = [(module._parameters, True), (module._buffers, False)]
            for table, trained in tables:
                for leaf, tensor in table.items():
                    name = f"{prefix}.{leaf}" if prefix else leaf
                    if tensor is None or (not trained and leaf in module._non_persistent_buffers_set):
                        continue
                    table[leaf] = self._bound(name, tensor, integers, trained)
                    entry = self.layout.by_name.get(name)
                    if entry is not None and entry.kind != "buffer":
                        self._trained.append((table, leaf, name))

    def _bound(self, name: str, tensor: Tensor, integers: Mapping[str, Tensor], trained: bool) -> Tensor:
        if name in self.layout.by_name and self.layout.by_name[name].shape == tuple(tensor.shape):
            view = self.layout.view(self.flat, name)
            return nn.Parameter(view, requires_grad=False) if trained else view
        if name in integers:
            self.integers[name] = integers[name].to(self.device).clone()
            return self.integers[name]
        if name.endswith(COUNTER):
            return tensor
        raise ArchitectureError(
            f"The network needs {name} of shape {tuple(tensor.shape)}, which the checkpoint lacks",
            "a checkpoint of this architecture",
            "Check --model, or choose other checkpoints",
        )

    def load(self, flat: Tensor, integers: Mapping[str, Tensor] | None = None) -> None:
        """Copy merged weights (P,) in, and integer tensors where they are given; no allocation, no `load_state_dict`.

        Raises `MergeError` for float64 that no float32 can hold.
        """
        if flat.dtype != self.flat.dtype:
            refuse_overflow(self.layout.entries, flat, self.flat.dtype)
        self.flat.copy_(flat)
        self.load_integers(integers or {})

    def load_integers(self, integers: Mapping[str, Tensor]) -> None:
        """Copy integer tensors in: batch counters, which no forward pass in evaluation mode reads."""
        for name, tensor in integers.items():
            if name in self.integers:
                self.integers[name].copy_(tensor)

    def logits(
        self, images: np.ndarray, size: tuple[int, int] | None = None, resume: bool = False, run: Run = at_once
    ) -> Tensor:
        """Pictures (N, H, W, 3) uint8 RGB -> logits (N, C, h, w) float32, resized bilinearly to `size` (default (H,
        W)).

        Resizing precedes the argmax: the evaluation is at the annotation's own size (align_corners=False). With
        `resume` the pass starts at the first stage that has changed since the last such pass over the same pictures,
        and `trail.began` names it. With `run` every stage is a call of its own, so that others can use the device in
        between; the caller sees to it that nobody changes the weights meanwhile.
        """
        target = size or images.shape[1:3]

        def step(call: Callable[[], Any]) -> Any:
            return run(lambda: self.in_context(call))

        output = self._forward(images, lambda: self._passed(images, resume, step, run is not at_once))
        return step(lambda: self.inputs.at_size(self._logits_of(output), (images.shape[1], images.shape[2]), target))

    def answers(self, images: np.ndarray) -> Tensor:
        """Pictures (N, H, W, 3) uint8 RGB -> logits (L, N, C, h, w) float32 of the learners inside, of one pass, at the
        network's own resolution. Raises `UsageError` for a network without learners.
        """
        if self.learners is None:
            raise UsageError(f"{self.title} has no learners inside", "one that has, as SenFormer", "Choose another")
        read = self.learners.logits
        output = self._forward(images, lambda: self.in_context(lambda: read(self.prepare(images))))
        assert isinstance(output, Tensor)
        return output.float()

    def differentiable(self, weights: Tensor, images: np.ndarray) -> Tensor:
        """Logits (N, C, h, w) float32 at the network's own resolution, with `weights` (P,) in place of `flat` wherever
        it has parameters: their gradient follows from it. In float32 whatever the precision.
        """
        with quiet(), torch.enable_grad(), self._with_weights(weights):
            output = self._forward(images, lambda: self.module(self.prepare(images)))
            return self.inputs.cut(self._logits_of(output), (images.shape[1], images.shape[2]))

    @contextmanager
    def _with_weights(self, weights: Tensor) -> Iterator[None]:
        own = [table[leaf] for table, leaf, _ in self._trained]
        try:
            for table, leaf, name in self._trained:
                table[leaf] = self.layout.view(weights, name)
            yield
        finally:
            for (table, leaf, _), tensor in zip(self._trained, own, strict=True):
                table[leaf] = tensor

    def _logits_of(self, output: object) -> Tensor:
        logits = logits_of(output, self.output).float()
        if logits.shape[1] != self.space.count:
            raise ArchitectureError(
                f"The network returned {described(logits)}",
                f"{self.space.count} channels, one for each class of {self.space.title} [{self.space.name}]",
                "Correct LABEL_SPACE or OUTPUT of the model file",
            )
        return logits

    def in_context(self, call: Callable[[], Any]) -> Any:
        """What `call` gives with the precision of this network, without gradients and warnings."""
        kind = torch.bfloat16 if self.device.type == "cpu" else torch.float16
        with quiet(), torch.inference_mode(), torch.autocast(self.device.type, kind, enabled=self.precision == "mixed"):
            return call()

    def _passed(self, images: np.ndarray, resume: bool, step: Run, stepwise: bool) -> object:
        if self.trail and resume:
            return self.trail.forward(images, self.prepare, self.precision, step)
        if self.trail and stepwise:
            return self.trail.walk(images, self.prepare, step)
        return step(lambda: self.module(self.prepare(images)))

    def _forward(self, images: np.ndarray, call: Callable[[], object]) -> object:
        """What the call gives. Raises `ArchitectureError` with whatever the network's code raised."""
        try:
            return call()
        except (FusionError, Superseded):
            raise
        except Exception as error:
            height, width = images.shape[1:3]
            if side := self._smallest_side(min(height, width)):
                raise ArchitectureError(
                    f"{self.title} cannot run on pictures of {width}x{height}",
                    f"pictures of about {side} pixels a side or more: it makes them smaller step by step",
                    "Choose larger pictures, or leave the small ones out of the folder",
                ) from error
            raise ArchitectureError(
                f"The network failed on pictures of {width}x{height}: {type(error).__name__}: {error}",
                "model code that runs on (N, 3, H, W)" if self._own_code else "pictures that it can run on",
                "Correct the model code, or choose other pictures" if self._own_code else "Choose other pictures",
            ) from error

    def _smallest_side(self, failed: int) -> int | None:
        """The first power of two above a side that failed from which on the network runs; None where it does at none up
        to `SMALL`, or at multiples alone: then smallness is not what is wrong.
        """
        side = 1 << failed.bit_length()
        while side <= SMALL and not (self._runs_at(side) and self._runs_at(side + 1)):
            side *= 2
        return side if side <= SMALL else None

    def _runs_at(self, side: int) -> bool:
        try:
            with torch.inference_mode():
                self.module(self.prepare(np.zeros((1, side, side, 3), np.uint8)))
        except Exception:  # noqa: BLE001 - whatever it raises, it does not run at this size
            return False
        return True

    def prepare(self, images: np.ndarray) -> Tensor:
        """Pictures (N, H, W, 3) uint8 RGB as the network's input (N, 3, H, W) on its device."""
        return self.inputs.prepare(images)


def _checked_space(architecture: Architecture, classes: int) -> LabelSpace:
    """The classes that the network's outputs stand for. Raises `UsageError` where these are not as many."""
    space = label_space(architecture.label_space(classes))
    if space.count != class_count(classes):
        raise UsageError(
            f"LABEL_SPACE of {architecture.title} has {space.count} classes ({space.title}), and the network has"
            f" {classes} output{'' if classes == 1 else 's'}",
            f"{class_count(classes)} classes",
            "Correct LABEL_SPACE of the model file, or leave it out",
        )
    return space
