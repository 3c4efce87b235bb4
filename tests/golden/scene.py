"""The tiny world of the golden figures: three checkpoints of one network, three pictures with masks, one generated.

Weights come from `RandomState`, whose stream NumPy never changes. The masks are files: what the first checkpoint said
when they were made, a third of it redrawn and some of it void, so that networks are right now and then.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fusionlib.checkpoints.arena import Arena
from fusionlib.data.labels import CAMVID, CITYSCAPES_VOID, LabelSpace, mapping
from fusionlib.data.streets import render_scene
from tests.helpers import TinyArchitecture, TinyNet, saved, with_posteriors

FOLDER = Path(__file__).parent
CHECKPOINTS, CLASSES = 3, 20
SIZES = ((24, 32), (17, 40), (32, 24))


@dataclass(frozen=True)
class Data:
    """Pictures with masks of one label space, and how the network's 20 classes are mapped into it (None: it is its
    own).
    """

    space: LabelSpace
    mapping: torch.Tensor | None
    pictures: tuple[tuple[np.ndarray, np.ndarray], ...]


def tables() -> list[dict[str, torch.Tensor]]:
    """Three state dicts: the first, and two that moved away from it, the last with two of its units exchanged."""
    first = _table(np.random.RandomState(0), None)
    others = [_table(np.random.RandomState(number), first) for number in range(1, CHECKPOINTS)]
    order = torch.tensor([1, 0, *range(2, 8)])
    for name, axis, _ in TinyArchitecture.permutations[0].axes:
        others[-1][name] = others[-1][name].index_select(axis, order)
    return [first, *others]


def _table(draw: np.random.RandomState, start: dict[str, torch.Tensor] | None) -> dict[str, torch.Tensor]:
    table = {}
    for name, like in TinyNet(CLASSES).state_dict().items():
        if not like.is_floating_point():
            table[name] = torch.arange(4) if name == "table" else torch.tensor(100 + draw.randint(50))
            continue
        values = draw.standard_normal(tuple(like.shape)) / max(1, like[0].numel()) ** 0.5
        if name.endswith("running_var"):
            values = 0.3 + values**2
        elif name in ("norm.weight", "norm2.weight"):
            values = 1 + 0.3 * values
        elif name.endswith("weight"):
            values = {"stem": 6, "body": 4, "head": 2}[name.split(".")[0]] * values
        fresh = torch.from_numpy(values).float()
        table[name] = fresh if start is None else start[name] + 0.25 * (fresh - start[name])
    return table


def arena(folder: Path, count: int = CHECKPOINTS) -> Arena:
    """The first `count` checkpoints, packed."""
    files = [saved(folder / f"{number}.safetensors", table) for number, table in enumerate(tables()[:count])]
    return with_posteriors(Arena.pack(files))


def data() -> dict[str, Data]:
    """`mapped`: CamVid's classes; `own`: a generated scene in the network's own classes."""
    scene = render_scene(5, "clear", height=32, width=64)
    files = tuple(
        (np.array(Image.open(FOLDER / "pictures" / f"{number}.png")), np.array(Image.open(mask_file(number))))
        for number in range(len(SIZES))
    )
    return {
        "mapped": Data(CAMVID, torch.from_numpy(mapping(CITYSCAPES_VOID, CAMVID)), files),
        "own": Data(CITYSCAPES_VOID, None, ((scene.image, scene.labels),)),
    }


def mask_file(number: int) -> Path:
    """Where the mask of a picture lies."""
    return FOLDER / "pictures" / f"{number}-mask.png"
