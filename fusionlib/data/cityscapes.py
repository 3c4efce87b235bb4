"""Cityscapes as downloaded: `leftImg8bit/SPLIT/CITY/*_leftImg8bit.png` beside
`gtFine/SPLIT/CITY/*_gtFine_labelIds.png`.

Where every picture of a split has a `*_gtFine_labelTrainIds.png` (as cityscapesScripts writes them), these are read.
Ids become train ids by the table of cityscapesScripts (`helpers/labels.py`); licence plates, id -1, are void. The masks
of the test split are not public: what is downloaded for it is void everywhere, so its pictures are opened without
masks.

Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fusionlib.contracts import DATASETS, IGNORE, Dataset
from fusionlib.data.elsewhere import no_pictures
from fusionlib.data.files import existing_folder, picture_size
from fusionlib.data.labels import CITYSCAPES
from fusionlib.data.masks import Legend, id_table
from fusionlib.data.pairs import Pair, PairedDataset, checked
from fusionlib.data.pictures import Pictures
from fusionlib.errors import DataError, shown
from fusionlib.listing import Listing, list_folder, skipped_notes

_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Ids of train ids 0 to 18, out of 0 to 33; the others are void."""
_VOID = [*(number for number in range(34) if number not in _IDS), 255]  # 255: -1 as a byte

_PICTURE, _LABEL_IDS, _TRAIN_IDS = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"
_BESIDE = ("_gtFine_color.png", "_gtFine_instanceIds.png", "_gtFine_instanceTrainIds.png", "_gtFine_polygons.json")
"""Endings of what comes with the masks and is not read."""
_LEGENDS = {
    _LABEL_IDS: Legend(id_table(_IDS, _VOID), classes=len(_IDS)),
    _TRAIN_IDS: Legend(id_table(range(len(_IDS)), [255]), classes=len(_IDS)),
}

_HIDDEN = "test"
"""The split whose masks are kept for the benchmark."""
_LOOKED_AT = 3


class Cityscapes:
    """The 19 classes, a folder a city."""

    title = "Cityscapes as downloaded"
    usage = "cityscapes:DIR[@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """The folders in leftImg8bit, as train, val and test. Raises `DataError` where that is not there."""
        return tuple(path.name for path in list_folder(_required(argument, "leftImg8bit"), (_PICTURE,)).folders)

    def open(self, argument: str, split: str | None) -> Dataset:
        """One split, by default val. Raises `DataError` that names the file, before any picture is decoded."""
        split, found = split or "val", self.splits(argument)
        if split not in found:
            raise no_pictures(
                f"No split {shown(split)} in {argument}, which has {', '.join(found) or 'none'}",
                "a folder of leftImg8bit",
                argument,
            )
        cities = list_folder(_required(argument, "leftImg8bit") / split, (_PICTURE,))
        shot = [list_folder(city, (_PICTURE,)) for city in cities.folders]
        pictures = {_name(path, _PICTURE): path for listing in shot for path in listing.files}
        if not pictures:
            raise no_pictures(f"No pictures in {cities.folder}", f"CITY/*{_PICTURE}", argument)
        truth = _part(argument, "gtFine") if split == _HIDDEN else _required(argument, "gtFine")
        drawn = _masks(truth / split) if truth else []
        skipped = skipped_notes([replace(cities, folders=()), *shot, *(_unexpected(listing) for listing in drawn)])
        named = f"cityscapes:{argument}@{split}", f"Cityscapes {split}"
        if truth is None or (split == _HIDDEN and not any(listing.files for listing in drawn)):
            return _without_masks(
                *named, pictures, (*skipped, "The test split has no masks here, so nothing is measured on it")
            )
        pairs, ending = _paired(pictures, drawn, truth / split)
        if split == _HIDDEN and _all_void(pairs, _LEGENDS[ending]):
            why = (
                "The masks of the test split are void everywhere, for the real ones are not public: nothing is measured"
                " on it"
            )
            return _without_masks(named[0], f"{named[1]} (masks not public)", pictures, (*skipped, why))
        pairs, turns = checked(pairs, _LEGENDS[ending])
        groups = tuple(map(_city, (pair.image for pair in pairs)))
        return PairedDataset(*named, CITYSCAPES, pairs, _LEGENDS[ending], (*skipped, *turns), groups=groups)


def _part(argument: str, name: str) -> Path | None:
    """`leftImg8bit` or `gtFine`, also within the folder that a tool makes of its archive; None where it is not
    there.
    """
    folder = existing_folder(argument)
    return next((place for place in (folder / name, *sorted(folder.glob(f"{name}_*/{name}"))) if place.is_dir()), None)


def _required(argument: str, name: str) -> Path:
    """The same. Raises `DataError` where it is not there."""
    found = _part(argument, name)
    if found is None:
        raise no_pictures(
            f"No folder {Path(argument) / name}", "the folders leftImg8bit and gtFine, as Cityscapes has them", argument
        )
    return found


def _name(path: Path, ending: str) -> str:
    """`frankfurt_000000_000294`; the city in front where the file's name does not begin with it."""
    stem = path.name[: -len(ending)]
    return stem if stem.startswith(f"{path.parent.name}_") else f"{path.parent.name}/{stem}"


def _masks(folder: Path) -> list[Listing]:
    """The cities in a split of gtFine."""
    return (
        [list_folder(city, (_LABEL_IDS, _TRAIN_IDS)) for city in list_folder(folder, ()).folders]
        if folder.is_dir()
        else []
    )


def _city(picture: Path) -> str:
    """What a picture belongs to, its folder: a city was driven through in few days by one car, and the sequences in its
    file names are cut from those drives.
    """
    return picture.parent.name


def _unexpected(listing: Listing) -> Listing:
    """A city's masks without what comes with them and is not read."""
    return replace(listing, other=tuple(name for name in listing.other if not name.endswith(_BESIDE)))


def _paired(pictures: Mapping[str, Path], drawn: Sequence[Listing], folder: Path) -> tuple[tuple[Pair, ...], str]:
    """The pairs, and the ending of their masks, which lie in `folder`.

    Raises `DataError` for a picture or a mask alone.
    """
    files = [path for listing in drawn for path in listing.files]
    by_ending = {
        ending: {_name(path, ending): path for path in files if path.name.endswith(ending)} for ending in _LEGENDS
    }
    ending = _TRAIN_IDS if pictures.keys() <= by_ending[_TRAIN_IDS].keys() else _LABEL_IDS
    masks = by_ending[ending]
    for name, path in pictures.items():
        if name not in masks:
            wanted = folder / path.parent.name / f"{path.name[: -len(_PICTURE)]}{ending}"
            raise DataError(f"{path} has no mask", str(wanted), "Add the mask or remove the picture")
    for name, path in masks.items():
        if name not in pictures:
            raise DataError(
                f"{path} has no picture",
                f"{path.parent.name}/{path.name[: -len(ending)]}{_PICTURE}",
                "Add the picture or remove the mask",
            )
    return tuple(Pair(path, masks[name], name) for name, path in pictures.items()), ending


def _all_void(pairs: Sequence[Pair], legend: Legend) -> bool:
    """Whether a few masks, evenly spaced, have no labelled pixel."""
    return all(bool((legend.read(pair.mask) == IGNORE).all()) for pair in pairs[:: max(1, len(pairs) // _LOOKED_AT)])


def _without_masks(spec: str, title: str, pictures: Mapping[str, Path], notes: tuple[str, ...]) -> Pictures:
    for path in pictures.values():
        picture_size(path)
    files = tuple(pictures.values())
    return Pictures(spec, title, files, names=tuple(pictures), notes=notes, groups=tuple(map(_city, files)))


DATASETS.register("cityscapes")(Cityscapes())
