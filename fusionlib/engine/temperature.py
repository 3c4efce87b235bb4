"""Temperature scaling: one number that makes a network less sure, or surer, without changing what it says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionlib.contracts import IGNORE, MEASURES, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.network import Network
from fusionlib.engine.observe import Batch, batches
from fusionlib.engine.worker import JOB, Worker
from fusionlib.errors import DataError
from fusionlib.measures.observation import Observation

COARSE = tuple(2 ** (half / 2) for half in range(-4, 7))
"""First pass: 0.25 to 8 in steps of the root of 2, 1 among them."""

FINE_STEPS = 4
"""Second pass: this many steps to each neighbour of the best, so neighbours differ by 9 %; a parabola gives the
rest.
"""


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature, the loss before (T = 1) in nats, and all losses seen: `((T, nats), ...)` in order of T."""

    value: float
    before: float | None
    losses: tuple[tuple[float, float], ...]
    at_limit: bool


def losses_at(
    temperatures: Sequence[float],
    network: Network,
    pictures: DecodedCache,
    worker: Worker,
    mapping: Tensor | None,
    progress: Progress | None = None,
) -> list[float]:
    """Mean negative log-likelihood in nats at each temperature over all labelled pixels, in one pass of forwards; inf:
    undefined.
    """
    measure, classes = MEASURES.get("loss"), pictures.label_space.count
    states = [measure.init(classes, network.device) for _ in temperatures]

    def look(batch: Batch) -> None:
        with torch.inference_mode():
            logits, ids = batch.logits_of(network), torch.from_numpy(batch.truths).to(network.device)
            for state, temperature in zip(states, temperatures, strict=True):
                measure.update(state, Observation(logits / temperature, ids, mapping, classes))

    if len(pictures) and pictures.load(0).truth is None:
        raise DataError(
            f"{pictures.load(0).name} has no mask",
            "labelled pictures to fit a temperature on",
            "Choose data with masks",
        )
    done = 0
    for batch in batches(pictures, 1):
        if (batch.truths != IGNORE).any():
            worker.run(lambda batch=batch: look(batch), JOB)
        done += batch.finished
        if progress is not None:
            progress(done, len(pictures))
    pictures.verify()
    return [math.inf if loss is None else loss for loss in (measure.compute(state)["loss"] for state in states)]


def fit_temperature(
    network: Network, pictures: DecodedCache, worker: Worker, mapping: Tensor | None, progress: Progress | None = None
) -> Temperature:
    """The T that minimises the negative log-likelihood of `softmax(logits / T)` over all labelled pixels of `pictures`.

    Two passes over the pictures: 11 temperatures from 0.25 to 8, then 6 around the best and the vertex of the parabola
    through the three best neighbours in log T. Cost: two forward passes and 17 softmaxes per picture; nothing of a
    picture is kept. Where label spaces are mapped the likelihood is that of the annotation's classes. `at_limit`: the
    best T lies at an end of the range.

    Raises `DataError` without masks or with no labelled pixel. Source: Guo et al. 2017 ("On Calibration of Modern
    Neural Networks"), section 4.2; fitted there by LBFGS, which needs all logits in memory.
    """
    total = 2 * len(pictures)
    table: dict[float, float] = {}
    for number in range(2):
        wanted = COARSE if number == 0 else _around(table)

        def advance(done: int, _: int, number: int = number) -> None:
            if progress is not None:
                progress(number * len(pictures) + done, total)

        table |= dict(zip(wanted, losses_at(wanted, network, pictures, worker, mapping, advance), strict=True))
        if not any(math.isfinite(loss) for loss in table.values()):
            raise DataError(
                "No temperature gives a likelihood", "labelled pixels and finite logits", "Choose other data"
            )
    known = sorted((t, loss) for t, loss in table.items() if math.isfinite(loss))
    best = min(range(len(known)), key=lambda index: known[index][1])
    at_limit = best in (0, len(known) - 1)
    value = known[best][0] if at_limit else _vertex(known[best - 1 : best + 2])
    before = table[1.0]
    return Temperature(value, before if math.isfinite(before) else None, tuple(known), at_limit)


def _around(table: dict[float, float]) -> tuple[float, ...]:
    best = min(table, key=lambda t: table[t])
    place = COARSE.index(best)
    low, high = COARSE[max(0, place - 1)], COARSE[min(len(COARSE) - 1, place + 1)]
    count = FINE_STEPS * round(2 * math.log2(high / low))
    points = (low * (high / low) ** (step / count) for step in range(1, count))
    return tuple(t for t in points if abs(t / best - 1) > 1e-9)


def _vertex(three: Sequence[tuple[float, float]]) -> float:
    """Where the parabola through three (T, loss) points in log T is lowest; the middle one where they lie on a line."""
    (a, fa), (b, fb), (c, fc) = ((math.log(t), loss) for t, loss in three)
    top = (b - a) ** 2 * (fb - fc) - (b - c) ** 2 * (fb - fa)
    bottom = (b - a) * (fb - fc) - (b - c) * (fb - fa)
    place = b - top / (2 * bottom) if bottom else b
    return math.exp(min(c, max(a, place)))
