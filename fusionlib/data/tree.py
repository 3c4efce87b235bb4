"""Folders of pictures with folders of masks: the walk, the pairing and the errors that most datasets share.

A dataset says where its files lie and how their names end; what a file is called without its ending, below the folder
of its side, is its key, and picture and mask of one key belong together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from fusionlib.data.elsewhere import no_pictures
from fusionlib.data.files import existing_folder, picture_size
from fusionlib.data.labels import LabelSpace
from fusionlib.data.pairs import MaskReader, Pair, PairedDataset, checked
from fusionlib.data.pictures import Pictures
from fusionlib.errors import DataError, shown
from fusionlib.listing import Listing, list_folder, skipped_notes

PHOTOS = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Files:
    """Files below `root` by key and ending, in order; `listings` say what was passed over."""

    root: Path
    endings: tuple[str, ...]
    found: Mapping[str, Mapping[str, Path]]
    listings: tuple[Listing, ...]

    def __len__(self) -> int:
        return sum(map(len, self.found.values()))

    def of(self, ending: str) -> Mapping[str, Path]:
        """Those of one ending by key."""
        return self.found[ending]

    def only(self, wanted: Callable[[str], bool]) -> Files:
        """Those of some keys."""
        kept = {
            ending: {key: path for key, path in files.items() if wanted(key)} for ending, files in self.found.items()
        }
        return replace(self, found=kept)

    def all(self) -> dict[str, Path]:
        """Those of every ending by key, in order of the keys. Raises `DataError` where two have the same."""
        merged: dict[str, Path] = {}
        for files in self.found.values():
            for key, path in files.items():
                if key in merged:
                    raise DataError(
                        f"{merged[key]} and {path.name} have the same name",
                        "one picture per name",
                        "Remove or rename one of them",
                    )
                merged[key] = path
        return dict(sorted(merged.items())) if len(self.endings) > 1 else merged


def files_of(
    root: Path, below: Iterable[str], endings: Sequence[str], depth: int = 0, beside: tuple[str, ...] = ()
) -> Files:
    """The files `depth` folders under the folders `below` of `root` (an empty name is `root` itself).

    Folders that are not there have none. Files that end in one of `beside` belong there and are not read; where two
    endings fit, the longer one counts.
    """
    found: dict[str, dict[str, Path]] = {ending: {} for ending in endings}
    listings: list[Listing] = []
    waiting = [(root / name if name else root, depth) for name in below]
    while waiting:
        folder, levels = waiting.pop(0)
        if not folder.is_dir():
            continue
        listing = list_folder(folder, endings)
        if levels:
            waiting = [(path, levels - 1) for path in listing.folders] + waiting
            listing = replace(listing, folders=())
        else:
            for path in listing.files:
                ending = max((one for one in endings if path.name.lower().endswith(one.lower())), key=len)
                found[ending][(path.relative_to(root).as_posix())[: -len(ending)]] = path
        kept = tuple(name for name in listing.other if not name.endswith(beside))
        listings.append(replace(listing, files=(), other=kept))
    return Files(root, tuple(endings), found, tuple(listings))


@dataclass(frozen=True)
class Layout:
    """How a dataset lies on disk and what its masks mean."""

    kind: str
    """What its spec begins with."""
    title: str
    space: LabelSpace
    legends: Mapping[str, MaskReader]
    """Legend of the masks by their ending: read is the first that every picture has, else that of most masks."""
    needs: str
    """The folders, in one line."""
    hidden: frozenset[str] = frozenset()
    """Splits whose masks are not public: without them they are pictures to look at."""
    instances: tuple[str, Callable[[Path], np.ndarray]] | None = None
    """Ending and rule of the files that tell instances apart, among the masks where no others are given."""
    group: Callable[[str], str] | None = None
    """What a key belongs to, in place of what the names tell."""
    named: Callable[[str], str] | None = None
    """Name of a key; its last part where that is no other picture's too."""
    known: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    """What a key tells of its picture: column to how it is read."""
    beside: tuple[str, ...] = ()
    """Endings of what lies among the masks and is not read."""
    draw: str = "Add the mask or remove the picture"
    """What to do about a picture without a mask."""
    notes: tuple[str, ...] = ()
    """What is to be said of the dataset beside what was passed over."""
    drop_unfitting: bool = False
    """Whether pictures of another size than their masks are known of the download, and left out."""

    def folder(self, argument: str) -> Path:
        """The folder of a spec. Raises `DataError` with the layout where there is none."""
        try:
            return existing_folder(argument)
        except DataError as problem:
            raise DataError(problem.got, self.needs, problem.do) from problem

    def find(self, argument: str, *names: str) -> Path | None:
        """The first of some folders in it that is there, also within the folder that a tool makes of its archive."""
        folder = self.folder(argument)
        places = (
            place for name in names for place in (folder / name, *sorted(folder.glob(f"{Path(name).name}_*/{name}")))
        )
        return next((place for place in places if place.is_dir()), None)

    def part(self, argument: str, *names: str) -> Path:
        """The same. Raises `DataError` with the layout where none is there."""
        found = self.find(argument, *names)
        if found is not None:
            return found
        got, root, depth = f"No folder {Path(argument) / names[0]}", self.folder(argument), len(Path(names[0]).parts)
        deeper = (path for above in ("*", "*/*") for path in sorted(root.glob(f"{above}/{names[0]}")) if path.is_dir())
        roots = [Path(argument) / path.relative_to(root).parents[depth - 1] for path in islice(deeper, 3)]
        if roots:
            listed = ", ".join(f"{self.kind}:{path}" for path in roots)
            raise DataError(got, self.needs, f"Correct the path: {names[0]} is in {listed}")
        raise no_pictures(got, self.needs, argument)

    def truth(self, argument: str, split: str, *names: str) -> Path | None:
        """The same of masks: none where those of the split are not public, and not there."""
        return self.find(argument, *names) if split in self.hidden else self.part(argument, *names)

    def masks(self, found: Path | None, argument: str, below: Iterable[str], depth: int = 0) -> Files:
        """The masks and instances below a folder; none where that is not there."""
        endings = dict.fromkeys((*self.legends, *((self.instances[0],) if self.instances else ())))
        return files_of(found or self.folder(argument), below if found else (), tuple(endings), depth, self.beside)

    def among(self, folder: Path, names: Sequence[str]) -> tuple[str, ...]:
        """Those of some folders that are there."""
        return tuple(name for name in names if (folder / name).is_dir())

    def choose(self, argument: str, split: str | None, found: Sequence[str], default: str = "val") -> str:
        """The split asked for, or the default. Raises `DataError` that lists those found."""
        chosen = split or (default if default in found or not found else found[0])
        if chosen in found:
            return chosen
        got = f"No split {shown(chosen)} in {argument}, which has {', '.join(found) or 'none'}"
        if found:
            raise DataError(got, f"one of {', '.join(found)}", "Correct the split in the data spec")
        raise no_pictures(got, self.needs, argument)

    def open(
        self, argument: str, split: str | None, pictures: Files, masks: Files, told: Files | None = None
    ) -> PairedDataset | Pictures:
        """The dataset of these files, `told` with instances of the same keys.

        Raises `DataError` that names a file without its mate, before any is decoded.
        """
        named = f"{self.kind}:{argument}" + (f"@{split}" if split else "")
        title = f"{self.title} {split}" if split else self.title
        shot = pictures.all()
        if not shot:
            raise no_pictures(f"No pictures in {pictures.root}", self.needs, argument)
        notes = skipped_notes([*pictures.listings, *masks.listings])
        if split in self.hidden and not len(masks):
            why = f"The {split} split has no masks here, so nothing is measured on it"
            return self.without_masks(named, title, shot, (*notes, why))
        pairs, ending = self._paired(pictures, shot, masks, told or masks)
        legend, keys = self.legends[ending], list(shot)
        fitting, remarks = checked(pairs, legend, drop_unfitting=self.drop_unfitting)
        if len(fitting) < len(keys):
            left = {pair.image for pair in fitting}
            keys = [key for key, pair in zip(keys, pairs, strict=True) if pair.image in left]
        return PairedDataset(
            named,
            title,
            self.space,
            fitting,
            legend,
            (*notes, *remarks, *self.notes),
            groups=self._groups(keys),
            instances=self.instances[1] if self.instances else None,
            known={
                column: {pair.name: told(key) for key, pair in zip(keys, fitting, strict=True)}
                for column, told in self.known.items()
            },
        )

    def without_masks(
        self, spec: str, title: str, pictures: Mapping[str, Path], notes: tuple[str, ...] = ()
    ) -> Pictures:
        """The same pictures, to look at."""
        for path in pictures.values():
            picture_size(path)
        keys = list(pictures)
        return Pictures(
            spec,
            title,
            tuple(pictures.values()),
            names=tuple(self._names(keys)),
            notes=notes,
            groups=self._groups(keys),
        )

    def _names(self, keys: Sequence[str]) -> list[str]:
        if self.named:
            return [self.named(key) for key in keys]
        last = [key.rpartition("/")[2] for key in keys]
        several = {name for name, times in Counter(last).items() if times > 1}
        return [key if name in several else name for key, name in zip(keys, last, strict=True)]

    def _groups(self, keys: Sequence[str]) -> tuple[str, ...]:
        return tuple(map(self.group, keys)) if self.group else ()

    def _paired(
        self, pictures: Files, shot: Mapping[str, Path], masks: Files, told: Files
    ) -> tuple[tuple[Pair, ...], str]:
        """The pairs and the ending of their masks. Raises `DataError` for a picture or a mask alone."""
        complete = (one for one in self.legends if shot.keys() <= masks.of(one).keys())
        ending = next(complete, None) or max(reversed(tuple(self.legends)), key=lambda one: len(masks.of(one)))
        drawn = masks.of(ending)
        for key, path in shot.items():
            if key not in drawn:
                raise DataError(f"{path} has no mask", str(masks.root / f"{key}{ending}"), self.draw)
        for key, path in drawn.items():
            if key not in shot:
                raise DataError(
                    f"{path} has no picture", f"{key}{pictures.endings[0]}", "Add the picture or remove the mask"
                )
        instances = told.of(self.instances[0]) if self.instances else {}
        names = self._names(list(shot))
        return tuple(
            Pair(path, drawn[key], name, instances=instances.get(key))
            for (key, path), name in zip(shot.items(), names, strict=True)
        ), ending


def option_of(argument: str, choices: Sequence[str], noun: str) -> tuple[str, str | None]:
    """`DIR:OPTION` in its parts, the option None where the argument is a folder alone.

    Raises `DataError` for another option: a path may hold a colon, but then it is a folder.
    """
    folder, colon, option = argument.rpartition(":")
    if not colon or (option not in choices and Path(argument).expanduser().is_dir()):
        return argument, None
    if option in choices:
        return folder, option
    if Path(folder).expanduser().is_dir():
        raise DataError(f"{noun} {shown(option)}", f"one of {', '.join(choices)}", "Correct the data spec")
    return argument, None


def named_below(key: str) -> str:
    """`frankfurt_000000_000294`; the folder in front where the file's name does not begin with it."""
    folder, stem = key.split("/")[-2:]
    return stem if stem.startswith(f"{folder}_") else f"{folder}/{stem}"


def alone(key: str) -> str:
    """The group of pictures that were taken one by one: each its own, whatever numbers are in their names."""
    return key


def parent(key: str) -> str:
    """The group of pictures whose folder is a drive, a sequence or a city."""
    return key.rpartition("/")[0].rpartition("/")[2]
