"""What every subset of some networks says together: all ensembles out of one pass of each network."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fusionlib.contracts import MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.measures.confusion import count_pairs
from fusionlib.measures.observation import UNIT, Observation
from fusionlib.measures.subsets import answering_together, subsets_below


class Ensembles:
    """mIoU, pixel accuracy and loss of the mean of the probabilities of every subset of K networks, 2 to K of them.

    K forward passes a picture in place of one for each member of each subset. Sums of probabilities are made along a
    tree, so that each subset takes one addition; they are in the order of the networks.

    State, subsets small first and in the order of the networks: `right` and `predicted` (S, C) int64, pixels predicted
    right and as the class, `truth` (C,) int64 labelled pixels; `loss` and `undefined` (S,) int64 as those of the loss.
    Of K > 5 a state takes more than 4 KB.
    """

    title: ClassVar[str] = "Ensembles of all subsets"
    summary: ClassVar[str] = "mIoU of every subset of the networks that answers together, out of one pass of each"
    source: ClassVar[str] = "Weight Fusion, section 4.1 (DE_n); Lakshminarayanan et al. 2017, section 2.4"
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "masks"
    networks: ClassVar[Networks] = "set"
    grain: ClassVar[Grain] = "picture"
    always: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset()
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("ensemble_miou", "mIoU", "%", "higher", 2, "mIoU of each subset's mean of probabilities", "subset"),
        Figure("ensemble_pixel_accuracy", "Pixel accuracy", "%", "higher", 2, "Labelled pixels right", "subset"),
        Figure("ensemble_loss", "Loss", "nats", "lower", 4, "Mean negative log-likelihood of the truth", "subset"),
    )

    def init(self, classes: int, device: torch.device, members: int = 2) -> State:
        """Zeros for all subsets of `members` networks. Raises `UsageError` for more than 8."""
        return no_outcomes(subsets_below(members), classes, device)

    def update(self, state: State, *observations: Observation) -> None:
        """Add the labelled pixels. Raises `DataError` when the truth has an unknown id."""
        for place, seen in answering_together(observations):
            add_outcomes(state, place, seen)
        add_truth(state, observations[0])

    def compute(self, state: State) -> dict[str, Any]:
        """A list of each figure, in the order of `subsets`; None where no pixel is labelled, or a loss undefined."""
        return {f"ensemble_{name}": values for name, values in scores_of(state).items()}


def no_outcomes(count: int, classes: int, device: torch.device) -> State:
    """Zeros for S = `count` ensembles, as the docstring of `Ensembles` has them."""
    shapes = {"right": (count, classes), "predicted": (count, classes), "truth": (classes,)}
    shapes |= {"loss": (count,), "undefined": (count,)}
    return {name: torch.zeros(shape, dtype=torch.int64, device=device) for name, shape in shapes.items()}


def add_outcomes(state: State, place: int, seen: Observation) -> None:
    """Add the labelled pixels of ensemble number `place`. Raises `DataError` when the truth has an unknown id."""
    matrix, loss = count_pairs(seen.truth, seen.predicted_bytes, seen.classes), seen.loss
    state["right"][place] += matrix.diagonal()
    state["predicted"][place] += matrix[:, : seen.classes].sum(0)
    state["loss"][place] += loss.steps
    state["undefined"][place] += loss.beyond


def add_truth(state: State, seen: Observation) -> None:
    """Add the labelled pixels of every class, which all ensembles have in common."""
    state["truth"] += torch.bincount(seen.truth_ids[seen.valid], minlength=seen.classes)


def scores_of(state: State) -> dict[str, list[float | None]]:
    """`miou`, `pixel_accuracy` and `loss` of every ensemble; None where no pixel is labelled, or a loss undefined."""
    truth = state["truth"].double()
    right, predicted = state["right"].double(), state["predicted"].double()
    union = truth + predicted - right
    present = union > 0
    ious = torch.where(present, right / union.clamp(min=1), 0)
    pixels = int(state["truth"].sum())
    losses = zip(state["loss"].tolist(), state["undefined"].tolist(), strict=True)
    return {
        "miou": [
            float(row[there].mean()) if bool(there.any()) else None for row, there in zip(ious, present, strict=True)
        ],
        "pixel_accuracy": [float(one) / pixels if pixels else None for one in right.sum(1)],
        "loss": [steps * UNIT / pixels if pixels and not lost else None for steps, lost in losses],
    }


MEASURES.register("ensembles")(Ensembles())
