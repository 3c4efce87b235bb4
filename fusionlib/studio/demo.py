"""The bundled demo: what its manifest says, and its measured answers, with which the first page opens on a curve."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionlib.errors import DataError
from fusionlib.runs.answers import Answers
from fusionlib.runs.keys import key_of
from fusionlib.runs.shipped import take
from fusionlib.runs.store import Store

if TYPE_CHECKING:
    import torch

    from fusionlib.options import Options
    from fusionlib.studio.view import MergeView
    from fusionlib.studio.workspace import Workspace

DEMO = Path(__file__).parents[2] / "assets" / "demo"
ANSWERS = DEMO / "answers.json.gz"
DOMAINS = DEMO / "domains.json.gz"
"""What the first page opens with, and what the page of domains does: that is taken when somebody looks there."""


def manifest() -> dict[str, Any]:
    """Checkpoints and merges with their commands and figures, and what the app begins with; empty without a demo."""
    path = DEMO / "manifest.json"
    return json.loads(path.read_text()) if path.exists() else {}


def view_words(view: MergeView, workspace: Workspace) -> str:
    """What is published of the merge that a view shows, see `merge_words`; of checkpoints of the demo alone."""
    names = view.selection.names
    if view.pictures is None or view.selection.buffers != "average":
        return ""
    return merge_words(names, view.pictures.spec) if all(workspace.get(name).given == "demo" for name in names) else ""


def merge_words(names: Collection[str], spec: str) -> str:
    """What the manifest says of a merge of these checkpoints of the demo on a dataset and on others like it: its mIoU
    and that of every single network, the start included. Empty where it says nothing.
    """
    merge = next((one for one in manifest().get("merges", ()) if set(one["checkpoints"]) == set(names)), None)
    if merge is None or spec not in merge["measured"]:
        return ""
    lines = [_score(one, figures) for one, figures in merge["measured"].items() if one == spec or one.endswith("@test")]
    return f"Mixed alike, {' and '.join(merge['checkpoints'])} have mIoU {'; '.join(lines)}."


def _score(spec: str, figures: dict[str, Any]) -> str:
    singles = sorted(figures["singles"].items(), key=lambda item: -item[1])
    alone = ", ".join(f"{name} {100 * value:.1f}" for name, value in singles)
    return f"{100 * figures['miou']:.1f} % on {spec} (alone: {alone})"


def with_demo(answers: Answers, options: Options, device: torch.device) -> Answers:
    """The tables, into which the demo's measured answers were taken where the demo is shown."""
    if options.demo:
        take_answers(answers, device.type, options.precision)
    return answers


def take_answers(answers: Answers, device: str, precision: str, path: Path = ANSWERS) -> int:
    """Take what is measured of the demo into the home folder, unless it was before; how many answers were new.

    0 where versions, device or precision are others, or the file is none: then the demo is measured as all else is.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return 0
    store, key = Store(answers.database), key_of("shipped", hashlib.sha256(data).hexdigest(), device, precision)
    if store.get(key) is not None:
        return 0
    taken = 0
    with suppress(DataError):
        taken = take(answers, data, device, precision)
    if taken:
        store.put(key, {"taken": taken})
    return taken
