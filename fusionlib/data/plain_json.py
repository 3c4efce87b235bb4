"""JSON from strangers: read within a limit, and looked at before it is believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fusionlib.errors import DataError, clipped

MOST_VALUES = 30_000_000
"""Of a file, counted before it is parsed: empty lists are few bytes in it, and as many take a gigabyte of memory."""


def read_json(path: Path, limit_bytes: int, needs: str) -> Any:
    """The value in a JSON file of at most `limit_bytes`. Raises `DataError` that names the file."""
    try:
        if not path.is_file():
            raise DataError(f"{path} is not there", needs, "Correct the path")
        if (size := path.stat().st_size) > limit_bytes:
            raise DataError(f"{path} has {size >> 20} MB", f"at most {limit_bytes >> 20} MB", "Make it smaller")
        with path.open("rb") as file:
            content = file.read(limit_bytes)
        if sum(map(content.count, (b",", b"[", b"{"))) > MOST_VALUES:
            raise DataError(f"{path} has more than {MOST_VALUES:,} values", "fewer", "Make it smaller")
        return json.loads(content)
    except (OSError, ValueError, RecursionError) as problem:
        if isinstance(problem, DataError):
            raise
        raise DataError(
            f"{path} cannot be read ({type(problem).__name__}: {clipped(str(problem), 200)})", needs, "Replace it"
        ) from problem
