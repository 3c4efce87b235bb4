"""Which study a wish for error analysis is, and the verb that does the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusionlib.contracts import METHODS, parameters_of
from fusionlib.data.cache import DecodedCache
from fusionlib.errors import UsageError
from fusionlib.merging.build import build_method
from fusionlib.recipe import Recipe
from fusionlib.runs.desk import Plan
from fusionlib.studies.errors import Errors, against_of
from fusionlib.studies.path import MergePath
from fusionlib.studio.plans import set_plan


def errors_study(merge: Recipe, names: Sequence[str], data: str, against: str = "better") -> Errors:
    """The study of a merge of two or more checkpoints, called `names`, against one of `AGAINST`.

    Raises `UsageError` for another reference, or a single checkpoint.
    """
    if len(merge.checkpoints) < 2:
        raise UsageError(
            f"A recipe of {len(merge.checkpoints)} checkpoint", "a merge of two or more", "Choose another recipe"
        )
    wanted = against_of(against)
    members = tuple(map(merge.alone, range(len(merge.checkpoints))))
    other = None if wanted.alpha is None else at_alpha(merge, wanted.alpha)
    return Errors(merge, members, tuple(names), data, wanted, other)


def at_alpha(merge: Recipe, alpha: float) -> Recipe:
    """The same merge at another alpha; of more than two checkpoints, where weights say the same, the first has it and
    the others share the rest.

    Raises `UsageError` for a method without an alpha.
    """
    item = next((one for one in parameters_of(METHODS.get(merge.method)) if one.name == "alpha"), None)
    if item is None:
        raise UsageError(f"An alpha of {merge.method}", "a method that has one, as linear", "Choose another reference")
    others = {name: value for name, value in merge.parameters.items() if name not in ("alpha", item.said_by)}
    count = len(merge.checkpoints)
    said = {"alpha": alpha}
    if count > 2 and item.said_by:
        said = {item.said_by: list(MergePath(merge.checkpoints).shares(alpha))}
    build_method(merge.method, {**others, **said}).shares(count)  # one that cannot be says so
    return merge.model_copy(update={"parameters": {**others, **said}})


def errors_plan(study: Errors, pictures: DecodedCache) -> Plan:
    """The verb that does the same, of merges that it makes without a recipe."""
    merge, (kind, alpha) = study.merge, study.against
    plain = Recipe(parameters=merge.parameters, checkpoints=merge.checkpoints, buffers=merge.buffers, dtype=merge.dtype)
    if merge.content != plain.content or set(merge.parameters) != {"alpha"}:
        return Plan("errors", ())
    options = {"--alpha": merge.parameters["alpha"], "--buffers": merge.buffers, "--dtype": merge.dtype}
    options |= {"--against": kind if alpha is None else f"alpha={alpha!r}"}
    more = [part for name, value in options.items() if value is not None for part in (name, str(value))]
    return set_plan("errors", [Path(source.path) for source in merge.checkpoints], pictures, *more)
