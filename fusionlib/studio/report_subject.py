"""What a report is about: a network, those that it is held against, and the study that finds out about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.engine.recipes import recipe_alone
from fusionlib.errors import UsageError, clipped
from fusionlib.merging.build import build_method
from fusionlib.plain_yaml import load_yaml
from fusionlib.recipe import LIMIT_BYTES, Recipe
from fusionlib.studies.errors import Against
from fusionlib.studies.grid import alpha_grid
from fusionlib.studies.report import Report
from fusionlib.studio.error_plans import at_alpha

STEP = 0.1
"""Distance of the points of the curve, where nobody says otherwise."""


@dataclass(frozen=True)
class Subject:
    """The `network` of a report, called `name`, and the `others` that it is held against, called `names`.

    `written` is the recipe that is shown; `path` the same where its first two members are the first two of the others,
    so that a curve can be drawn between them. `why` says in words what keeps members or recipe away.
    """

    name: str
    network: Recipe
    names: tuple[str, ...] = ()
    others: tuple[Recipe, ...] = ()
    written: Recipe | None = None
    path: Recipe | None = None
    why: str = ""

    @property
    def alpha(self) -> float | None:
        """The share of the first of two members in an average of them; None for another merge."""
        if self.path is None or self.path.method != "linear" or len(self.path.checkpoints) != 2:
            return None
        return build_method(self.path.method, self.path.parameters).shares(2)[0]

    def at(self, alpha: float) -> Recipe | None:
        """The same merge at another alpha, its members alone at the ends; None where it has no alpha."""
        if self.path is None:
            return None
        if alpha in (0.0, 1.0) and len(self.path.checkpoints) == 2:
            return self.others[int(alpha == 0)]
        try:
            return at_alpha(self.path, alpha)
        except UsageError:
            return None


def of_recipe(name: str, recipe: Recipe, further: Sequence[Checkpoint] = (), names: Sequence[str] = ()) -> Subject:
    """A merge and its members, called `names` or as their files are, and `further` checkpoints."""
    count = len(recipe.checkpoints)
    members = [(names or [Path(one.path).stem for one in recipe.checkpoints])[n] for n in range(count)]
    others = list(map(recipe.alone, range(count))) if count > 1 else []
    known = {source.fingerprint for source in recipe.checkpoints} if count > 1 else set()
    new = [item for item in further if item.fingerprint not in known]
    listed = unique([*(members if count > 1 else []), *(item.name for item in new)])
    why = "" if count > 1 else "the recipe is one network alone"
    path = recipe if count > 1 else None
    return Subject(name, recipe, tuple(listed), (*others, *map(recipe_alone, new)), recipe, path, why)


def of_checkpoint(checkpoint: Checkpoint, against: Sequence[Checkpoint]) -> Subject:
    """A file and the checkpoints `against` which it is held.

    The recipe in its metadata is shown and not believed: what is measured is the file. Its members are those of
    `against` that have their fingerprints.
    """
    written, why = recipe_within(checkpoint)
    ordered = _members_first(written, against)
    found = written is not None and [item.fingerprint for item in ordered[: len(written.checkpoints)]] == [
        source.fingerprint for source in written.checkpoints
    ]
    others = tuple(map(recipe_alone, ordered))
    path = None
    if written is not None and found and len(others) > 1:
        sources = [one.checkpoints[0] for one in others[: len(written.checkpoints)]]
        path = written.model_copy(update={"checkpoints": tuple(sources)})
    names = unique([item.name for item in ordered])
    return Subject(checkpoint.name, recipe_alone(checkpoint), tuple(names), others, written, path, why)


def recipe_within(checkpoint: Checkpoint) -> tuple[Recipe | None, str]:
    """The recipe in a file's metadata, as it says; else None and why, in words."""
    text = checkpoint.metadata.get("recipe")
    if text is None:
        return None, "the file carries none"
    if len(text) > LIMIT_BYTES:
        return None, "what the file carries in its place is too long"
    try:
        return Recipe.model_validate(load_yaml(text)), ""
    except ValueError as problem:
        return None, f"what the file carries is none: {clipped(' '.join(str(problem).split()), 200)}"


def report_study(subject: Subject, data: str, step: float = STEP) -> Report:
    """The study of a network and one or more others; the curve is asked for where it is an average of two.

    Raises `UsageError` for a step that is none.
    """
    grid = alpha_grid(step)
    inner = [alpha for alpha in grid if 0 < alpha < 1] if subject.alpha is not None else []
    points = [(alpha, one) for alpha in inner if (one := subject.at(alpha)) is not None]
    members, names, against = subject.others, subject.names, Against("best")
    if len(members) == 1:  # A and B are then the reference and the network itself
        members, names, against = (*members, subject.network), (*names, subject.name), Against("a")
    return Report(subject.network, members, names, data, against, None, tuple(points))


def unique(names: Sequence[str]) -> list[str]:
    """Names made different by a number where two files have the same."""
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, start=1)]


def _members_first(written: Recipe | None, against: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The checkpoints, those that a recipe names first and in its order; each content once."""
    given = {item.fingerprint: item for item in reversed(against)}
    wanted = [source.fingerprint for source in written.checkpoints] if written else []
    order = dict.fromkeys([*(one for one in wanted if one in given), *(item.fingerprint for item in against)])
    return [given[one] for one in order]


__all__ = ["STEP", "Subject", "of_checkpoint", "of_recipe", "recipe_within", "report_study"]
