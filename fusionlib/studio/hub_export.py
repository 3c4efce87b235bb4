"""Merges written as folders of Hugging Face, which `from_pretrained` of transformers opens."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusionlib.atomic import atomic_folder, check_target, write_atomically
from fusionlib.checkpoints.hub_folder import PREPROCESSOR
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import Description
from fusionlib.errors import UsageError
from fusionlib.listing import HUB_CONFIG, HUB_WEIGHTS
from fusionlib.merging.buffers import anchor_of
from fusionlib.merging.build import build_method
from fusionlib.recipe import Recipe

_DTYPES = ("dtype", "torch_dtype")


@contextmanager
def hub_export(recipe: Recipe, checkpoints: Sequence[Checkpoint], out: Path, replace: bool = False) -> Iterator[Path]:
    """Inside the block, the file that the merge is to be written to; after it, the folder `out` with that file and the
    JSON files of the anchor's folder. After an error nothing is left, and a folder that was there stays.

    Raises: as `check_hub_export`; with `replace` a folder may be there already.
    """
    description = described(recipe, checkpoints) if replace else check_hub_export(recipe, checkpoints, out)
    with atomic_folder(out, replace) as folder:
        yield folder / HUB_WEIGHTS[0]
        write_atomically(folder / HUB_CONFIG, _as_text(_in_dtype(description.config, recipe.dtype)))
        if description.preprocessor:
            write_atomically(folder / PREPROCESSOR, _as_text(description.preprocessor))


def check_hub_export(recipe: Recipe, checkpoints: Sequence[Checkpoint], out: Path) -> Description:
    """What the anchor's folder says.

    Raises: as `described`, and where `out` is not free to be made.
    """
    description = described(recipe, checkpoints)
    if out.is_dir() and not any(out.iterdir()):
        return description
    if out.exists():
        raise UsageError(f"--out {out.name} is there already", "a folder that is new or empty", "Change --out")
    check_target(out)
    return description


def described(recipe: Recipe, checkpoints: Sequence[Checkpoint]) -> Description:
    """What the anchor's folder says. Raises `UsageError` where it is none, or where the merge is several networks."""
    method, count = build_method(recipe.method, recipe.parameters), len(checkpoints)
    if method.networks(count) != 1:
        raise UsageError(
            f"{method.title} is {method.networks(count)} networks, and a folder of Hugging Face holds one",
            "a method that gives one network",
            "Choose another method",
        )
    anchor = checkpoints[anchor_of(method, count, recipe.anchor or 0)]
    if anchor.description is None:
        raise UsageError(
            f"{anchor.name} is no folder of Hugging Face",
            "a folder with config.json, which says what the network is, as the first checkpoint or the anchor",
            "Name such a folder first, or write a file",
        )
    return anchor.description


def hub_obstacle(recipe: Recipe, checkpoints: Sequence[Checkpoint]) -> str:
    """Why a merge cannot be written as a folder of Hugging Face, in a line; nothing where it can."""
    try:
        described(recipe, checkpoints)
    except UsageError as problem:
        return problem.got
    return ""


def zipped(folder: Path) -> bytes:
    """The folder as a zip archive that unpacks to a folder of its name.

    Nothing is compressed: weights do not get smaller by it.
    """
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", strict_timestamps=False) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"{folder.name}/{path.name}")
    return whole.getvalue()


def _in_dtype(config: Any, dtype: str | None) -> Any:
    """The config, which says in what the network is to be opened, with the dtype that was written."""
    return config if dtype is None else {**config, **{name: dtype for name in _DTYPES if name in config}}


def _as_text(content: Any) -> str:
    return json.dumps(content, indent=2) + "\n"
