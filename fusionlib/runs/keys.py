"""Content keys: the same question gets the same key, whoever asks it and whenever."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fusionlib.merging.average import SHARE_DIGITS, fold_order

_DECIDING = (
    "contracts.py",
    "parameters.py",
    "architectures",
    "checkpoints",
    "data",
    "engine",
    "merging",
    "statistics",
    "measures",
    *(f"studio/{name}.py" for name in ("barriers", "calibrate", "comparison_networks", "ensemble", "view")),
)
"""Folders and files: what turns files into networks, and networks into figures."""

_PACKAGES = ("torch", "numpy", "pillow")
"""What computes, draws and decodes: another version may give other numbers."""


@cache
def code_fingerprint(parts: tuple[str, ...] = _DECIDING) -> str:
    """SHA-256 over the sources that decide a figure: results of other code are never taken for results of this one."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256(" ".join(version(name) for name in _PACKAGES).encode())
    for part in parts:
        for path in [root / part] if part.endswith(".py") else sorted((root / part).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def content_key(kind: str, runs: Mapping[str, Any] | None, **parts: Any) -> str:
    """SHA-256 hex over `kind`, the code, what runs and `parts` (JSON values; mappings in any order).

    `runs` is what `fusionlib.engine.identity.runs_of` says of the networks behind a figure; None where none runs.
    """
    text = json.dumps(
        {"kind": kind, "code": code_fingerprint(), "runs": runs, **parts}, sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(text.encode()).hexdigest()


def mixture_key(fingerprints: Sequence[str], shares: Sequence[float], buffers: str, **more: Any) -> Mapping[str, Any]:
    """What identifies merged weights, in whichever order the checkpoints are named: their bytes do not depend on it.

    A checkpoint alone is itself under every policy that keeps its statistics; whose statistics `anchor` keeps is told
    apart.
    """
    members = [[fingerprints[number], share] for number, share in fold_order(fingerprints, shares)]
    if len(members) == 1 and buffers in ("average", "gaussian"):
        return {"single": members[0][0]}
    anchor = {"anchor": fingerprints[0]} if buffers == "anchor" else {}
    return {"members": members, "buffers": buffers, **anchor, **more}


def profile_key(
    fingerprints: Sequence[str], table: Mapping[str, Sequence[float]], buffers: str, anchor: int, **more: Any
) -> Mapping[str, Any]:
    """The same for weights by tensor: `table` has K shares by name."""
    columns = {name: [round(float(share), SHARE_DIGITS) for share in row] for name, row in sorted(table.items())}
    order = sorted(
        range(len(fingerprints)), key=lambda number: (fingerprints[number], [row[number] for row in columns.values()])
    )
    owner = {"anchor": fingerprints[anchor]} if buffers == "anchor" else {}
    return {
        "members": [fingerprints[number] for number in order],
        "buffers": buffers,
        **owner,
        **more,
        "profile": {name: [row[number] for number in order] for name, row in columns.items()},
    }


def ensemble_key(fingerprints: Sequence[str], shares: Sequence[float], rule: str) -> Mapping[str, Any]:
    """What identifies an output ensemble, in whichever order its networks are named."""
    return {
        "ensemble": [[fingerprints[number], share] for number, share in fold_order(fingerprints, shares)],
        "rule": rule,
    }
