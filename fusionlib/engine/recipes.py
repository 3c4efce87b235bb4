"""Writing recipes: opened checkpoints and pictures named by their content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fusionlib.checkpoints.choices import SAME
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.rounding import written_dtype
from fusionlib.checkpoints.sharing import Sharing
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.blend import CALIBRATION_PICTURES
from fusionlib.errors import UsageError
from fusionlib.merging.build import build_method
from fusionlib.merging.choices import check_policy
from fusionlib.recipe import Calibration, Recipe, Shared, Source, checkpoint_alone


def source_of(checkpoint: Checkpoint) -> Source:
    """A checkpoint as recipes name it."""
    return Source(path=str(checkpoint.path), fingerprint=checkpoint.fingerprint, group=checkpoint.naming.group)


def recipe_alone(checkpoint: Checkpoint) -> Recipe:
    """The recipe of a checkpoint as it is."""
    return checkpoint_alone(source_of(checkpoint))


def calibration_of(pictures: DecodedCache | None, buffers: str) -> Calibration | None:
    """The pictures that the buffer policy looks at, where it looks at any."""
    if buffers != "recalibrate" or pictures is None:
        return None
    return Calibration(data=pictures.spec, fingerprint=pictures.fingerprint(), count=CALIBRATION_PICTURES)


def write_recipe(
    checkpoints: Sequence[Checkpoint],
    method: str,
    parameters: dict[str, Any],
    buffers: str,
    calibration: DecodedCache | None = None,
    count: int = CALIBRATION_PICTURES,
    *,
    anchor: int | None = None,
    sharing: Sharing | None = None,
    dtype: str | None = None,
) -> Recipe:
    """The recipe of a merge. `calibration` pictures are named where the buffer policy or the method needs some.

    `anchor` is for methods without an anchor of their own: whose statistics `anchor` keeps, and whose tensors what is
    not shared. `dtype` is the name of what floating tensors are written in, None or `same` their own.
    """
    written_dtype(dtype)
    built = build_method(method, parameters)
    used = None
    reader = "Buffer policy recalibrate" if check_policy(buffers) == "recalibrate" else f"Method {method}"
    if buffers == "recalibrate" or built.needs == "pictures":
        if calibration is None:
            raise UsageError(
                f"{reader} without pictures",
                "unlabelled pictures of the target domain",
                "Give --data, or choose another policy or method",
            )
        if count < 1:
            raise UsageError(f"{reader} with {count} pictures", "at least one", "Raise --count")
        used = Calibration(data=calibration.spec, fingerprint=calibration.fingerprint(), count=count)
    shared = None if sharing is None else Shared(rename=dict(sharing.rename), exclude=sharing.exclude)
    return Recipe(
        method=method,
        parameters=parameters,
        buffers=buffers,
        anchor=anchor,
        shared=shared,
        calibration=used,
        dtype=None if dtype == SAME else dtype,  # type: ignore[arg-type]
        checkpoints=tuple(map(source_of, checkpoints)),
    )
