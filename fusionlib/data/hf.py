"""Folders of the `datasets` library (Hugging Face): what `save_to_disk` writes, Parquet files, or folders of pictures
with a `metadata.jsonl`.

One column holds pictures, another masks as PNG, both embedded in the table or, in folders, named by it. What ids mean
is said by `classes.yaml` (see `fusionlib.data.classes_file`) or `id2label.json` beside the data; in the latter 255 is
void, and so are classes called unlabeled, void or ignore. Where nothing holds masks, the pictures are there to look at.
Nothing in the folder is run and nothing is fetched.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from fusionlib.contracts import DATASETS, Dataset
from fusionlib.data.classes_file import Declaration, read_classes
from fusionlib.data.files import existing_folder, picture_size
from fusionlib.data.folder import CLASSES_FILE
from fusionlib.data.hf_shards import Shard, cells, columns_of, open_shard
from fusionlib.data.labels import LabelSpace, spread_palette
from fusionlib.data.masks import Legend, id_table
from fusionlib.data.packed import PictureFile
from fusionlib.data.pairs import Pair, PairedDataset, checked
from fusionlib.data.pictures import Pictures
from fusionlib.data.plain_json import read_json
from fusionlib.errors import DataError, clipped, printable, shown
from fusionlib.listing import list_folder

_NEEDS = (
    "DIR/SPLIT/*.arrow (save_to_disk), DIR/data/SPLIT-*.parquet, or DIR/SPLIT/metadata.jsonl; and id2label.json or"
    " classes.yaml"
)
_PICTURES = ("image", "pixel_values", "img", "picture")
_MASKS = ("label", "annotation", "mask", "labels", "annotations", "semantic_segmentation", "segmentation", "seg_map")
_NO_CLASS = ("unlabeled", "unlabelled", "void", "ignore", "ignored")
_SPLIT = re.compile(r"(?:.*[-_])?(?P<split>[A-Za-z]\w*?)(?:-\d{5}-of-\d{5}.*)?\.(?:parquet|arrow)")
_LARGEST_LIST, _LONGEST_LINE, _MOST_FILES = 64 << 20, 1 << 20, 10_000
_DEFAULTS = ("validation", "val", "test")

Found = Mapping[str, tuple[Path, ...]]
"""Shards, or the one list, of each split; the split is empty where there is but one."""


class _Row(NamedTuple):
    """A picture and its mask, where there are masks."""

    image: PictureFile
    mask: PictureFile | None
    name: str


class HFDataset:
    """Pictures and masks in tables."""

    title = "Folder of the datasets library: Arrow, Parquet or pictures with metadata.jsonl"
    usage = "hf:DIR[@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """Those that the files are named after."""
        return tuple(split for split in _found(existing_folder(argument)) if split)

    def open(self, argument: str, split: str | None) -> Dataset:
        """One split, by default the validation one. Raises `DataError` that names the file and the row."""
        root = existing_folder(argument)
        found = _found(root)
        if not found:
            raise DataError(f"No tables in {root}", _NEEDS, "Correct the path")
        chosen = split or next((one for one in (*_DEFAULTS, *found) if one in found), "")
        if chosen not in found:
            there = ", ".join(one for one in found if one) or "none"
            raise DataError(f"No split {shown(chosen)} in {argument}, which has {there}", _NEEDS, "Correct the split")
        spec = f"hf:{argument}" + (f"@{chosen}" if chosen else "")
        title, files = f"{root.resolve().name} {chosen}".strip(), found[chosen]
        if files[0].name.startswith("metadata."):
            rows = _listed(files[0])
            named = f"{files[0].name} names no masks"
            return _paired(spec, title, rows, *_classes(root)) if rows[0].mask else _pictures(spec, title, rows, named)
        tables = _opened(files)
        if tables[0][1][1] is None:
            columns = f"No column of {_text(columns_of(tables[0][0]))} holds masks"
            return _pictures(spec, title, _rows(tables, chosen or "row"), columns)
        said = _classes(root)  # before pictures are read
        return _paired(spec, title, _rows(tables, chosen or "row"), *said)


def _paired(spec: str, title: str, rows: Sequence[_Row], said: Declaration, notes: tuple[str, ...]) -> PairedDataset:
    pairs = [Pair(row.image, row.mask, row.name) for row in rows if row.mask]
    found, turns = checked(pairs, said.legend, stored_first=said.stored_first)
    return PairedDataset(spec, title, said.space, found, said.legend, (*notes, *turns))


def _pictures(spec: str, title: str, rows: Sequence[_Row], why: str) -> Pictures:
    for row in rows:
        picture_size(row.image)
    files, names = tuple(row.image for row in rows), tuple(row.name for row in rows)
    return Pictures(spec, title, files, names=names, notes=(f"{why}, so nothing is measured",))


def _found(root: Path) -> Found:
    """The files of each split, whichever of the layouts it is."""
    return _saved(root) or _parquet(root) or _cached(root) or _folders(root)


def _saved(root: Path) -> Found:
    """`save_to_disk`: a folder with `state.json`, or a folder of those."""
    if (root / "state.json").is_file():
        return {"": _arrow(root)}
    return {path.name: _arrow(path) for path in list_folder(root, ()).folders if (path / "state.json").is_file()}


def _arrow(folder: Path) -> tuple[Path, ...]:
    """The files that `state.json` names, in its order. Raises `DataError` for a name that leads out of the folder."""
    content = read_json(folder / "state.json", 4 << 20, _NEEDS)
    entries = content.get("_data_files") if isinstance(content, dict) else None
    names = [one.get("filename") for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
    if (
        not names
        or len(names) > _MOST_FILES
        or not all(isinstance(one, str) and Path(one).name == one for one in names)
    ):
        raise DataError(f"{folder / 'state.json'} has the files {shown(names)}", "names of Arrow files", "Save it anew")
    return tuple(folder / str(name) for name in names)


def _parquet(root: Path) -> Found:
    """Parquet files by the split in their names, or of the folder that they lie in."""
    for folder in (root, root / "data"):
        if folder.is_dir() and (files := list_folder(folder, (".parquet",)).files):
            return _by_split(files)
    for folder in (root, root / "data", root / "default"):
        inner = list_folder(folder, ()).folders if folder.is_dir() else ()
        by_folder = {path.name: list_folder(path, (".parquet",)).files for path in inner}
        if any(by_folder.values()):
            return {name: files for name, files in by_folder.items() if files}
    return {}


def _cached(root: Path) -> Found:
    """Arrow files by the split in their names, as the cache has them."""
    return _by_split(
        tuple(path for path in list_folder(root, (".arrow",)).files if not path.name.startswith(("cache-", "tmp")))
    )


def _by_split(files: tuple[Path, ...]) -> Found:
    found: dict[str, tuple[Path, ...]] = {}
    for path in files[:_MOST_FILES]:
        match = _SPLIT.fullmatch(path.name)
        split = match["split"] if match else ""
        found[split] = (*found.get(split, ()), path)
    return found


def _folders(root: Path) -> Found:
    """Folders of pictures with a list."""
    if (root / "metadata.jsonl").is_file():
        return {"": (root / "metadata.jsonl",)}
    inner = list_folder(root, ()).folders
    return {path.name: (path / "metadata.jsonl",) for path in inner if (path / "metadata.jsonl").is_file()}


def _opened(files: Sequence[Path]) -> list[tuple[Shard, tuple[str, str | None]]]:
    """The shards with their columns of pictures and masks. Raises `DataError` where only some have masks."""
    tables = []
    for path in files:
        if not path.is_file():
            raise DataError(f"{path} is not there", "every file of the table", "Add it, or save the table anew")
        shard = open_shard(path)
        tables.append((shard, _columns(path, columns_of(shard))))
    odd = next((shard.path for shard, (_, mask) in tables if (mask is None) != (tables[0][1][1] is None)), None)
    if odd is not None:
        raise DataError(f"Of {files[0]} and {odd.name} only one has masks", "masks in all or none", "Save it anew")
    return tables


def _rows(tables: Sequence[tuple[Shard, tuple[str, str | None]]], split: str) -> list[_Row]:
    """The rows of some shards; numbered where two have the same name."""
    rows, numbers = [], (f"{split}-{number:06}" for number in itertools.count())
    for shard, columns in tables:
        for image, *mask in cells(shard, tuple(one for one in columns if one), numbers):
            rows.append(_Row(image, mask[0] if mask else None, image.name))
    if not rows:
        raise DataError(f"{tables[0][0].path} has no rows", "pictures", "Choose another split")
    if len({row.name for row in rows}) == len(rows):
        return rows
    return [row._replace(name=f"{split}-{number:06}") for number, row in enumerate(rows)]


def _columns(path: Path, kinds: Mapping[str, str]) -> tuple[str, str | None]:
    """The columns of pictures and of masks, none for a single column of pictures. Raises `DataError` that lists the
    columns.
    """
    pictures = [name for name, kind in kinds.items() if kind == "Image"]
    mask = next((name for name in _MASKS if name in pictures), None)
    image = next((name for name in _PICTURES if name in pictures), None)
    rest = [name for name in pictures if name not in (mask, image)]
    image = image or (rest[0] if mask and len(rest) == 1 else None)
    mask = mask or (rest[0] if image and len(rest) == 1 else None)
    if len(pictures) == 1 and mask is None:
        return pictures[0], None
    if image is None or mask is None:
        raise DataError(
            f"{path} has the columns {_text(kinds)}",
            f"a column of pictures ({', '.join(_PICTURES[:2])} ...) and one of masks ({', '.join(_MASKS[:3])} ...)",
            "Rename the columns, with masks as pictures",
        )
    return image, mask


def _text(kinds: Mapping[str, str]) -> str:
    return clipped(printable(", ".join(f"{name} ({kind})" for name, kind in kinds.items())), 400)


def _listed(path: Path) -> list[_Row]:
    """The rows that a `metadata.jsonl` lists. Raises `DataError` that names the line."""
    if path.stat().st_size > _LARGEST_LIST:
        raise DataError(f"{path} is larger than {_LARGEST_LIST >> 20} MB", "a list of files", "Replace it")
    with path.open("rb") as file:
        lines = [(number, line) for number, line in enumerate(file.read(_LARGEST_LIST).splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path} lists nothing", "a picture and its mask a line", "Choose another split")
    rows = [_row(path, number, line) for number, line in lines]
    odd = next((at for at, row in enumerate(rows) if (row.mask is None) != (rows[0].mask is None)), None)
    if odd is not None:
        raise DataError(
            f"Lines {lines[0][0]} and {lines[odd][0]} of {path}: only one has a mask",
            "masks in all or none",
            "Correct it",
        )
    return rows


def _row(path: Path, number: int, line: bytes) -> _Row:
    """The files that a line names, each seen to be there."""
    try:
        row = json.loads(line) if len(line) <= _LONGEST_LINE else f"{len(line)} bytes"
    except (ValueError, RecursionError):
        row = None
    names = {key: value for key, value in row.items() if key.endswith("file_name")} if isinstance(row, dict) else {}
    image = names.pop("file_name", None) or names.pop("image_file_name", None)
    if image is None or len(names) > 1:
        raise DataError(
            f"Line {number} of {path} has {shown(row)}",
            "file_name of the picture and one other, as label_file_name, of its mask",
            "Correct the list",
        )
    name = PurePosixPath(str(image)).with_suffix("").as_posix()
    found = _Row(_below(path, image), _below(path, next(iter(names.values()))) if names else None, name)
    for file, mate, noun in ((found.image, found.mask, "picture"), (found.mask, found.image, "mask")):
        if file is not None and not file.is_file():
            raise DataError(f"{mate or path} has no {noun}", str(file), f"Add the {noun}, or take line {number} out")
    return found


def _below(path: Path, name: Any) -> Path:
    """A file that a list names. Raises `DataError` for a name that leads out of its folder."""
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\0" in name:
        raise DataError(f"{path} names {shown(name)}", "files below its folder", "Correct the list")
    return path.parent / name


def _classes(root: Path) -> tuple[Declaration, tuple[str, ...]]:
    """What ids mean, and a remark on classes that are taken for void."""
    if (root / CLASSES_FILE).is_file():
        return read_classes(root / CLASSES_FILE), ()
    path = root / "id2label.json"
    content = read_json(path, 1 << 20, "id2label.json or classes.yaml, which say what the ids in the masks mean")
    try:
        names = {int(key): value for key, value in content.items()}
        ordered = sorted(number for number in names if names[number].casefold() not in _NO_CLASS)
        valid = 1 <= len(ordered) <= 255 and min(names) >= 0 and max(names) <= 255
    except (AttributeError, TypeError, ValueError):
        ordered, valid, names = [], False, {}
    if not valid:
        raise DataError(
            f"{path} has {shown(content)}", 'names of ids from 0 to 255, as {"0": "road", "1": "car"}', "Correct it"
        )
    void = sorted(set(names) - set(ordered))
    listed = tuple(names[number] for number in ordered)
    named = root.resolve().name
    space = LabelSpace(named, f"{named} ({len(listed)} classes)", listed, spread_palette(len(listed)))
    legend = Legend(id_table(ordered, {*void, 255} - set(ordered)), classes=len(listed))
    notes = tuple(f"Id {number} ({clipped(names[number], 40)}) is taken for void" for number in void)
    return Declaration(space, legend, False), notes


DATASETS.register("hf")(HFDataset())
