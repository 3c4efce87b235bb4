"""The demo's measured answers: taken into the home folder once, so that its first page opens on a finished curve."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from fusionlib.errors import DataError
from fusionlib.runs.answers import Answers
from fusionlib.runs.keys import key_of
from fusionlib.runs.shipped import take
from fusionlib.runs.store import Store
from fusionlib.studio.workspace import DEMO

ANSWERS = DEMO / "answers.json.gz"


def take_shipped(answers: Answers, store: Store, device: str, precision: str, path: Path = ANSWERS) -> int:
    """Take what is measured of the demo, unless it was before; how many answers were new.

    0 where versions, device or precision are others, or the file is none: then the demo is measured as all else is.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return 0
    key = key_of("shipped", hashlib.sha256(data).hexdigest(), device, precision)
    if store.get(key) is not None:
        return 0
    taken = 0
    with suppress(DataError):
        taken = take(answers, data, device, precision)
    if taken:
        store.put(key, {"taken": taken})
    return taken
