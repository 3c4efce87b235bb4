"""What follows from the transitions of all pictures: the summary, the classes, their categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fusionlib.contracts import State
from fusionlib.diagnostics.bootstrap import Units
from fusionlib.measures.boundary import boundary_iou, mean_boundary_iou
from fusionlib.measures.observation import UNIT
from fusionlib.measures.selective import aurc, binned, confident_error, fpr95
from fusionlib.studies.errors import class_rows, summary_of
from fusionlib.studio.error_table import ErrorTable


@dataclass(frozen=True)
class Findings:
    """What was derived, and what follows from it, worked out when it is first asked for.

    `edges` are counts of Boundary IoU (3, C), `bins` right and wrong pixels by confidence (143,), both by `reference`
    and `merge` as far as they are single networks; `groups` ids of the classes of each category.
    """

    table: ErrorTable
    edges: dict[str, np.ndarray]
    bins: dict[str, tuple[np.ndarray, np.ndarray]]
    units: Units
    groups: dict[str, tuple[int, ...]]

    @cached_property
    def summary(self) -> dict[str, Any]:
        confidence = {name: {"aurc": aurc(*tables), "fpr95": fpr95(*tables)} for name, tables in self.bins.items()}
        edges = {name: mean_boundary_iou(counts) for name, counts in self.edges.items()}
        return {**summary_of(self.table.stack, self.units), "confidence": confidence, "boundary_miou": edges}

    @cached_property
    def class_rows(self) -> list[dict[str, Any]]:
        found = {name: boundary_iou(counts) for name, counts in self.edges.items()}
        rows = class_rows(self.table.stack, self.table.classes, self.units)
        return [
            {**row, "boundary_iou": {name: values[number] for name, values in found.items()}}
            for number, row in enumerate(rows)
        ]

    @cached_property
    def group_rows(self) -> list[dict[str, Any]]:
        if not self.groups:
            return []
        return class_rows(self.table.stack.grouped(list(self.groups.values())), list(self.groups), self.units)


def bins_of(states: Sequence[State]) -> tuple[np.ndarray, np.ndarray]:
    """Right and wrong pixels by confidence, of all pictures."""
    tables = [binned(state["outcomes"].numpy(), state["top"].numpy())[:2] for state in states]
    right, wrong = np.sum(tables, axis=0)
    return right, wrong


def outcomes_of(states: Sequence[State]) -> np.ndarray | None:
    """(pictures, 2, 60): wrong and right pixels of each picture by kept bin of confidence; None without states."""
    return np.stack([state["outcomes"].sum(1).numpy() for state in states]) if states else None


def confident_error_of(state: State) -> float | None:
    """Of the state of the measure `calibration` of one picture."""
    return confident_error(state["outcomes"].numpy(), state["top"].numpy())


def loss_of(state: State) -> float | None:
    """Mean cross-entropy in nats out of the state of the measure `loss` of one picture; None where it is undefined."""
    pixels, undefined = int(state["pixels"]), int(state["undefined"])
    return int(state["sum"]) * UNIT / pixels if pixels and not undefined else None
