"""What a frame is to show, as one value from the browser to the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fusionlib.contracts import MergeMethod
from fusionlib.errors import UsageError
from fusionlib.merging.build import build_method
from fusionlib.studio.inside import PANES as INSIDE
from fusionlib.studio.inside import Inside
from fusionlib.studio.mixtures import Mixture, mixture_key

MERGE = "m"
"""The pane of the merge; the others are called by the letters of the checkpoints."""

MERGES = (MERGE, "strip", "reference")
"""Panes that show a merge: the one that follows the hand, and those that ask beside it, each in a line of its own."""

ENSEMBLE = "ensemble"
"""The pane of all checkpoints of the view as they are, answering together."""


@dataclass(frozen=True)
class FrameWish:
    """The masks of picture `index`: of a merge (pane m) at an alpha or of a layer profile, of one checkpoint alone
    (pane a, b, c, ...), or of all together (pane ensemble, whatever the mixture); with `doubt` how undecided they are
    too, with `inside` those of some learners of the merged network.
    """

    index: int
    mixture: Mixture
    pane: str = MERGE
    doubt: bool = False
    inside: Inside | None = None

    def checked(self, ends: Sequence[str], pictures: int) -> FrameWish:
        """The same as the network of that pane is asked, `ends` being the panes of the checkpoints. Raises `UsageError`
        for what is no pane, alpha or picture.
        """
        if self.pane not in (*MERGES, *INSIDE, ENSEMBLE, *ends) or (
            not isinstance(self.mixture, MergeMethod) and not 0 <= self.mixture <= 1
        ):
            raise UsageError(
                f"Pane {self.pane[:20]!r}, alpha {self.mixture}",
                f"pane {', '.join((*ends, ENSEMBLE, *MERGES))}, and alpha from 0 to 1",
                "Reload the page",
            )
        check_picture(self.index, pictures)
        mixture = build_method("ensemble", {}) if self.pane == ENSEMBLE else self.mixture
        return replace(self, mixture=mixture, pane=self.pane if self.pane in ends else MERGE)

    def key(self, view: str) -> tuple:
        """What tells its frame from all others, in the view with this id: what a checkpoint alone shows is the same
        whatever is merged.
        """
        merged = self.pane == MERGE
        key = "frame", view, self.index, self.pane, mixture_key(self.mixture) if merged else None
        return (*key, *(["doubt"] if self.doubt else []), *([self.inside.words] if self.inside and merged else []))


def check_picture(index: int, pictures: int) -> int:
    """`index` itself. Raises `UsageError` where there is no such picture among so many."""
    if not 0 <= index < pictures:
        raise UsageError(f"Picture {index}", f"0 to {pictures - 1}", "Choose another picture")
    return index
