"""The recipes of a comparison's rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.rounding import written_dtype
from fusionlib.checkpoints.sharing import unlike
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.recipes import recipe_alone, write_recipe
from fusionlib.errors import FusionError
from fusionlib.merging.buffers import anchor_of
from fusionlib.merging.build import build_method
from fusionlib.recipe import Recipe
from fusionlib.studies.compare import Row
from fusionlib.studio.comparison_rows import Choices


def with_recipe(row: Row, checkpoints: Sequence[Checkpoint], choices: Choices, pictures: DecodedCache) -> Row:
    """A row with its recipe, or with the reason why there is none."""
    if row.obstacle:
        return row
    try:
        return replace(row, recipe=_written(row, [checkpoints[number] for number in row.members], choices, pictures))
    except FusionError as error:
        return replace(row, obstacle=error.one_line)


def _written(row: Row, members: Sequence[Checkpoint], choices: Choices, pictures: DecodedCache) -> Recipe:
    if row.method == "single":
        return recipe_alone(members[0])
    sharing, method = choices.sharing, build_method(row.method, row.parameters)
    if method.whole_checkpoints:  # every member runs by itself
        return write_recipe(members, row.method, dict(row.parameters), "average")
    if sharing is None and method.takes_unlike:
        sharing = unlike(members, anchor_of(method, len(members)))
    return write_recipe(
        members,
        row.method,
        dict(row.parameters),
        row.buffers,
        pictures,
        sharing=sharing,
        dtype=choices.dtype,
    )


def without_own_dtype(choices: Choices, checkpoints: Sequence[Checkpoint]) -> Choices:
    """A dtype that all floating tensors have anyway changes no row: it is left out, so that the rows stay known."""
    kinds = {info.dtype for item in checkpoints for info in item.tensors.values() if info.dtype.is_floating_point}
    same = written_dtype(choices.dtype) is None or kinds == {written_dtype(choices.dtype)}
    return replace(choices, dtype=None) if same else choices
