"""What was found out about checkpoints, as files by content: estimated once, found again by every process."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fusionlib.atomic import make_folder
from fusionlib.checkpoints.safetensors_format import SafetensorsFile
from fusionlib.checkpoints.snapshot import Snapshot
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.errors import FusionError, WriteError


class StatisticsStore:
    """Tables of tensors by content key, one safetensors file each in a folder.

    Optional, as the store of results is: no trouble with it is an error.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lost: dict[str, str] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know: tables that have to be found out anew."""
        count = len(self._lost)
        statistics = "1 statistic of these checkpoints" if count == 1 else f"{count} statistics of these checkpoints"
        return (f"{statistics} could not be kept: {next(iter(self._lost.values()))}",) if count else ()

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The table of a key, or None."""
        try:
            opened = SafetensorsFile(Snapshot(self._file(key)))
            return {
                name: opened.stored(name).piece(0, math.prod(entry.shape)).reshape(entry.shape)
                for name, entry in opened.entries.items()
            }
        except (FusionError, OSError):  # not there, or damaged: it can be estimated again
            return None

    def put(self, key: str, table: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Keep a table under its key; `about`, JSON values, says in the file what it is."""
        if not table:  # no file without a tensor, and nothing to be spared
            return
        try:
            make_folder(self.folder)
            save_tensors(self._file(key), table, {name: json.dumps(value) for name, value in about.items()})
            self._lost.pop(key, None)
        except WriteError as problem:
            self._lost[key] = problem.got.split(": ", 1)[-1]

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"
