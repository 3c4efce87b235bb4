"""Measures under the names and with the figures that meters had, for callers that ask for them one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fusionlib.contracts import METERS, Measure, State
from fusionlib.measures.calibration import Calibration
from fusionlib.measures.confusion import Confusion
from fusionlib.measures.loss import Loss
from fusionlib.measures.observation import Observation


class _Meter:
    def __init__(self, measure: Measure, shown: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.title, self.source = measure.title, measure.source
        self._measure, self._shown = measure, shown

    def init(self, classes: int, device: torch.device) -> State:
        return self._measure.init(classes, device)

    def update(self, state: State, observation: Observation) -> None:
        self._measure.update(state, observation)

    def compute(self, state: State) -> dict[str, Any]:
        return self._shown(self._measure.compute(state))


METERS.register("confusion")(_Meter(Confusion(), dict))
METERS.register("cross_entropy")(
    _Meter(Loss(), lambda found: {"cross_entropy": found["loss"], "undefined_pixels": found["undefined_pixels"]})
)
METERS.register("calibration")(_Meter(Calibration(), lambda found: {"calibration": found["calibration"]}))
