"""Content keys: the same question gets the same key, whoever asks it and whenever."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def key_of(kind: str, *parts: Any) -> str:
    """SHA-256 hex over `kind` and JSON values; mappings in any order."""
    return hashlib.sha256(json.dumps([kind, *parts], sort_keys=True, separators=(",", ":")).encode()).hexdigest()
