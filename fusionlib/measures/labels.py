"""The predicted label maps themselves, picture by picture."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fusionlib.contracts import MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.measures.observation import Observation


class Labels:
    """What a network says of every pixel, kept: what is asked of it later on needs no forward pass.

    The map of a picture (H, W) uint8 is at the annotation's size (without masks the picture's): ids of the annotation's
    classes, of the network's own without masks; C where the network says a class that the annotation does not have, or
    NaN. All pixels count, void ones too.

    State: `pixels` (C + 1,) int64, how many have which label; the last are those outside.
    """

    title: ClassVar[str] = "Predicted labels"
    summary: ClassVar[str] = "The label map of every picture, kept to be compared; and how much of the pictures is what"
    source: ClassVar[str] = "argmax of the logits at the annotation's size, ties to the lowest class"
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "pictures"
    networks: ClassVar[Networks] = "one"
    grain: ClassVar[Grain] = "picture"
    always: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset()
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("predicted_share", "Predicted share", "%", "", 2, "Part of all pixels predicted as the class", "class"),
        Figure("predicted_pixels", "Predicted pixels", "pixels", "", 0, "Pixels predicted as the class", "class"),
    )

    def init(self, classes: int, device: torch.device, members: int = 1) -> State:
        """Zeros for `classes` classes."""
        return {"pixels": torch.zeros(classes + 1, dtype=torch.int64, device=device)}

    def update(self, state: State, *observations: Observation) -> None:
        """Add all pixels."""
        labels = self.map(*observations)
        state["pixels"] += torch.bincount(labels.reshape(-1), minlength=len(state["pixels"]))

    def map(self, *observations: Observation) -> torch.Tensor:
        """(N, H, W) uint8: label of every pixel, C outside."""
        (observation,) = observations
        return observation.predicted_bytes

    def compute(self, state: State) -> dict[str, Any]:
        """`predicted_share` and `predicted_pixels` by class; `predicted_outside`, pixels of none of them."""
        counts = state["pixels"].tolist()
        whole = sum(counts)
        return {
            "predicted_share": [count / whole if whole else None for count in counts[:-1]],
            "predicted_pixels": counts[:-1],
            "predicted_outside": counts[-1],
        }


MEASURES.register("labels")(Labels())
