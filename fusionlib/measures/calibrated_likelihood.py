"""Calibrated log-likelihood: how likely the truth is once a network's confidence has been set right. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusionlib.errors import UsageError
from fusionlib.measures.temperature_curve import TEMPERATURES, minimum_of

SPLITS = 5
"""Random halvings of the pictures; each half is scored with the temperature of the other."""

SEED = 0


def calibrated_log_likelihood(
    losses: np.ndarray, pixels: np.ndarray, temperatures: Sequence[float] = TEMPERATURES, *, seed: int = SEED
) -> float | None:
    """Mean log-likelihood of a labelled pixel, in nats, at a temperature that was fitted on other pictures.

    `losses` (N, T) are sums over the pixels of N pictures at T temperatures, not finite where undefined; `pixels` (N,)
    how many each has. In each of `SPLITS` random halvings of the pictures the temperature of one half scores the other,
    and the other way round; the mean over all. T lies between the temperatures given: both its loss and where it is
    lowest are those of a polynomial in log T (see `minimum_of`).

    None below two labelled pictures, and where a loss is undefined. Networks on the same pictures are halved alike.
    Source: Ashukha et al. 2020 ("Pitfalls of In-Domain Uncertainty Estimation"), section 3, test-time cross-validation.
    Raises `UsageError` where the shapes do not fit.
    """
    losses, pixels = np.asarray(losses, np.float64), np.asarray(pixels)
    if losses.shape != (len(pixels), len(temperatures)):
        raise UsageError(
            f"Losses {losses.shape} of {len(pixels)} pictures at {len(temperatures)} temperatures",
            "one row a picture, one column a temperature",
            "Give the states of all pictures",
        )
    losses, pixels = losses[pixels > 0], pixels[pixels > 0]
    if len(pixels) < 2:
        return None
    draw, found = np.random.default_rng(seed), []
    for _ in range(SPLITS):
        order = draw.permutation(len(pixels))
        halves = [losses[half].sum(0) for half in (order[: len(order) // 2], order[len(order) // 2 :])]
        for fitted_on, scored_on in (halves, halves[::-1]):
            fit = minimum_of(fitted_on.tolist(), temperatures)
            found.append(None if fit is None else fit.of(scored_on.tolist()))
    known = [one for one in found if one is not None]
    return -float(np.sum(known)) / (SPLITS * int(pixels.sum())) if len(known) == len(found) else None
