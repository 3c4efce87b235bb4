"""Merged weights in a running network: the one place where an arena, a merge method and a buffer policy meet a
device.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import torch

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.layout import Entry
from fusionlib.checkpoints.rounding import round_to_dtype
from fusionlib.contracts import MergeMethod
from fusionlib.data.cache import DecodedCache, unreduced
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.recalibrate import Recalibration
from fusionlib.engine.worker import Run
from fusionlib.errors import UsageError
from fusionlib.merging.buffers import merged_integers, settle
from fusionlib.merging.choices import check_policy

CALIBRATION_PICTURES = 16
"""How many pictures `recalibrate` measures with unless told otherwise: enough for stable means, about a second of
forwards.
"""


class Blend:
    """Puts mixtures of one arena into one network.

    `calibration` are the pictures of the policy `recalibrate`, `count` of them evenly spaced; it needs no masks.
    """

    def __init__(
        self,
        arena: Arena,
        network: BoundNetwork,
        buffers: str = "average",
        *,
        calibration: DecodedCache | None = None,
        count: int = CALIBRATION_PICTURES,
    ) -> None:
        self.arena, self.network, self.buffers = arena, network, check_policy(buffers)
        self.calibration, self.count = calibration, count
        self.notes: tuple[str, ...] = ()
        self.recomputed: tuple[str, ...] = ()
        self._present: MergeMethod | int | None = None
        self._held: MergeMethod | None = None  # whose merge the scratch buffer holds, for a next one to update
        same = arena.weights.dtype == network.flat.dtype and arena.weights.device == network.flat.device
        # Merging straight into the network's own buffer spares a pass over the weights wherever the types allow it.
        self._scratch = network.flat if same else torch.empty_like(arena.weights[0])
        if self.buffers == "recalibrate" and calibration is None:
            raise UsageError(
                "Buffer policy recalibrate without pictures",
                "unlabelled pictures of the target domain",
                "Give --data, or choose another policy",
            )

    def set(self, method: MergeMethod, run: Run) -> None:
        """Make the network the mixture that `method` gives; nothing happens where it is that already.

        Every step goes through `run`, recalibration picture by picture, so that others can use the device in between.
        Raises `MergeError` where the merge has a value that its file could not hold.
        """
        if method == self._present:
            return
        self._present = None  # an interrupted recalibration leaves half-measured statistics behind
        run(lambda: self._merge(method))
        if self.buffers == "recalibrate":
            running: list[Recalibration] = []
            run(lambda: running.append(Recalibration(self.network)))
            for picture in self._pictures():
                run(lambda picture=picture: running[0].add(picture))
        run(lambda: self._settle(method))
        self._present = method

    def set_alone(self, number: int, run: Run) -> None:
        """Make the network checkpoint `number` itself, with its own statistics whatever the buffer policy is."""
        if number == self._present:
            return
        self._present, self._held, self.notes = None, None, ()
        run(lambda: self.network.load(self.arena.weights[number], self.arena.integers[number]))
        self._present = number

    def _merge(self, method: MergeMethod) -> None:
        with torch.inference_mode():
            before, self._held = self._held, None  # what fails half-way holds nothing
            written = method.update(self.arena, self._scratch, before)
            first = self._write(method) if written is None else ()
            notes = settle(self.buffers, self.arena, method, self._scratch)
            round_to_dtype(self.arena.layout, self._scratch, None if written is None else self._touched(written))
            if self._scratch is not self.network.flat:
                self.network.load(self._scratch)
        if written is not None:
            self._held, self.recomputed = method, written
        self.notes = (*first, *notes)

    def _write(self, method: MergeMethod) -> tuple[str, ...]:
        """Write the whole merge into the scratch buffer. Its remarks."""
        mixture = method(self.arena, out=self._scratch)
        if len(mixture.weights) != 1:
            raise UsageError(
                f"{method.title} is {len(mixture.weights)} networks, not one",
                "a method that gives one network",
                "Run the members themselves and combine their outputs",
            )
        return mixture.notes

    def _touched(self, names: Collection[str]) -> list[Entry]:
        """These tensors, and running statistics, which the policy has written."""
        updated = set(names)
        return [entry for entry in self.arena.layout.entries if entry.name in updated or entry.kind == "buffer"]

    def _settle(self, method: MergeMethod) -> None:
        with torch.inference_mode():
            if self.buffers == "recalibrate":
                round_to_dtype(self.arena.layout, self.network.flat)
            self.network.load_integers(merged_integers(self.buffers, self.arena, method))

    def _pictures(self) -> Iterator[np.ndarray]:
        assert self.calibration is not None
        for index in self.calibration.spread(self.count):
            yield unreduced(self.calibration.load(index)).image[None]
