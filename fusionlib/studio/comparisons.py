"""The comparisons of a process, so that reloads and other sessions find the one that is running."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.identity import identities
from fusionlib.studio.comparison import Comparison
from fusionlib.studio.comparison_rows import Choices
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.workspace import Workspace


class ComparisonDesk:
    """The comparisons of a process: one per content, whichever page or session asks."""

    def __init__(self, workspace: Workspace, **running: Any) -> None:
        self._workspace, self._running = workspace, running
        self._works: WorkDesk[Comparison] = WorkDesk()

    def open(self, names: Sequence[str], source: str, split: str | None, choices: Choices) -> Comparison:
        """The comparison of checkpoints and data of the workspace, with whatever of its rows any other has measured by
        now.
        """
        self._workspace.refresh_models()
        items = [self._workspace.get(name) for name in names]
        opened = [item.checkpoint for item in items]
        pictures = self._workspace.pictures(source, split)
        networks = identities((item.architecture for item in items), pictures.label_space)
        parts = [*names, *(item.fingerprint for item in opened), pictures.fingerprint(), str(choices), *networks]  # type: ignore[union-attr]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        found = self._works.open(key, lambda: self.of(opened, pictures, choices))  # type: ignore[arg-type]
        if found.state != "running":
            found.recall()
        return found

    def of(self, checkpoints: Sequence[Checkpoint], pictures: DecodedCache, choices: Choices) -> Comparison:
        """The comparison of opened checkpoints; nothing is measured yet."""
        self._workspace.refresh_models()
        return Comparison(checkpoints, pictures, choices, **self._running)
