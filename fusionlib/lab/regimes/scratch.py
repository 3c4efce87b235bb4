"""From scratch: one falling rate."""

from __future__ import annotations

from dataclasses import dataclass

from fusionlib.contracts import REGIMES, parameter
from fusionlib.lab.descent import Scheduled
from fusionlib.lab.schedule import SCHEDULES


@REGIMES.register("scratch")
@dataclass(frozen=True)
class Scratch(Scheduled):
    """`lr (1 - t / T) ** 0.9` over T steps."""

    title = "From scratch"
    summary = "One schedule over the whole run, by default the poly schedule of segmentation"
    leaves = "epoch-001, epoch-002, ...: one a epoch"
    helps = "To make a start of your own, or networks of other seeds, which share no basin and answer well together"
    citation = "Weight Fusion paper, section 4.1; poly schedule of Chen et al. 2017 (DeepLab), section 4.1"

    schedule: str = parameter("poly", "How the rate falls", choices=tuple(SCHEDULES))
