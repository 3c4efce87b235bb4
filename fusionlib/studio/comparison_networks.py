"""The networks of a comparison's rows, and what has to be found out before they can be built."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.compare import network_of
from fusionlib.checkpoints.nearest import unknown_network
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.rounding import written_dtype
from fusionlib.checkpoints.sharing import Sharing, unlike
from fusionlib.contracts import METHODS, Architecture, MergeMethod, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import LabelSpace, label_space
from fusionlib.engine.blend import CALIBRATION_PICTURES, Blend
from fusionlib.engine.ensemble import OutputEnsemble
from fusionlib.engine.fisher import GRADIENT_COST
from fusionlib.engine.network import BoundNetwork, Network
from fusionlib.engine.worker import Worker
from fusionlib.errors import ArchitectureError, FusionError
from fusionlib.merging.buffers import anchor_of
from fusionlib.merging.build import build_method
from fusionlib.merging.rebasin import Rebasin
from fusionlib.runs.store import Store
from fusionlib.studio.barriers import Ground, barrier_text, rebasin_barriers
from fusionlib.studio.comparison_rows import Row
from fusionlib.studio.export import sharing_notes, write_recipe
from fusionlib.studio.information import InformationCache, informed


@dataclass(frozen=True)
class Built:
    """A row's network with its classes, the seconds it took to merge it (None where nothing is merged) and what else
    came to light.
    """

    network: Network
    space: LabelSpace
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    barriers: tuple[dict[str, Any], ...] = ()


class RowNetworks:
    """Builds the network of any row of one set of checkpoints.

    Every torch call goes through the worker, one small step at a time.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        pictures: DecodedCache,
        *,
        worker: Worker,
        store: Store,
        device: torch.device,
        precision: str,
        cache: InformationCache | None = None,
        sharing: Sharing | None = None,
        dtype: str | None = None,
    ) -> None:
        self.checkpoints, self.pictures, self.sharing, self.dtype = (
            tuple(checkpoints),
            pictures,
            sharing,
            written_dtype(dtype),
        )
        self.worker, self.store, self.device, self.precision, self.cache = worker, store, device, precision, cache
        self.known = [network_of(item.shapes) for item in checkpoints]
        self._packed: tuple[Any, Arena] | None = None

    def forget(self) -> None:
        """Let go of the weights that are kept for the next row."""
        self._packed = None

    def preparing(self, row: Row) -> int:
        """Forward passes' worth of work before the row can be measured, as far as that is known beforehand."""
        if row.obstacle or row.method in ("single", "ensemble"):
            return 0
        count = min(CALIBRATION_PICTURES, len(self.pictures))
        gradients = count * len(row.members) if METHODS.get(row.method).needs == "pictures" else 0
        return GRADIENT_COST * gradients + (count if row.buffers == "recalibrate" else 0)

    def of(self, row: Row, progress: Progress, *, fresh: bool = False) -> Built:
        """The network of a row, ready to be measured.

        Progress is in forward passes; its total grows where units have moved.
        """
        if row.method == "single":
            return Built(*self._single(row.members[0]))
        return self._ensemble(row) if row.method == "ensemble" else self._merged(row, progress, fresh)

    def _ensemble(self, row: Row) -> Built:
        networks, spaces = zip(*(self._single(number) for number in row.members), strict=True)
        if any(space.names != spaces[0].names for space in spaces):
            raise ArchitectureError(
                "The output ensemble of networks with different classes", "the same classes in all", "Take others"
            )
        method = build_method("ensemble", row.parameters)
        rule = method.rule  # type: ignore[attr-defined]
        prints = [self.checkpoints[number].fingerprint for number in row.members]
        return Built(OutputEnsemble(networks, method.shares(len(networks)), rule, prints), spaces[0])

    def _merged(self, row: Row, progress: Progress, fresh: bool) -> Built:
        method = build_method(row.method, row.parameters)
        anchor = anchor_of(method, len(row.members))
        (architecture, classes), arena = self._architecture(row.members[anchor]), self._arena(row, anchor)
        total, begun = self.preparing(row), time.perf_counter()
        spent = total - (min(CALIBRATION_PICTURES, len(self.pictures)) if row.buffers == "recalibrate" else 0)
        if method.needs == "pictures":
            method = self._informed(method, row, arena, anchor, lambda done, _: progress(GRADIENT_COST * done, total))
        if isinstance(method, Rebasin):
            method.aligned(arena, lambda call: (progress(0, total), self.worker.run(call))[1])
        network = BoundNetwork(
            architecture, classes, arena.layout, arena.integers[anchor], device=self.device, precision=self.precision
        )
        blend = Blend(arena.written_in(self.dtype), network, row.buffers, calibration=self.pictures)
        calls = 0

        def run(call: Callable[[], Any]) -> Any:
            nonlocal calls
            progress(
                min(total, spent + max(0, calls - 2)), total
            )  # a merge and a reset come before the pictures of a recalibration
            calls += 1
            return self.worker.run(call)

        blend.set(method, run)
        seconds = time.perf_counter() - begun
        notes, barriers = blend.notes, ()
        if isinstance(method, Rebasin):
            notes, barriers = self._barriers(
                method, row, arena, notes, lambda done, more: progress(total + done, total + more), fresh
            )
        return Built(
            network,
            label_space(architecture.label_space(classes)),
            seconds,
            (*sharing_notes(arena, anchor), *notes),
            barriers,
        )

    def _informed(self, method: MergeMethod, row: Row, arena: Arena, anchor: int, progress: Progress) -> MergeMethod:
        members = [self.checkpoints[number] for number in row.members]
        recipe = write_recipe(
            members,
            row.method,
            dict(row.parameters),
            row.buffers,
            self.pictures,
            CALIBRATION_PICTURES,
            sharing=self.sharing,
        )
        return informed(
            method,
            arena,
            self._architecture(row.members[anchor]),
            self.pictures,
            recipe,
            self.worker,
            self.cache,
            progress,
        )

    def _barriers(
        self, method: Rebasin, row: Row, arena: Arena, notes: tuple[str, ...], progress: Progress, fresh: bool
    ) -> tuple[tuple[str, ...], tuple[dict[str, Any], ...]]:
        """The remarks, those on the match with the barriers beside them, and the barriers themselves."""
        ground = Ground(
            self.pictures,
            self._architecture(row.members[0]),
            row.buffers,
            self.worker,
            self.store,
            self.device,
            self.precision,
        )
        try:
            entries = rebasin_barriers(method, arena, ground, progress, fresh=fresh)
        except FusionError as error:  # the merge itself can be measured all the same
            return (*notes, f"barriers are not measured: {error.one_line}"), ()
        texts = dict(zip(method.aligned(arena).notes, map(barrier_text, entries), strict=True))
        return tuple("; ".join(filter(None, (note, texts.get(note)))) for note in notes), tuple(entries)

    def _single(self, number: int) -> tuple[BoundNetwork, LabelSpace]:
        architecture, classes = self._architecture(number)
        arena = Arena.pack([self.checkpoints[number]], head=architecture.head, device=self.device)
        arena.require_finite()
        network = BoundNetwork(
            architecture, classes, arena.layout, arena.integers[0], device=self.device, precision=self.precision
        )
        self.worker.run(lambda: network.load(arena.weights[0]))
        return network, label_space(architecture.label_space(classes))

    def _arena(self, row: Row, anchor: int) -> Arena:
        """The members of a row as one arena, what they do not share the anchor's; kept for the next row, which mostly
        has the same.
        """
        members = [self.checkpoints[number] for number in row.members]
        found = unlike(members, anchor) if getattr(METHODS.get(row.method), "takes_unlike", False) else None
        sharing = self.sharing or found
        key = (row.members, sharing, anchor)
        if self._packed is None or self._packed[0] != key:
            self._packed = None  # the old one goes before the new one comes
            head = self._architecture(row.members[anchor])[0].head
            arena = Arena.pack(members, head=head, anchor=anchor, sharing=sharing, device=self.device)
            arena.require_finite()
            self._packed = key, arena
        return self._packed[1]

    def _architecture(self, number: int) -> tuple[Architecture, int]:
        known = self.known[number]
        if known is None:
            raise unknown_network([self.checkpoints[number]])
        return known
