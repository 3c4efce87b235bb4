"""Who carries out forward passes over pictures: this process, or others for it."""

from __future__ import annotations

from typing import Protocol

from fusionlib.contracts import Progress
from fusionlib.engine.observe import Pass


class Passes(Protocol):
    """Works off a pass whose networks are built: each task's `keep` is told the state of every picture that it lacks,
    in any order, each as soon as it is there.

    Whoever carries it out, the states are the same; sums over pictures follow later, in the pictures' order. Called on
    any thread.
    """

    def run(self, work: Pass, progress: Progress) -> None:
        """Progress is in forward passes and may raise `Cancelled`: what was kept by then stays. Raises what passes
        raise.
        """
        ...


class PassesHere:
    """By this process, through the worker of the pass."""

    def run(self, work: Pass, progress: Progress) -> None:
        """As `Passes.run`."""
        work.run(progress)
