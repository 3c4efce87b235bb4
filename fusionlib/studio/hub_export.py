"""Merges written as folders of Hugging Face, which `from_pretrained` of transformers opens."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusionlib.atomic import check_target, write_atomically
from fusionlib.checkpoints.hub_folder import PREPROCESSOR
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import Description
from fusionlib.errors import UsageError, WriteError
from fusionlib.listing import HUB_CONFIG, HUB_WEIGHTS
from fusionlib.merging.buffers import anchor_of
from fusionlib.merging.build import build_method
from fusionlib.recipe import Recipe

_DTYPES = ("dtype", "torch_dtype")


@contextmanager
def hub_export(recipe: Recipe, checkpoints: Sequence[Checkpoint], out: Path) -> Iterator[Path]:
    """Inside the block, the file that the merge is to be written to; after it, the folder `out` with that file and the
    JSON files of the anchor's folder. After an error nothing is left.

    Raises: as `check_hub_export`.
    """
    description = check_hub_export(recipe, checkpoints, out)
    folder = out.with_name(f".fusion-{secrets.token_hex(8)}")
    try:
        folder.mkdir()
        yield folder / HUB_WEIGHTS[0]
        write_atomically(folder / HUB_CONFIG, _as_text(_in_dtype(description.config, recipe.dtype)))
        if description.preprocessor:
            write_atomically(folder / PREPROCESSOR, _as_text(description.preprocessor))
        folder.replace(out)
    except OSError as problem:
        raise WriteError(
            f"The folder {out.name} cannot be made: {problem.strerror or problem}",
            "a name that is free, in a folder that can be written to",
            "Change --out",
        ) from problem
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_hub_export(recipe: Recipe, checkpoints: Sequence[Checkpoint], out: Path) -> Description:
    """What the anchor's folder says. Raises `UsageError` where it is none, or where `out` is not free to be made."""
    anchor = checkpoints[
        anchor_of(build_method(recipe.method, recipe.parameters), len(checkpoints), recipe.anchor or 0)
    ]
    if anchor.description is None:
        raise UsageError(
            f"{anchor.name} is no folder of Hugging Face, so nothing says what its network is there",
            "a folder with config.json and model.safetensors as the first checkpoint, or as the anchor",
            "Name such a folder first, or leave --export out and write a file",
        )
    if out.is_dir() and not any(out.iterdir()):
        return anchor.description
    if out.exists():
        raise UsageError(f"--out {out.name} is there already", "a folder that is new or empty", "Change --out")
    check_target(out)
    return anchor.description


def _in_dtype(config: Any, dtype: str | None) -> Any:
    """The config, which says in what the network is to be opened, with the dtype that was written."""
    return config if dtype is None else {**config, **{name: dtype for name in _DTYPES if name in config}}


def _as_text(content: Any) -> str:
    return json.dumps(content, indent=2) + "\n"
