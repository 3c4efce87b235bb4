"""What a page shows of a search: what it is about to cost, its networks as views, and the best one class by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusionlib.candidate import Candidate, single
from fusionlib.engine.blend import CALIBRATION_PICTURES
from fusionlib.studies.search import Search
from fusionlib.studio.finds import shown_parameters
from fusionlib.studio.search import SearchWork


def expected_passes(work: SearchWork) -> int:
    """About how many forward passes are left: what is asked by now, and what the strategy expects to ask later."""
    return work.cost() + _study(work).ahead(dict(work.known))


def candidate_of(listed: Mapping[str, Any]) -> Candidate:
    """The candidate that `Search.listed` gave as JSON values."""
    units = tuple((name, tuple(row)) for name, row in listed.get("units", {}).items())
    return Candidate(
        tuple(listed["weights"]), units, listed.get("granularity", ""), listed["ensemble"], listed.get("anew", False)
    )


def view_of(work: SearchWork, listed: Mapping[str, Any]) -> dict[str, Any]:
    """A candidate as a row of a comparison says it: `method`, `parameters`, `buffers`, and its `members` by number.

    A profile has a row for every unit. `exact` is False where a view measures statistics on fewer pictures than the
    search did.
    """
    study, candidate = _study(work), candidate_of(listed)
    recipe = study.networks.recipe(candidate)
    looked_at = study.networks.preparing(recipe)
    return {
        "method": recipe.method,
        "parameters": shown_parameters(study, candidate),
        "buffers": recipe.buffers if recipe.method != "ensemble" and not candidate.alone else "",
        "members": list(candidate.members),
        "exact": looked_at in (0, min(CALIBRATION_PICTURES, len(work.looked_at))),
    }


def class_rows(work: SearchWork) -> list[dict[str, Any]]:
    """IoU of every class for the best checkpoint alone and for what was found, on the pictures of the report.

    Nothing where the best is a checkpoint alone, or an ensemble that was counted together with others, and where there
    are several datasets, each with a best checkpoint of its own.
    """
    study, known = _study(work), dict(work.known)
    table = study.table(known)
    best, alone = study.best(known), (table["best_single"] or {}).get("report")
    if best is None or alone is None or best.alone or len(work.report) != 1:
        return []
    before, after = (
        study.networks.figures(one, work.report[0].fingerprint(), known) or {}
        for one in (single(alone["checkpoint"], study.count), best)
    )
    if "iou" not in before or "iou" not in after:
        return []
    names = work.report[0].label_space.names
    return [
        {"class": name, "single": old, "best": new, "change": None if None in (old, new) else new - old}
        for name, old, new in zip(names, before["iou"], after["iou"], strict=True)
    ]


def _study(work: SearchWork) -> Search:
    assert isinstance(work.study, Search)
    return work.study
