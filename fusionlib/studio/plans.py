"""What runs work off, as command lines that do the same: whoever is cut off can be gone on with anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.jobs import Lease
from fusionlib.recipe import Source
from fusionlib.runs.desk import Plan, RunDesk
from fusionlib.runs.keys import key_of
from fusionlib.studio.view import MergeView, Selection


def lease(desk: RunDesk, plan: Plan, *content: str) -> Lease:
    """Holds what is told from other work of its kind by `content`."""

    def hold(progress: Progress) -> AbstractContextManager[Progress]:
        return desk.held(key_of("run", plan.kind, content), plan, progress)

    return hold


def view_plan(kind: str, view: MergeView, *more: str) -> Plan:
    """A verb on the checkpoints, the data and the buffer policy of a view."""
    return Plan(kind, (kind, *_files(view.sources), *_data(view.pictures), *_choices(view.selection), *more))


def set_plan(kind: str, files: Sequence[Path], pictures: DecodedCache | None, *more: str) -> Plan:
    """A verb on a set of checkpoints and data."""
    return Plan(kind, (kind, *map(str, files), *_data(pictures), *more))


def _files(sources: Sequence[Source]) -> list[str]:
    return [source.path for source in sources]


def _data(pictures: DecodedCache | None) -> list[str]:
    if pictures is None:
        return []
    limit = getattr(pictures.dataset, "limit", None)
    return ["--data", pictures.spec, *(["--limit", str(limit)] if limit else [])]


def _choices(selection: Selection) -> list[str]:
    return ["--buffers", selection.buffers, *(["--dtype", selection.dtype] if selection.dtype else [])]
