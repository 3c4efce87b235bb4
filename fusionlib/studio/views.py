"""The open views of a process and their sweeps: one per content, whichever page or session looks at it."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from fusionlib.architectures.recognise import network_of, recognise
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.groups import Choice
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoints
from fusionlib.checkpoints.rounding import written_dtype
from fusionlib.contracts import Architecture
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.identity import identities
from fusionlib.engine.packing import packed
from fusionlib.engine.recipes import source_of
from fusionlib.errors import UsageError
from fusionlib.runs.runner import Runner
from fusionlib.runs.statistics import StatisticsStore
from fusionlib.runs.store import Store
from fusionlib.studio.items import Item
from fusionlib.studio.recent import Recent
from fusionlib.studio.sweep import Sweep
from fusionlib.studio.view import LETTERS, MergeView, Selection
from fusionlib.studio.workspace import Workspace

ARENA_BYTES = 4 << 30
"""Packed checkpoints kept for views: two of a billion parameters, or hundreds of small ones."""


class ViewDesk:
    """Views of checkpoints of the workspace, and of files outside it; `network_of` is the network of a checkpoint."""

    def __init__(
        self,
        workspace: Workspace,
        runner: Runner,
        recent: Recent,
        statistics: StatisticsStore,
        network_of: Callable[[Checkpoint], tuple[Architecture, int]],
    ) -> None:
        self.workspace, self.runner, self.recent, self.statistics = workspace, runner, recent, statistics
        self.network_of, self.store = network_of, Store(runner.answers.database)
        self.device = runner.builder.device
        self.opened: OrderedDict[str, MergeView] = OrderedDict()
        self._sweeps: dict[str, Sweep] = {}
        self._lock = threading.RLock()

    def view(self, selection: Selection) -> MergeView:
        """The view of two or more checkpoints on a dataset. Raises `LayoutError` where they do not fit one another."""
        if len(selection.names) > len(LETTERS):
            raise UsageError(
                f"{len(selection.names)} checkpoints in one view", f"at most {len(LETTERS)}", "Choose fewer"
            )
        self.workspace.refresh_models()
        items = [self.workspace.get(name) for name in selection.names]
        pictures = self.workspace.pictures(selection.source, selection.split) if selection.source else None
        parts = [
            *(item.checkpoint.fingerprint for item in items),  # type: ignore[union-attr]
            selection.buffers,
            pictures.fingerprint() if pictures else "",
            str(selection),
            *identities((item.architecture for item in items[:1]), pictures.label_space if pictures else None),
        ]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        with self._lock:
            if key not in self.opened:
                self.opened[key] = self._new_view(selection, items, pictures)
                self._evict()
            self.opened.move_to_end(key)
            return self.opened[key]

    def sweep(self, view: MergeView) -> Sweep:
        """The sweep of a view, running or not; the same one for every page and session that looks at this content."""
        with self._lock:
            if view.id not in self._sweeps:
                self._sweeps[view.id] = Sweep(view, self.runner, self.store)
            else:
                self._sweeps[view.id].look()  # a diagnosis may have measured the same merges
            return self._sweeps[view.id]

    def sweep_files(
        self,
        a: Path | Checkpoint,
        b: Path | Checkpoint,
        open_pictures: Callable[[], DecodedCache],
        buffers: str,
        dtype: str | None = None,
    ) -> Sweep:
        """The sweep of two files outside the workspace."""
        return Sweep(self.view_files([a, b], open_pictures, buffers, dtype), self.runner, self.store)

    def view_files(
        self,
        files: Sequence[Path | Checkpoint],
        open_pictures: Callable[[], DecodedCache] | None,
        buffers: str,
        dtype: str | None = None,
    ) -> MergeView:
        """A view of files outside the workspace, opened or not.

        Says that they do not fit, or have no network, before data is read.
        """
        written_dtype(dtype)
        if len(files) < 2:
            raise UsageError(f"{len(files)} checkpoint", "two or more", "Name another one")
        opened = [item for item in files if isinstance(item, Checkpoint)]
        checkpoints = opened or open_checkpoints(
            [item for item in files if isinstance(item, Path)], choice=Choice(recognise=recognise)
        )
        first, second, *more = (item.name for item in checkpoints)
        architecture = self.network_of(checkpoints[0]) if open_pictures else network_of(checkpoints[0].shapes)
        arena = packed(checkpoints, architecture, device=self.device)
        pictures = open_pictures() if open_pictures else None
        selection = Selection(first, second, pictures.spec if pictures else "", None, buffers, tuple(more), dtype)
        return self._view(selection, checkpoints, arena, architecture, pictures)

    def _new_view(self, selection: Selection, items: Sequence[Item], pictures: DecodedCache | None) -> MergeView:
        architecture = items[0].architecture
        checkpoints: list[Checkpoint] = [item.checkpoint for item in items]  # type: ignore[misc]
        arena = packed(checkpoints, architecture, device=self.device)
        return self._view(selection, checkpoints, arena, architecture, pictures)

    def _view(
        self,
        selection: Selection,
        checkpoints: Sequence[Checkpoint],
        arena: Arena,
        architecture: tuple[Architecture, int] | None,
        pictures: DecodedCache | None,
    ) -> MergeView:
        """A view whose recipes find what is open."""
        self.runner.builder.merger.sources.know(checkpoints, pictures)
        self.runner.builder.merger.adopt(checkpoints, arena)
        sources = [source_of(item) for item in checkpoints]
        return MergeView(
            selection,
            sources,
            arena,
            architecture,
            pictures,
            self.runner.builder.worker,
            self.device,
            self.runner.builder.precision,
            self.recent,
            self.statistics,
            self.runner.builder.build,
            self.runner.answers.maps,
        )

    def _evict(self) -> None:
        """Forget the views looked at longest ago; running sweeps and open pages keep theirs alive by holding them."""

        def size(view: MergeView) -> int:
            return view.arena.weights.numel() * view.arena.weights.element_size()

        while len(self.opened) > 1 and sum(size(view) for view in self.opened.values()) > ARENA_BYTES:
            self.opened.popitem(last=False)
        held = {view.id for view in self.opened.values()}
        self._sweeps = {key: sweep for key, sweep in self._sweeps.items() if key in held or sweep.state == "running"}
