"""Content keys: the same question gets the same key, whoever asks it and whenever."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

_DECIDING = ("architectures", "checkpoints", "data", "inference", "merging", "metrics")


@cache
def code_fingerprint(folders: tuple[str, ...] = _DECIDING) -> str:
    """SHA-256 over the sources that decide a figure: results of other code are never taken for results of this one."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def content_key(kind: str, **parts: Any) -> str:
    """SHA-256 hex over `kind`, the code and `parts` (JSON values; mappings in any order)."""
    text = json.dumps({"kind": kind, "code": code_fingerprint(), **parts}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def mixture_key(fingerprints: Sequence[str], shares: Sequence[float], buffers: str, **more: Any) -> Mapping[str, Any]:
    """What identifies merged weights, whatever the order of the checkpoints: other orders differ by float32 rounding alone.

    A checkpoint alone is itself under every policy that keeps its statistics; whose statistics `anchor` keeps is told apart.
    """
    members = sorted([fingerprint, round(share, 12)] for fingerprint, share in zip(fingerprints, shares, strict=True) if share != 0)
    if len(members) == 1 and buffers in ("average", "gaussian"):
        return {"single": members[0][0]}
    anchor = {"anchor": fingerprints[0]} if buffers == "anchor" else {}
    return {"members": members, "buffers": buffers, **anchor, **more}
