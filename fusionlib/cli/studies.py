"""`studies [--json]`: every study, with its version and source. `studies NAME CHECKPOINT... --data SPEC`: run one."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from fusionlib.cli.common import (
    add_data,
    add_rename,
    add_running,
    is_recipe,
    open_data,
    open_files,
    open_studio,
    progress_bar,
    read_recipe_file,
)
from fusionlib.contracts import STUDIES
from fusionlib.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    names = ", ".join(STUDIES.names_in_files())
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"run this one: {names} (default: list them)")
    parser.add_argument("checkpoints", nargs="*", type=Path, metavar="CHECKPOINT", help="checkpoints or recipes")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], dest="settings", metavar="NAME=VALUE", help="its parameters"
    )
    add_data(parser, required=False)
    add_rename(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The registry as JSON values, or the table of the study that was named."""
    return {"studies": [_listed(name) for name in sorted(STUDIES.names())]} if given.name is None else _table(given)


def _listed(name: str) -> dict[str, Any]:
    study = STUDIES.get(name)
    return {
        "name": name,
        "title": study.title,
        "summary": study.summary,
        "citation": study.source,
        "version": study.version,
        "parameters": [{"name": item.name, "type": str(item.type)} for item in fields(study)],  # type: ignore[arg-type],
    }


def _table(given: argparse.Namespace) -> dict[str, Any]:
    from fusionlib.cli.settings import read_settings
    from fusionlib.data.halves import halves
    from fusionlib.parameters import parameters_of
    from fusionlib.runs.work import Work
    from fusionlib.studio.plans import lease, set_plan

    study = STUDIES.get(given.name)
    settings = read_settings(given.name, parameters_of(study), given.settings)
    if not given.checkpoints or not given.data:
        raise UsageError(f"studies {given.name}", "checkpoints or recipes, and --data SPEC", "Name both")
    studio = open_studio(given)
    members = _members(given)
    pictures = open_data(studio, given)
    studio.sources.know(pictures=pictures)
    data = pictures.fingerprint()
    fit_on, report_on = halves(pictures) if study.fits else (None, pictures)
    datasets = {one.fingerprint(): one for one in (fit_on, report_on) if one is not None}
    fitted = {"fit_on": fit_on.fingerprint()} if fit_on else {}
    planned = study.planned(members, report_on.fingerprint(), **fitted, **settings)
    plan = set_plan("studies", given.checkpoints, pictures)
    hold = lease(studio.runs, plan, given.name, data, *(one.content for one in members), json.dumps(settings))
    work = Work(given.name, planned, studio.runner, datasets, hold)
    with progress_bar(given.name) as progress:
        work.run(progress=progress, fresh=given.fresh)
    told = {"fitted_on": fit_on.title, "reported_on": report_on.title} if fit_on else {}
    return {"study": given.name, "data": pictures.spec, "images": len(pictures), **told, **work.table()}


def _members(given: argparse.Namespace) -> list[Any]:
    """The networks in their order; an unknown one is said before data is read."""
    from fusionlib.engine.recipes import recipe_alone

    studio = open_studio(given)
    files = iter(open_files(given, [path for path in given.checkpoints if not is_recipe(path)]))
    members = []
    for path in given.checkpoints:
        if is_recipe(path):
            members.append(read_recipe_file(given, path))
            continue
        file = next(files)
        studio.network_of(file)
        studio.sources.know([file])
        members.append(recipe_alone(file))
    return members


def show(result: dict[str, Any]) -> None:
    """Print it for people: the list, or the table."""
    if "studies" not in result:
        from fusionlib.cli.study_table import study_lines

        counted = ("forward_passes", "forward_passes_known", "seconds")  # the last line of every verb says them
        print("\n".join(study_lines({name: value for name, value in result.items() if name not in counted})))
    for study in result.get("studies", ()):
        print(f"{study['name']:12} {study['summary']}\n{'':12} {study['citation']}")
