"""CamVid road scenes in the common 11-class layout: `train` + `trainannot`, `val` + `valannot`, `test` + `testannot`.

Brostow et al., "Semantic object classes in video: a high-definition ground truth database", 2009.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fusionlib.contracts import DATASETS
from fusionlib.data.elsewhere import no_pictures
from fusionlib.data.files import existing_folder
from fusionlib.data.labels import CAMVID
from fusionlib.data.masks import Legend, id_table
from fusionlib.data.pairs import PairedDataset, checked, find_pairs
from fusionlib.data.sequences import frame_groups
from fusionlib.errors import shown

_SPLITS = ("train", "val", "test")
_VOID = 11
_FRAME = re.compile(r"(?P<sequence>.+)_f?[0-9]+\Z", re.DOTALL)


class CamVid:
    """Masks hold ids 0-10 and 11 for void; 255 counts as void too."""

    title = "CamVid folder"
    usage = "camvid:DIR[@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """Those of train, val and test that have both folders."""
        folder = existing_folder(argument)
        return tuple(s for s in _SPLITS if (folder / s).is_dir() and (folder / f"{s}annot").is_dir())

    def open(self, argument: str, split: str | None) -> PairedDataset:
        """The dataset of one split, by default val. Raises `DataError` before any picture is decoded."""
        folder, split = existing_folder(argument), split or "val"
        found = self.splits(argument)
        if split not in found:
            raise no_pictures(
                f"No split {shown(split)} in {argument}, which has {', '.join(found) or 'none'}",
                "a folder with pictures and a folder SPLITannot beside it",
                argument,
            )
        pairs, skipped = find_pairs(folder / split, folder / f"{split}annot", argument)
        legend = Legend(id_table(range(CAMVID.count), [_VOID, 255]), classes=CAMVID.count)
        pairs, turns = checked(pairs, legend)
        return PairedDataset(
            f"camvid:{argument}@{split}",
            f"CamVid {split}",
            CAMVID,
            pairs,
            legend,
            (*skipped, *turns),
            groups=_sequences([pair.name for pair in pairs]),
        )


def _sequences(names: Sequence[str]) -> tuple[str, ...]:
    """`0001TP` of `0001TP_006690` and `0006R0` of `0006R0_f00930`; names of another form as in any folder."""
    found = [_FRAME.match(name) for name in names]
    return tuple(match["sequence"] if match else group for match, group in zip(found, frame_groups(names), strict=True))


DATASETS.register("camvid")(CamVid())
