"""What runs work off, as command lines that do the same: whoever is cut off can be gone on with anywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.jobs import Lease
from fusionlib.options import Options
from fusionlib.recipe import Source
from fusionlib.runs.desk import Plan, RunDesk
from fusionlib.runs.keys import key_of
from fusionlib.studio.view import MergeView, Selection

RENAMES_OTHERWISE = ("compare",)
"""Verbs whose --rename says which tensors are shared, not what all of them are called."""


def lease(desk: RunDesk, plan: Plan, *content: str) -> Lease:
    """Holds what is told from other work of its kind by `content`."""
    options = [part for part in desk.options if plan.kind not in RENAMES_OTHERWISE or not part.startswith("--rename=")]
    plan = replace(plan, arguments=desk.command or (*plan.arguments, *options), folder=_folder())

    def hold(progress: Progress) -> AbstractContextManager[Progress]:
        return desk.held(run_key(plan.kind, content), plan, progress)

    return hold


def run_key(kind: str, content: tuple[str, ...]) -> str:
    """What a run is found by."""
    return key_of("run", kind, content)


def process_options(options: Options) -> tuple[str, ...]:
    """The options of a process that decide what networks say, as any verb takes them."""
    default = Options()
    named = {"--model": options.models, "--trust": options.trusted, "--group": options.groups}
    named |= {"--class-tables": [options.class_tables] if options.class_tables else []}
    named |= {"--rename": [f"{pattern}={name}" for pattern, name in options.renames.items()]}
    listed = [f"{option}={value}" for option, values in named.items() for value in values]
    for option, value, usual in (
        ("--device", options.device, default.device),
        ("--precision", options.precision, default.precision),
    ):
        listed += [f"{option}={value}"] if value != usual else []
    return (*listed, *(["--tiles"] if options.tiles else []))


def view_plan(kind: str, view: MergeView, *more: str) -> Plan:
    """A verb on the checkpoints, the data and the buffer policy of a view."""
    return Plan(kind, (kind, *_files(view.sources), *_data(view.pictures), *_choices(view.selection), *more))


def set_plan(kind: str, files: Sequence[Path], pictures: DecodedCache | None, *more: str) -> Plan:
    """A verb on a set of checkpoints and data."""
    return Plan(kind, (kind, *map(str, files), *_data(pictures), *more))


def _folder() -> str:
    """Where relative paths of this process count from; nothing where that is gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _files(sources: Sequence[Source]) -> list[str]:
    return [source.path for source in sources]


def _data(pictures: DecodedCache | None) -> list[str]:
    if pictures is None:
        return []
    limit = getattr(pictures.dataset, "limit", None)
    return ["--data", pictures.spec, *(["--limit", str(limit)] if limit else [])]


def _choices(selection: Selection) -> list[str]:
    return ["--buffers", selection.buffers, *(["--dtype", selection.dtype] if selection.dtype else [])]
