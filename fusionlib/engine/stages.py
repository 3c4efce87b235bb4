"""A forward pass that starts at the first stage that has changed, over the pictures that were passed last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from fusionlib.checkpoints.layout import ALIGNMENT, Layout
from fusionlib.contracts import Stage
from fusionlib.engine.worker import Run, at_once

LIMIT = 256 << 20
"""Bytes of states kept in this process.

A pass that needs more keeps every second one, or every fourth, and so on; at last none.
"""


class Trail:
    """What the last pass left behind: states before stages, and copies of the weights and the pictures that they came
    from.

    Nobody has to tell what changed. Weights and pictures are compared bit by bit with the copies, so that no way of
    writing into the flat buffer can be forgotten: a profile, another method, a buffer policy, a file. For ENet that
    takes a fraction of a millisecond. False where the network has no stages. All networks of a process that leave
    trails belong to one thread.
    """

    def __init__(self, stages: Sequence[Stage], layout: Layout, flat: Tensor) -> None:
        self.began: str | None = None
        """Name of the stage that the last pass started at; None for the pictures."""
        self._stages, self._flat, self._slices = tuple(stages), flat, _slices(stages, layout)
        self._weights: Tensor | None = None
        self._source: tuple[np.ndarray, str] | None = None
        self.clear()

    def __bool__(self) -> bool:
        return bool(self._stages)

    @property
    def bytes(self) -> int:
        """What the states take; tensors in several of them count once."""
        return sum(self._storages.values())

    def clear(self) -> None:
        """Forget the states."""
        self._stride = 1
        self._stale: dict[int, _Kept] = {}
        self._retain({})

    def forward(
        self, images: np.ndarray, prepare: Callable[[np.ndarray], Any], precision: str, run: Run = at_once
    ) -> Any:
        """What the network returns for pictures (N, H, W, 3), the same bits as from all stages in turn; each stage a
        call of `run`.
        """
        start, state = run(lambda: self._begin(images, prepare, precision))
        for number in range(start, len(self._stages)):
            state = run(lambda number=number, state=state: self._step(number, state))
        run(lambda: _make_room(self))
        return state

    def walk(self, images: np.ndarray, prepare: Callable[[np.ndarray], Any], run: Run) -> Any:
        """The same from the picture on, and nothing is kept."""
        state = run(lambda: prepare(images))
        for stage in self._stages:
            state = run(lambda stage=stage, state=state: stage.call(state))
        return state

    # Not in inference mode, where tensors have no version: it is how a state that was written over is found out.
    @torch.inference_mode(False)
    @torch.no_grad()
    def _begin(self, images: np.ndarray, prepare: Callable[[np.ndarray], Any], precision: str) -> tuple[int, Any]:
        self._forget(images, precision)
        start = max(self._states, default=0)
        self.began = self._stages[start].name if start else None
        return start, self._states[start].copy() if start in self._states else prepare(images)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _step(self, number: int, state: Any) -> Any:
        self._keep(number, state)
        self._stale.pop(
            number + 1, None
        )  # not before: the next state is made in its memory, which the system would take away
        return self._stages[number].call(state)

    def _forget(self, images: np.ndarray, precision: str) -> None:
        """Set aside the states that are no longer what a pass would give now, and remember what the pass to come starts
        from.
        """
        source, self._source = self._source, (images.copy(), precision)
        if source is None or source[0].shape != images.shape or source[1] != precision:
            self.clear()
        intact = self._states and not any(kept.overwritten for kept in self._states.values())
        last = self._first_changed() if intact and source is not None and np.array_equal(source[0], images) else -1
        self._stale = {number: kept for number, kept in self._states.items() if number > last}
        self._retain({number: kept for number, kept in self._states.items() if number <= last})
        if self._weights is None:
            self._weights = torch.empty_like(self._flat)
        self._weights.copy_(self._flat)

    def _first_changed(self) -> int:
        """Number of the first stage whose tensors are not those of the last pass; the last stage where there is
        none.
        """
        assert self._weights is not None
        now, before = self._flat.view(torch.int32), self._weights.view(torch.int32)
        for number, slices in enumerate(self._slices):
            if any(not torch.equal(now[start:end], before[start:end]) for start, end in slices):
                return number
        return len(self._stages) - 1

    def _keep(self, number: int, state: Any) -> None:
        if number % self._stride or number in self._states or self._stride >= len(self._stages):
            return
        kept = _Kept.of(state)
        if kept is None:
            return
        self._states[number] = kept
        self._storages |= kept.storages()
        while self.bytes > LIMIT:
            self._stride *= 2
            few = self._stride >= len(self._stages)
            self._retain({} if few else {at: one for at, one in self._states.items() if at % self._stride == 0})

    def _retain(self, states: dict[int, _Kept]) -> None:
        self._states = states
        self._storages: dict[int, int] = {}
        for kept in states.values():
            self._storages |= kept.storages()


@dataclass(frozen=True)
class _Kept:
    """A state in containers of its own, with the version that each tensor had."""

    state: Any
    versions: tuple[tuple[Tensor, int], ...]

    @classmethod
    def of(cls, state: Any) -> _Kept | None:
        """None where the state holds things that may change unseen."""
        tensors: list[Tensor] = []
        try:
            state = _copied(state, tensors)
        except TypeError:
            return None
        return cls(state, tuple((tensor, tensor._version) for tensor in tensors))

    def copy(self) -> Any:
        """The state in containers that a stage may write into."""
        return _copied(self.state, [])

    @property
    def overwritten(self) -> bool:
        """Whether an operation in place has changed a tensor, or a view of it, since."""
        return any(tensor._version != version for tensor, version in self.versions)

    def storages(self) -> dict[int, int]:
        """Bytes by address."""
        return {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor, _ in self.versions}


def _copied(state: Any, tensors: list[Tensor]) -> Any:
    """The state in new containers around the same tensors, which are added to the list.

    Raises `TypeError` for unknown content.
    """
    if isinstance(state, Tensor):
        tensors.append(state)
        return state
    if state is None or isinstance(state, torch.Size | int | float | str):
        return state
    if type(state) is dict:
        return {name: _copied(part, tensors) for name, part in state.items()}
    if type(state) in (tuple, list):
        return type(state)(_copied(part, tensors) for part in state)
    raise TypeError(type(state).__name__)


_HOLDERS: WeakKeyDictionary[Trail, None] = WeakKeyDictionary()


def _make_room(latest: Trail) -> None:
    """Let the trails used longest ago forget their states, until all together keep to the limit."""
    _HOLDERS.pop(latest, None)
    _HOLDERS[latest] = None
    trails = list(_HOLDERS)
    for trail in trails:
        if sum(one.bytes for one in trails) > LIMIT:
            trail.clear()
            del _HOLDERS[trail]


def _slices(stages: Sequence[Stage], layout: Layout) -> list[list[tuple[int, int]]]:
    """Start and end of what each stage reads of the flat buffer. What none reads, as far as is known, the first may."""
    found: list[list[tuple[int, int]]] = [[] for _ in stages]
    for entry in layout.entries if stages else ():
        runs = found[next((number for number, stage in enumerate(stages) if stage.owns(entry.name)), 0)]
        if runs and 0 <= entry.offset - runs[-1][1] < ALIGNMENT:  # only a gap between tensors, which holds zeros
            runs[-1] = runs[-1][0], entry.end
        else:
            runs.append((entry.offset, entry.end))
    return found
