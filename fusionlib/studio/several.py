"""Networks that answer together, asked as one is."""

from __future__ import annotations

import numpy as np
import torch

from fusionlib.engine.build import Built
from fusionlib.engine.worker import Run


class Several:
    """Networks that answer together, asked as one is."""

    def __init__(self, built: Built) -> None:
        self._built, self.notes = built, built.notes

    def logits(self, images: np.ndarray, size: tuple[int, int], resume: bool, run: Run) -> torch.Tensor:
        """Logits (N, C, h, w) of all together."""
        return run(lambda: self._built.logits(images, size))
