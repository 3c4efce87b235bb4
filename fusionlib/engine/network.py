"""A network whose parameters are views on one flat buffer: to change the buffer is to change the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fusionlib.architectures.outputs import logits_of
from fusionlib.checkpoints.layout import COUNTER, Layout
from fusionlib.checkpoints.rounding import refuse_overflow
from fusionlib.contracts import Architecture
from fusionlib.engine.stages import Trail
from fusionlib.engine.turns import Superseded
from fusionlib.engine.worker import Run, at_once
from fusionlib.errors import ArchitectureError, FusionError, UsageError

PRECISIONS: Mapping[str, str] = {
    "float32": "Exact: every figure is computed in float32",
    "mixed": (
        "Automatic mixed precision (bfloat16 on CPU, float16 on CUDA): faster, figures may differ in the third digit"
    ),
}


class Network(Protocol):
    """What a measurement needs of a network: one set of weights, an ensemble of several, or one with scaled logits."""

    device: torch.device

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

    Belongs to one worker thread. Raises `ArchitectureError` when the layout lacks a tensor of the network.
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
        self.flat = torch.zeros(layout.size, device=device)
        self.integers: dict[str, Tensor] = {}
        self.module = architecture.build(classes).to(device).eval().requires_grad_(False)
        declared = getattr(architecture, "stages", None)
        self.trail = Trail(declared(self.module) if declared else (), layout, self.flat)
        self._bind(integers)
        about = architecture.preprocessing
        self._mean = torch.tensor(about.mean, device=device).view(1, 3, 1, 1) if any(about.mean) else None
        # Channels-last runs small CNNs up to twice as fast here, but code that calls `.view` on activations breaks on
        # it.
        self._format = torch.channels_last if about.channels_last else torch.contiguous_format
        self._std = torch.tensor(about.std, device=device).view(1, 3, 1, 1) if about.std != (1.0, 1.0, 1.0) else None

    def _bind(self, integers: Mapping[str, Tensor]) -> None:
        for prefix, module in self.module.named_modules():
            tables = [(module._parameters, True), (module._buffers, False)]
            for table, trained in tables:
                for leaf, tensor in table.items():
                    name = f"{prefix}.{leaf}" if prefix else leaf
                    if tensor is None or (not trained and leaf in module._non_persistent_buffers_set):
                        continue
                    table[leaf] = self._bound(name, tensor, integers, trained)  # type: ignore[assignment]

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
            return run(lambda: self._in_context(call))

        output = self._forward(images, resume, step, run is not at_once)
        return step(lambda: _resized(logits_of(output).float(), target))

    def _in_context(self, call: Callable[[], Any]) -> Any:
        kind = torch.bfloat16 if self.device.type == "cpu" else torch.float16
        with torch.inference_mode(), torch.autocast(self.device.type, kind, enabled=self.precision == "mixed"):
            return call()

    def _forward(self, images: np.ndarray, resume: bool, step: Run, stepwise: bool) -> object:
        """The module's output. Raises `ArchitectureError` with whatever the user's own code raised."""
        try:
            if self.trail and resume:
                return self.trail.forward(images, self.prepare, self.precision, step)
            if self.trail and stepwise:
                return self.trail.walk(images, self.prepare, step)
            return step(lambda: self.module(self.prepare(images)))
        except (FusionError, Superseded):
            raise
        except Exception as error:
            height, width = images.shape[1:3]
            raise ArchitectureError(
                f"The network failed on pictures of {width}x{height}: {type(error).__name__}: {error}",
                "model code that runs on (N, 3, H, W)",
                "Correct the model code, or choose other pictures",
            ) from error

    def prepare(self, images: np.ndarray) -> Tensor:
        """Pictures (N, H, W, 3) uint8 RGB as the network's input (N, 3, H, W) on its device."""
        batch = torch.from_numpy(images).to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        batch = batch.to(torch.float32, memory_format=self._format).div_(255)
        if self._mean is not None:
            batch.sub_(self._mean)
        return batch if self._std is None else batch.div_(self._std)


def _resized(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return nn.functional.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)
