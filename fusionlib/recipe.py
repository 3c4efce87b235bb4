"""Recipes: a merge written down so that it runs again to the same bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fusionlib import __version__
from fusionlib.errors import RecipeError, clipped
from fusionlib.plain_yaml import read_yaml

LIMIT_BYTES = 1 << 20
"""A recipe is a page of text; anything larger is something else."""

_DAMAGE = re.compile(r"(?:corrupt:[a-z]+:[0-9]:)+")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """One checkpoint of a recipe: where it lies (relative to the recipe), its SHA-256, and which group of its tensors
    where it has several.

    For a group that the file's own rule would not take, the SHA-256 is over that of the file, a zero byte and the
    group.
    """

    path: Annotated[str, Field(min_length=1, max_length=4096)]
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    group: Annotated[str, Field(max_length=4096)] | None = None


class Shared(_Strict):
    """The checkpoints are not alike: only what they share by name and shape is merged, see
    `fusionlib.checkpoints.sharing`.
    """

    rename: dict[str, str] = {}
    exclude: tuple[str, ...] = ()


class Calibration(_Strict):
    """The pictures that `recalibrate` and methods such as fisher measure with: a data spec, its content key and how
    many pictures.
    """

    data: str
    fingerprint: str
    count: Annotated[int, Field(ge=1)]


class Views(_Strict):
    """Views of each picture that a network answers to, averaged: `scales`, with `flip` mirrored too."""

    scales: Annotated[tuple[Annotated[float, Field(ge=0.1, le=8)], ...], Field(min_length=1, max_length=16)] = (1.0,)
    flip: bool = False

    @field_validator("scales")
    @classmethod
    def _in_order(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        """Each scale once, small to large: the order in which they are named changes no bit."""
        return tuple(sorted(set(scales)))

    @property
    def count(self) -> int:
        """Forward passes a picture."""
        return len(self.scales) * (1 + self.flip)

    @property
    def words(self) -> str:
        """`scales 0.5, 1, 1.5 and flip`."""
        scales = f"scale{'s' if len(self.scales) > 1 else ''} {', '.join(f'{one:g}' for one in self.scales)}"
        return f"{scales} and flip" if self.flip else scales


AT_ONCE = Views()
"""The picture as it is, and nothing else."""

MULTI_SCALE = Views(scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True)
"""The views of most published tables."""


class Recipe(_Strict):
    """Names any network: checkpoints, method, hyper-parameters and buffer policy. One checkpoint is itself.

    `dtype` where floating tensors are not written in their own. Answers to several `views` of a picture are averaged,
    then logits are divided by `temperature`: both can be measured and not be written.
    """

    version: Literal[1] = 1
    tool: str = f"fusionlib {__version__}"
    method: str = "linear"
    parameters: dict[str, Any] = {}
    buffers: str = "average"
    anchor: Annotated[int, Field(ge=0, le=63)] | None = None
    shared: Shared | None = None
    calibration: Calibration | None = None
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    views: Views | None = None
    checkpoints: Annotated[tuple[Source, ...], Field(min_length=1, max_length=64)]

    @property
    def content(self) -> str:
        """What it says, as a text that tells it from others; where its files lie counts as well."""
        return self.model_dump_json(exclude={"tool"} if self.views else {"tool", "views"})

    def to_yaml(self) -> str:
        """As text, keys in the order of the class."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)

    def alone(self, number: int) -> Recipe:
        """The recipe of one of its checkpoints alone, with its own statistics."""
        return checkpoint_alone(self.checkpoints[number])

    def without_folders(self) -> Recipe:
        """The same with file names only: what travels inside an exported file tells nothing about the machine."""
        sources = tuple(source.model_copy(update={"path": Path(source.path).name}) for source in self.checkpoints)
        calibration = self.calibration
        if calibration is not None:
            calibration = calibration.model_copy(update={"data": data_without_folders(calibration.data)})
        return self.model_copy(update={"checkpoints": sources, "calibration": calibration})


def data_without_folders(spec: str) -> str:
    """A data spec with the name of its folder alone; damage that it puts in front of other data stays."""
    damage = _DAMAGE.match(spec)
    front = damage[0] if damage else ""
    kind, colon, rest = spec[len(front) :].partition(":")
    return f"{front}{kind}:{Path(rest).name}" if colon else spec


def checkpoint_alone(source: Source) -> Recipe:
    """A checkpoint as a recipe: the average of itself."""
    return Recipe(method="linear", parameters={"weights": [1.0]}, checkpoints=(source,))


def read_recipe(path: Path) -> Recipe:
    """Parse a YAML recipe. Raises `RecipeError` that names the offending field."""
    content = _load_yaml(path)
    if not isinstance(content, dict):
        raise RecipeError(
            f"{path.name} holds {type(content).__name__}",
            "a mapping with `checkpoints` and `method`",
            "See the example in `python -m fusionlib guide files`",
        )
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = clipped(".".join(str(part) for part in first["loc"]), 200) or "the recipe"
        raise RecipeError(
            f"{path.name}: {where}: {first['msg']}",
            "a recipe as in `python -m fusionlib guide files`",
            f"Correct {where}",
        ) from error


def _load_yaml(path: Path) -> Any:
    try:
        return read_yaml(path, LIMIT_BYTES)
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"{path.name} cannot be read: {error}", "a YAML recipe", "Check the path and the file"
        ) from error
