"""From what a studio has found out about a merge to the content of its report. Nothing is measured here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from fusionlib.contracts import class_count
from fusionlib.diagnostics.bootstrap import FEWEST, in_points
from fusionlib.diagnostics.evidence import Evidence
from fusionlib.measures.transitions import transitions_of
from fusionlib.report.content import Content, LeftOut, Mark, Network, Shown
from fusionlib.report.facts import facts_of
from fusionlib.report.pictures import chosen_rows, layers_of, within

if TYPE_CHECKING:
    from fusionlib.checkpoints.reader import Checkpoint
    from fusionlib.contracts import Progress
    from fusionlib.recipe import Recipe
    from fusionlib.studio.reports import AloneWork, ReportWork

PICTURES = 12
"""Shown, where nobody says otherwise."""

MOST_MARKS = 500
"""Marked regions that are said."""

MOST_BYTES = 30 << 20
"""Of a page in all."""

OF_THE_PAGE = 6 << 20
"""What Plotly and the page itself take of that."""

NO_PAIR = "nothing to hold it against: name checkpoints with --against"


def gather(
    work: ReportWork | AloneWork,
    data: str,
    command: str = "",
    *,
    pictures: int = PICTURES,
    marks: Sequence[Mark] = (),
    progress: Progress | None = None,
) -> Content:
    """The report of work that is done, on `data` as it is to be called; at most `pictures` are shown. Progress is in
    pictures.

    Raises `UsageError` where something is not measured yet.
    """
    content = _of_every_network(work, data, command, marks)
    if not work.subject.others:
        left = (LeftOut(what, NO_PAIR) for what in ("Gain, classes and transitions", "Curve", "Pictures"))
        return replace(content, left_out=[*left, *content.left_out])
    return _against_the_best(work, content, pictures, progress)  # type: ignore[arg-type]


def _of_every_network(work: ReportWork | AloneWork, data: str, command: str, marks: Sequence[Mark]) -> Content:
    subject, scores = work.subject, work.scores(work.subject.network)
    said = "n/a" if scores["miou"] is None else f"{100 * scores['miou']:.2f} %"
    left = [LeftOut("Recipe", subject.why)] if subject.written is None else []
    return Content(
        title=subject.name,
        sentence=f"{subject.name} has an mIoU of {said}; there is nothing to hold it against.",
        level="unknown",
        data=data,
        images=len(work.pictures),
        networks=[Network(subject.name, "merge", scores, _about(work, subject.network))],
        legend=list(zip(work.pictures.label_space.names, work.pictures.label_space.palette, strict=True)),
        marks=marks[:MOST_MARKS],
        recipe=recipe_text(subject.written),
        facts=facts_of(work),
        command=command,
        notes=list(work.pictures.notes),
        left_out=[*left, *_marks_left(marks)],
    )


def _marks_left(marks: Sequence[Mark]) -> list[LeftOut]:
    if not marks:
        return [LeftOut("Marked regions", "nothing is marked")]
    left = len(marks) - MOST_MARKS
    return [LeftOut(f"{left} of {len(marks)} marked regions", f"at most {MOST_MARKS} are said")] if left > 0 else []


def _against_the_best(work: ReportWork, content: Content, count: int, progress: Progress | None) -> Content:
    subject, found, reference = work.subject, work.snapshot(), work.reference
    assert reference is not None  # all is known
    best = reference.recipes[0]
    others = [
        Network(name, "best" if one == best else "other", work.scores(one), _about(work, one))
        for name, one in zip(subject.names, subject.others, strict=True)
    ]
    name = next(one.name for one in others if one.role == "best")
    members = subject.path is not None and len(subject.path.checkpoints) == len(others)
    sentence, level = verdict(subject.name, name if len(others) == 1 else _among(name, len(others), members), found)
    rows, notes = chosen_rows(work.rows("gain"), count, {one.picture for one in content.marks}), list(content.left_out)
    shown = [_shown(work, row, progress, (place, len(rows))) for place, row in enumerate(rows)]
    kept = within(shown, MOST_BYTES - OF_THE_PAGE)
    curve = work.points()
    inner = [point for point in curve if 0 < point["alpha"] < 1]
    if not inner:
        notes.insert(0, LeftOut("Curve", _why_no_curve(work)))
    if left := len(work.pictures) - len(kept):
        notes.append(LeftOut(f"{left} of {len(work.pictures)} pictures", _why_left(rows, kept, count)))
    return replace(
        content,
        sentence=sentence,
        level=level,
        networks=[*content.networks, *others],
        reference=name,
        figures=found,
        curve=curve if inner else (),
        ends=(subject.names[0], subject.names[1] if len(subject.names) == 2 else "the others") if inner else ("", ""),
        here=subject.alpha,
        classes=work.class_rows(),
        pictures=kept,
        left_out=notes,
    )


def verdict(name: str, over: str, found: dict[str, Any]) -> tuple[str, str]:
    """The sentence that matters, and its level: whether the gain over the best of the others can be told from chance,
    by the rules of `diagnostics.verdict`.
    """
    gain, interval = found["gain"], found["interval"]
    change = Evidence(None, gain=gain, interval=interval).change
    if change is None:
        return f"{name} cannot be held against {over}: mIoU is undefined on these pictures.", "unknown"
    if interval is None:
        why = f"no interval from {found['units']}, {FEWEST} are needed"
        return f"{name} is {100 * gain:+.2f} points of mIoU from {over} ({why}): measure more to know.", "unknown"
    sure = f"95 %: {in_points(interval)}, resampling {found['units']}"
    if change == 1:
        return f"{name} gains {100 * gain:.2f} points of mIoU over {over} ({sure}).", "gain"
    if change == -1:
        return f"{name} loses {-100 * gain:.2f} points of mIoU against {over} ({sure}).", "loss"
    return f"{name} cannot be told from {over}: {100 * gain:+.2f} points of mIoU ({sure}).", "same"


def _among(name: str, count: int, members: bool) -> str:
    which, whose = "better" if count == 2 else "best", "its " if members else ""
    return f"{name}, the {which} of {whose}{count}{' members' if members else ''}"


def recipe_text(recipe: Recipe | None) -> str:
    """A recipe as JSON, which the verbs read as they do YAML; without folders. Empty for none."""
    if recipe is None:
        return ""
    return json.dumps(recipe.without_folders().model_dump(mode="json", exclude_none=True), indent=2)


def _about(work: ReportWork | AloneWork, recipe: Recipe) -> dict[str, str]:
    """What is known of the file of a checkpoint; of a merge its method and its build."""
    build = work.build(recipe)[:12]
    if len(recipe.checkpoints) > 1:
        return {"build": build, "file": f"{recipe.method} of {len(recipe.checkpoints)}, buffers {recipe.buffers}"}
    file: Checkpoint = work.checkpoint(recipe)
    known = work.runner.builder.merger.recognised(file)
    return {
        "build": build,
        "file": file.path.name,
        "fingerprint": file.fingerprint[:12],
        "architecture": f"{known[0].title}, {class_count(known[1])} classes" if known else "unknown",
        "parameters": f"{file.parameters:,}",
    }


def _shown(work: ReportWork, row: dict[str, Any], progress: Progress | None, place: tuple[int, int]) -> Shown:
    if progress is not None:
        progress(*place)
    number = row["number"]
    maps = work.maps(number)
    image = work.pictures.load(number, whole=True).image
    transition = transitions_of(maps.strata.truth, maps.reference, maps.merge)
    seen = SimpleNamespace(truth=maps.strata.truth, reference=maps.reference, merge=maps.merge, transition=transition)
    layers, size = layers_of(image, seen, work.pictures.label_space)
    several = len({work.pictures.group(index) for index in range(len(work.pictures))}) > 1
    about = (row["name"], row["domain"] if several else "", row["gain"], row["miou"], row["fixed"], row["broken"])
    return Shown(*about, size, layers)


def _why_no_curve(work: ReportWork) -> str:
    subject = work.subject
    if subject.path is None:
        return f"no recipe of members that are named{f': {subject.why}' if subject.why else ''}"
    if subject.at(0.5) is None:
        return f"{subject.path.method} has no alpha to go along"
    return f"{subject.path.method} of {len(subject.path.checkpoints)} is no average of two, and no point is measured"


def _why_left(rows: Sequence[dict[str, Any]], kept: Sequence[Shown], count: int) -> str:
    if len(kept) < len(rows):
        return f"{len(rows) - len(kept)} would not fit into {MOST_BYTES >> 20} MB, at most {count} were asked for"
    if len(rows) < count:
        return "they neither gain nor lose"
    return f"those that gain or lose most are shown, {count} at most (--pictures)"
