"""CamVid road scenes in the common 11-class layout: `train` + `trainannot`, `val` + `valannot`, `test` + `testannot`.

Brostow et al., "Semantic object classes in video: a high-definition ground truth database", 2009.
"""

from __future__ import annotations

from fusionlib.contracts import DATASETS
from fusionlib.data.files import existing_folder
from fusionlib.data.labels import CAMVID
from fusionlib.data.pairs import PairedDataset, find_pairs, id_table
from fusionlib.errors import DataError

_SPLITS = ("train", "val", "test")
_VOID = 11


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
            raise DataError(f"No split {split!r} in {argument}", "a folder with pictures and a folder SPLITannot beside it",
                            f"Choose one of: {', '.join(found)}" if found else "Correct the path")
        pairs = find_pairs(folder / split, folder / f"{split}annot")
        return PairedDataset(f"camvid:{argument}@{split}", f"CamVid {split}", CAMVID, pairs,
                             id_table(range(CAMVID.count), [_VOID, 255]))


DATASETS.register("camvid")(CamVid())
