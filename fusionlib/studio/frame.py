"""One answered frame: what a network shows of a picture, as the browser draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fusionlib.contracts import IGNORE, MEASURES, Sample
from fusionlib.data.labels import LabelSpace
from fusionlib.engine.maps import doubt_maps, pixel_maps, rows_of
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.observe import target_mapping
from fusionlib.engine.worker import Run
from fusionlib.measures.observation import Observation
from fusionlib.studio.inside import LearnersAnswer
from fusionlib.studio.several import Several


@dataclass(frozen=True)
class Frame:
    """One answered frame: the PNG (label, confidence, runner-up) and figures of this one picture.

    With doubt the PNG is twice as high, and the lower half says (entropy, margin, nothing).
    """

    png: bytes
    about: dict[str, Any]


def seen(
    network: BoundNetwork | Several | LearnersAnswer,
    sample: Sample,
    spaces: tuple[LabelSpace, LabelSpace],
    device: torch.device,
    resume: bool,
    doubt: bool,
    run: Run,
) -> tuple[tuple[np.ndarray, ...], dict[str, Any]]:
    """Three maps of a picture, with `doubt` twice as high, and its figures; every step a call of `run`.

    `spaces` are the network's classes and those that are shown.
    """
    size, meter, space = sample.image.shape[:2], MEASURES.get("confusion"), spaces[1]
    logits = network.logits(sample.image[None], size, resume, run)
    truth = np.full(size, IGNORE, np.uint8) if sample.truth is None else sample.truth
    ids, mapping = torch.from_numpy(truth)[None].to(device), target_mapping(*spaces, device)
    state = meter.init(space.count, device)

    def band(rows: slice) -> tuple[np.ndarray, ...]:
        with torch.inference_mode():
            observation = Observation(logits[:, :, rows], ids[:, rows], mapping, space.count, lean=True)
            if sample.truth is not None:
                meter.update(state, observation)
            return (*pixel_maps(observation), *(doubt_maps(observation) if doubt else ()))

    maps = [run(lambda rows=rows: band(rows)) for rows in rows_of(*size)]
    whole = maps[0] if len(maps) == 1 else tuple(np.concatenate(parts) for parts in zip(*maps, strict=True))
    if doubt:
        whole = tuple(map(np.concatenate, zip(whole[:3], (*whole[3:], np.zeros_like(whole[0])), strict=True)))
    figures = run(lambda: meter.compute(state)) if sample.truth is not None else {}
    return whole, {name: figures.get(name) for name in ("miou", "pixel_accuracy", "iou")}
