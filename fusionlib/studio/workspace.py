"""What is loaded: checkpoints and data of the demo, of the operator's folders and of uploads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fusionlib.architectures.nearest import explanations
from fusionlib.architectures.recognise import recognise
from fusionlib.architectures.user import refresh_user_models
from fusionlib.checkpoints.compare import Preflight, preflight
from fusionlib.checkpoints.findings import Finding
from fusionlib.checkpoints.groups import Choice
from fusionlib.checkpoints.groups import shown as typed
from fusionlib.checkpoints.hub_folder import folder_name
from fusionlib.checkpoints.reader import Checkpoint, check_finite, open_checkpoint
from fusionlib.contracts import IGNORE, Progress
from fusionlib.data import tables
from fusionlib.data.cache import DecodedCache
from fusionlib.data.files import picture_size, read_picture, reduction
from fusionlib.data.spec import check, open_dataset, parse_spec, splits_of
from fusionlib.errors import CheckpointError, FusionError, UsageError, shown
from fusionlib.listing import skipped_notes
from fusionlib.measures.annotation import annotation_warnings
from fusionlib.options import Options
from fusionlib.runs.uploads import UploadFolder
from fusionlib.studio.demo import DEMO, manifest
from fusionlib.studio.items import Item, agreeing, recognised, with_names
from fusionlib.studio.provenance import DEMO_FILE, FILE, TRAINED, UPLOAD, Place, demo_places, made_by
from fusionlib.studio.sources import folders_in, listed_checkpoints, short_name

QUICKLY_READ = 64 << 20
"""Bytes of a checkpoint that can be searched for NaN without anybody noticing."""

PICTURE_BYTES = 1 << 30
"""Decoded pictures kept per dataset: 1 GiB holds two thousand pictures of 480x360."""


@dataclass(frozen=True)
class Source:
    """One dataset of the workspace. `name` is short and tells no path; `spec` is the operator's."""

    name: str
    spec: str
    origin: str
    splits: tuple[str, ...] = ()
    problem: FusionError | None = None


class DataCheck(NamedTuple):
    """A dataset that was read through: how many pictures, remarks on how its files were taken, and what is odd about
    its masks.
    """

    pictures: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


class Workspace:
    """Everything that the pages may name.

    Names are unique; a page knows checkpoints and data by name, never by path.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        tables.use(tables.read_tables(options.class_tables) if options.class_tables else ())
        self.uploads = UploadFolder(options.home / "uploads", options.upload_mb << 20)
        self.trained = options.home / "lab"
        self._lock = threading.RLock()
        self._opened: dict[tuple[Path, str | None], Item] = {}
        self._found: list[Item] = []
        self._further: dict[tuple[Path, str], None] = {}
        self._pictures: dict[tuple[str, str | None, int | None], DecodedCache] = {}
        self._finite: dict[str, list[str]] = {}
        self.items: tuple[Item, ...] = ()
        self.sources: tuple[Source, ...] = ()
        self.refresh()

    def refresh(self) -> None:
        """Look at the folders again; files that did not change are not opened again."""
        with self._lock:
            self.refresh_checkpoints()
            self.sources = tuple(self._sources())
            self._pictures.clear()

    def refresh_models(self) -> None:
        """Run model files that have changed since, and look again which network each checkpoint belongs to.

        Raises: `UsageError` where one cannot be run; the networks stay what they were, and asking again tries again.
        """
        with self._lock:
            if refresh_user_models(self.options.models):
                self._opened = {path: recognised(item) for path, item in self._opened.items()}
                self.items = tuple(recognised(item) for item in self.items)

    def refresh_checkpoints(self) -> None:
        """The same for checkpoints only: a training run may have rewritten one since."""
        with self._lock:
            found = [
                self._item(place, group)
                for place in self._places()
                for group in (None, *(group for file, group in self._further if file == place.path))
            ]
            if list(map(id, found)) != list(map(id, self._found)):
                named = tuple(with_names(agreeing(found)))
                # After the names are given: no upload takes the name of a file of the demo, which links may hold.
                self._found, self.items = found, tuple(sorted(named, key=lambda item: item.given == DEMO_FILE))

    def get(self, name: str) -> Item:
        """The checkpoint called `name`. Raises `UsageError` listing the names, or the file's own problem."""
        item = next((item for item in self.items if item.name == name), None)
        if item is None:
            raise UsageError(
                f"No checkpoint {shown(name)} in the workspace",
                f"one of {', '.join(i.name for i in self.items) or 'none'}",
                "Choose another, or load it on the Workspace page",
            )
        if item.problem is not None:
            raise item.problem
        return item

    def usable(self) -> tuple[Item, ...]:
        """The checkpoints that could be read."""
        return tuple(item for item in self.items if item.checkpoint is not None)

    def demo_pair(self) -> tuple[str, str] | None:
        """The pair of demo checkpoints that the manifest recommends to begin with, if both are loaded."""
        pair = tuple(manifest().get("begin_with", ()))
        loaded = {item.name for item in self.usable() if item.given == DEMO_FILE}
        return (pair[0], pair[1]) if len(pair) == 2 and set(pair) <= loaded else None

    def first_picture(self, source: str) -> int:
        """The picture to begin with, counted from 1: the demo's first scenes have one where its pair shows what a merge
        can do.
        """
        about = manifest()
        begun = any(
            item.name == source and item.origin == "demo" and item.spec == about.get("begin_with_data")
            for item in self.sources
        )
        return int(about.get("begin_with_picture", 1)) if begun else 1

    def default_pair(self) -> tuple[str, str] | None:
        """The last two different checkpoints of the largest family that fits together.

        The operator's own come before the demo's, both before uploads, which anybody may have made; small ones with NaN
        or infinity are passed over. None where no two fit.
        """
        for givers in ((FILE,), (FILE, DEMO_FILE), (FILE, DEMO_FILE, UPLOAD)):
            items = [item for item in self.usable() if item.given in givers]
            families = Counter(item.signature for item in items)
            if families and families.most_common(1)[0][1] > 1:
                pair = self._last_two([item for item in items if item.signature == families.most_common(1)[0][0]])
                if pair:
                    return pair
        return None

    def _last_two(self, family: Sequence[Item]) -> tuple[str, str] | None:
        recommended = self.demo_pair()
        if recommended and set(recommended) <= {item.name for item in family}:
            return recommended
        found: dict[str, str] = {}
        for item in reversed(family):
            assert item.checkpoint is not None
            if item.checkpoint.size_bytes < QUICKLY_READ and self.finite_problems([item.name]):
                continue
            found.setdefault(item.checkpoint.fingerprint, item.name)
            if len(found) == 2:
                second, first = found.values()
                return first, second
        return None

    def offered_groups(self) -> dict[str, tuple[str, str, bool]]:
        """Networks beside those that were taken from files with several, by a text for people: checkpoint, group,
        whether it is shown.
        """
        offers: dict[str, tuple[str, str, bool]] = {}
        for item in self.items:
            path = item.checkpoint.path if item.checkpoint else None
            if path is not None and item.group is None:
                offers |= {
                    f"{item.name}: {typed(group)}": (item.name, group, (path, group) in self._further)
                    for group in item.checkpoint.naming.others  # type: ignore[union-attr]
                }
        return offers

    def show_groups(self, wanted: Iterable[str]) -> None:
        """Show these of the `offered_groups` as checkpoints of their own, and no others."""
        offers = self.offered_groups()
        with self._lock:
            self._further = {
                (self.get(offers[text][0]).checkpoint.path, offers[text][1]): None  # type: ignore[union-attr]
                for text in wanted
                if text in offers
            }
            self.refresh_checkpoints()

    def preflight(self, names: Sequence[str]) -> Preflight:
        """The report for these checkpoints. Raises `UsageError` for an unknown name."""
        checkpoints: list[Checkpoint] = [self.get(name).checkpoint for name in names]  # type: ignore[misc]
        return preflight(checkpoints, recognise, explanations)

    def finite_problems(self, names: Sequence[str]) -> list[str]:
        """NaN and infinity in these checkpoints, a sentence per tensor. Reads every byte once per content."""
        problems = []
        for name in names:
            checkpoint = self.get(name).checkpoint
            assert checkpoint is not None
            if checkpoint.fingerprint not in self._finite:
                self._finite[checkpoint.fingerprint] = [str(problem) for problem in check_finite(checkpoint)]
            problems += [f"{name}: {problem}" for problem in self._finite[checkpoint.fingerprint]]
        return problems

    def misfit(self, name: str, other: str) -> Finding | None:
        """Why a checkpoint cannot be merged with `other` tensor by tensor; None where it can. `UsageError` as `get`."""
        report = self.preflight([other, name])
        return None if report.compatible else next(one for one in report.findings if one.level == "error")

    def at(self, path: Path) -> Item | None:
        """The checkpoint of a file, where it is shown."""
        found = (item for item in self.items if item.checkpoint is not None and item.group is None)
        return next((item for item in found if item.checkpoint.path == path), None)  # type: ignore[union-attr]

    def add_upload(self, name: str, content: bytes | memoryview) -> Path:
        """Keep an uploaded file and show it; where it is kept.

        Raises `FusionError` where it cannot be used; the file is then not kept.
        """
        path = self.uploads.add(name, content)
        try:
            if path.parent == self.uploads.pictures:
                # One bad picture would keep all of them from being shown.
                read_picture(path, scale=reduction(*picture_size(path)))
            else:
                open_checkpoint(path, name=Path(name).stem)
        except FusionError as problem:
            self.uploads.discard(path)
            # The file is stored under its digest: the user knows it by another name.
            stored, own = (str(path), path.name, path.stem), (name, name, Path(name).stem)
            got, do = problem.got, problem.do
            for before, after in zip(stored, own, strict=True):
                got, do = got.replace(before, after), do.replace(before, after)
            raise type(problem)(got, problem.needs, do) from problem
        self.uploads.call(path, name)
        self.refresh()
        return path

    def remove_upload(self, name: str) -> tuple[str, Path]:
        """Take an uploaded checkpoint away; what is returned brings it back through `restore_upload`, for a day."""
        item = self.get(name)
        assert item.checkpoint is not None
        removed = self.uploads.remove(item.checkpoint.path)
        self.refresh()
        return item.name + removed.suffix, removed

    def restore_upload(self, removed: tuple[str, Path]) -> None:
        """Undo `remove_upload`."""
        name, path = removed
        self.uploads.restore(path, name)
        self.refresh()

    def check_data(self, source: str, split: str | None, progress: Progress | None = None) -> DataCheck:
        """Read every picture and mask of a dataset. Raises `DataError` that names the first bad file."""
        dataset = self.pictures(source, split).dataset
        pixels, classes = check(dataset, progress), dataset.label_space.count
        found = {"support": pixels[:classes].tolist(), "void": int(pixels[IGNORE])}
        return DataCheck(len(dataset), dataset.notes, tuple(annotation_warnings(found, dataset.label_space.names)))

    def first_split(self, source: str) -> str | None:
        """The split to begin with: val, validation or val2017 where there is one."""
        splits = next((entry.splits for entry in self.sources if entry.name == source), ())
        return next((one for one in splits if one.startswith("val")), splits[0] if splits else None)

    def pictures(self, source: str, split: str | None, limit: int | None = None) -> DecodedCache:
        """The decoded pictures of a dataset by its short name. Raises `DataError` for inconsistent data."""
        entry = next((entry for entry in self.sources if entry.name == source), None)
        if entry is None:
            raise UsageError(
                f"No data {shown(source)} in the workspace",
                f"one of {', '.join(s.name for s in self.sources) or 'none'}",
                "Choose another",
            )
        if entry.problem is not None:
            raise entry.problem
        return self.open_pictures(entry.spec, split, limit)

    def opened_pictures(self, source: str, split: str | None) -> DecodedCache | None:
        """The same where somebody has opened them already, else None: nothing is read."""
        spec = next((entry.spec for entry in self.sources if entry.name == source), "")
        with self._lock:
            return self._pictures.get((spec, split, None))

    def open_pictures(self, spec: str, split: str | None, limit: int | None = None) -> DecodedCache:
        """The decoded pictures of a data spec; opened and validated once, until the next `refresh` or until files
        change.
        """
        with self._lock:
            opened = self._pictures.get((spec, split, limit))
            if opened is None or not opened.is_current():
                opened = DecodedCache(open_dataset(spec, split, limit), PICTURE_BYTES, tiles=self.options.tiles)
                self._pictures[spec, split, limit] = opened
            return opened

    def empty_folders(self) -> tuple[str, ...]:
        """Names of folders that the operator gave and that hold no checkpoint file; folders below them are not
        searched.
        """
        return tuple(
            folder.name or str(folder) for folder in self.options.checkpoints if not listed_checkpoints(folder)[0]
        )

    def folders_below(self) -> tuple[str, ...]:
        """Folders that lie directly in those empty ones and do hold checkpoint files: what the operator may have
        meant.
        """
        empty = [
            listing
            for folder in self.options.checkpoints
            for files, listing in [listed_checkpoints(folder)]
            if listing and not files
        ]
        return tuple(
            f"{listing.folder.name}/{path.name}"
            for listing in empty
            for path in listing.folders
            if listed_checkpoints(path)[0]
        )

    def skipped(self) -> tuple[str, ...]:
        """What of the operator's folders of checkpoints was passed over, in words; nothing where all of it was
        taken.
        """
        return skipped_notes(
            [listing for folder in self.options.checkpoints if (listing := listed_checkpoints(folder)[1])]
        )

    def _places(self) -> Iterable[Place]:
        if self.options.demo:
            yield from demo_places()
        for folder in self.options.checkpoints:
            for path in listed_checkpoints(folder)[0]:
                yield Place(path, FILE, folder.name or str(folder))
        for folder in folders_in(self.trained):
            for path in listed_checkpoints(folder)[0]:
                yield Place(path, TRAINED, folder.name)
        for path in self.uploads.checkpoints():
            yield Place(path, UPLOAD, "upload")

    def _open(self, path: Path, name: str, given: str, group: str | None) -> Checkpoint:
        """With `group`, or the operator's for files of the operator's folders that have it."""
        rename = {} if given == DEMO_FILE else self.options.renames
        opened = open_checkpoint(path, name=name, choice=Choice(recognise=recognise, rename=rename))
        asked = None if given in (DEMO_FILE, UPLOAD) else Choice(self.options.groups).group_of(path)
        if group is not None or asked is None:
            return opened if group is None else opened.take(group)
        try:
            return opened.take(asked)
        except CheckpointError:
            if asked in self.options.groups:  # for files of all kinds: those without the group stay what they are
                return opened
            raise

    def _item(self, place: Place, group: str | None) -> Item:
        path, given, origin, made = place
        own = folder_name(path) if path.is_dir() else path.stem
        name = self.uploads.shown_name(path) if given == UPLOAD else f"{origin}/{own}" if given == TRAINED else own
        name = name if group is None else f"{name} ({typed(group)})"
        try:
            opened = self._opened.get((path, group))
            if opened is None or opened.checkpoint is None or not opened.checkpoint.is_current():
                checkpoint = self._open(path, name, given, group)
                made = made if made.about else made_by(checkpoint.metadata)
                opened = Item(name, origin, checkpoint, None, recognise(checkpoint.shapes), group, given, made)
                self._opened[path, group] = opened
            return opened
        except FusionError as problem:
            return Item(name, origin, None, problem, given=given)

    def _sources(self) -> Iterable[Source]:
        specs = [(spec, "folder") for spec in self.options.data]
        if self.options.demo:
            begun = manifest().get("begin_with_data")
            domains = [f"streets:{domain}:24" for domain in ("clear", "night", "fog", "rain", "snow")]
            specs += [(spec, "demo") for spec in dict.fromkeys(filter(None, (begun, *domains)))]
        if self.uploads.has_pictures():
            specs.append((f"pictures:{self.uploads.pictures}", "upload"))
        taken: set[str] = set()
        for spec, origin in specs:
            name = base = short_name(spec, origin)
            number = 2
            while name in taken:
                name, number = f"{base} ({number})", number + 1
            taken.add(name)
            try:
                parsed = parse_spec(spec)
                splits = (parsed.split,) if parsed.split else splits_of(spec)
                if not splits:  # one unnamed split, or nothing usable: opening tells which
                    open_dataset(spec)
                yield Source(name, spec, origin, splits)
            except FusionError as problem:
                yield Source(name, spec, origin, (), problem)


__all__ = ["DEMO", "Item", "Source", "Workspace"]
