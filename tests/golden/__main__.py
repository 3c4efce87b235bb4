"""Write the golden files anew: `python -m tests.golden`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from fusionlib.contracts import METHODS
from tests.golden.figures import Recomputed, changes, processor, stored
from tests.golden.scene import FOLDER
from tests.helpers import tiny_registered


def main(folder: Path = FOLDER) -> int:
    """Write every file that a version has made stale; 1 where figures moved and no version did."""
    torch.set_num_threads(1)
    refused = 0
    with tiny_registered():
        fresh = Recomputed()
        for name in METHODS.names():
            refused += write(name, fresh.method(name), folder)
    for left in sorted(path for path in folder.glob("*.json") if path.stem not in METHODS):
        left.unlink()
        print(f"{left.name}: gone with its method")
    return int(bool(refused))


def write(name: str, record: dict, folder: Path = FOLDER) -> bool:
    """Write one file where that is due; True where it must not be."""
    old, path = stored(name, folder), folder / f"{name}.json"
    record = {"processor": processor(), **record}
    found = None if old is None else changes(old, record, old["processor"] == processor())
    if found is not None and found.silent:
        print(f"{path.name} refused: {len(found.silent)} figures moved, the first: {found.silent[0]}", file=sys.stderr)
        return True
    if found is None or found.stale:
        path.write_text(_text(record) + "\n", encoding="utf-8")
        print(f"{path.name}: {'new' if found is None else '; '.join(found.stale)}")
    return False


def _text(value: Any, depth: int = 0) -> str:
    """JSON with the figures of one measure, precision and data in one line."""
    if not isinstance(value, dict) or depth > 3:
        return json.dumps(value, ensure_ascii=False)
    space = " " * (depth + 1)
    lines = [f"{space}{json.dumps(key)}: {_text(item, depth + 1)}" for key, item in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{space[1:]}}}"


if __name__ == "__main__":
    sys.exit(main())
