"""Opening checkpoints of any supported format as named tensors with a fingerprint."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import torch

from fusionlib.checkpoints.archives import ZIP_MAGIC
from fusionlib.checkpoints.exported import load_exported
from fusionlib.checkpoints.groups import Choice, Naming, Shapes, agreed, name_tensors
from fusionlib.checkpoints.hub_folder import IN_METADATA, HubFolder, hub_folder, of_metadata
from fusionlib.checkpoints.pickled import PICKLE_MAGIC, load_pickled
from fusionlib.checkpoints.posterior import PosteriorFile, posterior_of, split
from fusionlib.checkpoints.safetensors_format import SafetensorsFile
from fusionlib.checkpoints.sharded import INDEX_ENDING, find_index, open_shards, read_index
from fusionlib.checkpoints.snapshot import Snapshot, combined_fingerprint
from fusionlib.checkpoints.spelled import Spelled, spelling_of
from fusionlib.checkpoints.stored import Held, Readable, Stored
from fusionlib.contracts import Description, TensorShapes
from fusionlib.errors import CheckpointError, shown

RUNNING_STATISTICS = ("running_mean", "running_var")

SORTED_NOTE = "the file lists its tensors by dtype and name, not in the network's order"
"""The note of a checkpoint whose file does not tell in which order the network registered its tensors."""

_CHUNK = 2**20
_OTHER_CONTENT = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}


@dataclass(frozen=True)
class TensorInfo:
    """Name, shape and dtype of one tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def numel(self) -> int:
        """Number of elements; 1 for a tensor without dimensions."""
        return math.prod(self.shape)


@dataclass(eq=False)
class Checkpoint:
    """A file or folder of named tensors as it was when opened. No numbers are read until `read`; `name` is for display
    and may be changed.

    `tensors` has the cleaned names in the file's order. For `torch.save` this is the order in which the network
    registered them. For safetensors it is the order of the header: the registration order where this library wrote the
    file, the order of dtype and name where the safetensors package did (it sorts), which `notes` then says.
    """

    path: Path
    name: str
    tensors: Mapping[str, TensorInfo]
    notes: tuple[str, ...]
    size_bytes: int
    metadata: Mapping[str, str] = field(repr=False)
    _files: tuple[Snapshot, ...] = field(repr=False)
    _stored: Mapping[str, Readable] = field(repr=False)
    _index: Snapshot | None = field(default=None, repr=False)
    naming: Naming = field(default_factory=lambda: Naming({}), repr=False)
    spelled: Spelled | None = field(default=None, repr=False)
    description: Description | None = field(default=None, repr=False)
    posterior: PosteriorFile | None = field(default=None, repr=False)
    _shapes: Shapes = field(default_factory=dict, repr=False)
    _take: Callable[[str], Checkpoint] | None = field(default=None, repr=False)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the content as 64 hexadecimal digits: the one pass over all bytes, made at the first use.

        A group that is not the file's own choice (`fusionlib.checkpoints.groups`) has another one.

        Raises: `CheckpointError` where the file is no longer the one that was opened.
        """
        single = len(self._files) == 1 and self._files[0].path == self.path
        return self.naming.fingerprint(self._files[0].fingerprint if single else combined_fingerprint(self._files))

    @property
    def hashed(self) -> bool:
        """Whether `fingerprint` is known, so that asking for it costs nothing."""
        return "fingerprint" in self.__dict__

    def verify(self) -> None:
        """Raises `CheckpointError` where the content is no longer that of `fingerprint`.

        Every read does so by itself.
        """
        for file in self._files:
            file.verify()

    def is_current(self) -> bool:
        """Whether opening it again would find the same files, untouched."""
        return all(file.is_at_its_path() for file in (*self._files, *((self._index,) if self._index else ())))

    @property
    def parameters(self) -> int:
        """Number of floating elements that are not running statistics of a normalisation."""
        return sum(
            info.numel
            for info in self.tensors.values()
            if info.dtype.is_floating_point and not info.name.endswith(RUNNING_STATISTICS)
        )

    @property
    def shapes(self) -> TensorShapes:
        """Shape by name, and what is said of them: what architectures are recognised by."""
        return TensorShapes({name: info.shape for name, info in self.tensors.items()}, self.description)

    @cached_property
    def dtypes(self) -> frozenset[tuple[str, str]]:
        """Names of all tensors, each with its dtype."""
        return frozenset((name, str(info.dtype)) for name, info in self.tensors.items())

    def read(self, name: str) -> torch.Tensor:
        """Tensor `name` on the CPU, contiguous. Callers must not change it.

        Raises: `CheckpointError` where there is none of that name, or where the file was changed since it was opened.
        """
        info = self._info(name)
        return self.piece(name, 0, info.numel).reshape(info.shape)

    def piece(self, name: str, start: int, stop: int, out: torch.Tensor | None = None) -> torch.Tensor:
        """Elements `start` to `stop` of tensor `name` in row-major order, 1-D; into `out` (as many, contiguous) where
        it is given.

        Raises: as `read`.
        """
        self._info(name)
        return self._stored[name].piece(start, stop, out)

    def _info(self, name: str) -> TensorInfo:
        if name not in self.tensors:
            raise CheckpointError(
                f"{self.path.name} has no tensor {name!r}",
                "a name listed for this checkpoint",
                "Compare the checkpoints first",
            )
        return self.tensors[name]

    def take(self, group: str) -> Checkpoint:
        """The same file with the tensors of another group. Raises `CheckpointError` where it has none of that name."""
        if self._take is None:
            raise CheckpointError(f"{self.name} is in no file", "an opened checkpoint", "Open it")
        return self._take(group)


def open_checkpoint(
    path: Path | str, *, name: str | None = None, limit_bytes: int | None = None, choice: Choice | None = None
) -> Checkpoint:
    """Open a `.safetensors`, `.pth`, `.pt`, `.bin` or `.ckpt` file, a folder of Hugging Face (or of its cache), or a
    folder or index of safetensors shards.

    The content decides between safetensors and torch.save, not the ending. `limit_bytes` bounds the size on disk,
    before any reading. `choice` says which tensors to take where a file holds several networks.

    Raises: `CheckpointError` naming the file, and the tensor where there is one.
    """
    path, choice = Path(path), choice or Choice()
    try:
        return _assemble(_found_at(path, name, limit_bytes), choice)
    except OSError as problem:
        raise CheckpointError(
            f"{path.name} cannot be opened: {problem.strerror or problem}",
            "a readable checkpoint",
            "Check the path and that you may read it",
        ) from problem


def _found_at(path: Path, name: str | None, limit: int | None) -> _Found:
    if path.is_dir():
        if (folder := hub_folder(path)) is not None:
            return _in_hub_folder(path, folder, name or folder.name, limit)
        return _in_shards(path, find_index(path), name or path.name or path.resolve().name, limit)
    if path.name.lower().endswith(INDEX_ENDING):
        return _in_shards(path, path, name or _folder_name(path), limit)
    return _in_file(path, name or path.stem, limit)


def open_checkpoints(
    paths: Iterable[Path | str], *, limit_bytes: int | None = None, choice: Choice | None = None
) -> list[Checkpoint]:
    """Open several; where file stems collide, the folder's name is put before them, then a number behind.

    Where neither `choice` nor the names decide between the groups of a file, the other files do.
    """
    opened = in_agreement([open_checkpoint(path, limit_bytes=limit_bytes, choice=choice) for path in paths])
    stems = [item.name for item in opened]
    taken: set[str] = set()
    for item in opened:
        base = f"{_folder_name(item.path)}/{item.name}" if stems.count(item.name) > 1 else item.name
        name, number = base, 2
        while name in taken:
            name, number = f"{base} ({number})", number + 1
        item.name = name
        taken.add(name)
    return opened


def in_agreement(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The same, each with the group of its tensors that fits one of the others where it fits none as it is."""
    groups = agreed([(item._shapes, item.naming) for item in checkpoints])
    return [
        item if group is None or item.naming.group is not None else item.take(group)
        for item, group in zip(checkpoints, groups, strict=True)
    ]


@dataclass(frozen=True)
class NotFinite:
    """A tensor with values that are no numbers: how many are NaN, how many infinite."""

    name: str
    nan: int
    inf: int

    def __str__(self) -> str:
        return f"tensor {self.name!r} has {self.nan} NaN and {self.inf} infinite values"


def check_finite(checkpoint: Checkpoint) -> list[NotFinite]:
    """Every floating tensor that holds NaN or infinity. Reads all bytes, a mebi-element at a time."""
    problems = []
    for name, info in checkpoint.tensors.items():
        if not info.dtype.is_floating_point:
            continue
        nan = inf = 0
        for start in range(0, info.numel, _CHUNK):
            chunk = checkpoint.piece(name, start, min(start + _CHUNK, info.numel))
            values = chunk.float() if info.dtype.itemsize == 1 else chunk
            if not torch.isfinite(values).all():
                nan, inf = nan + int(values.isnan().sum()), inf + int(values.isinf().sum())
        if nan or inf:
            problems.append(NotFinite(name, nan, inf))
    return problems


def _folder_name(path: Path) -> str:
    """Of the folder as it was named: a link may lead to one whose name says nothing."""
    return Path(os.path.abspath(path)).parent.name


@dataclass(frozen=True)
class _Found:
    """What lies in the files of a checkpoint, under the names that it has there."""

    path: Path
    name: str
    files: tuple[Snapshot, ...]
    size: int
    stored: Mapping[str, Stored | Held]
    notes: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    index: Snapshot | None = None
    description: Description | None = None
    further: Mapping[str, Stored | Held] = field(default_factory=dict)


def _in_file(path: Path, name: str, limit: int | None) -> _Found:
    file = Snapshot(path)
    size = _check_size(path.name, [file], limit)
    if _format_of(file) == "safetensors":
        opened = SafetensorsFile(file)
        stored, further = split({key: opened.stored(key) for key in opened.entries}, opened.metadata)
        said = of_metadata(opened.metadata.get(IN_METADATA, ""))
        notes = _order_note(opened)
        return _Found(path, name, (file,), size, stored, notes, opened.metadata, description=said, further=further)
    exported = load_exported(file) if file.read(len(ZIP_MAGIC), 0) == ZIP_MAGIC else None
    return _Found(path, name, (file,), size, *(exported or load_pickled(file)))


def _in_shards(path: Path, index: Path, name: str, limit: int | None) -> _Found:
    listing = Snapshot(index)
    weight_map, paths = read_index(listing)
    files = tuple(Snapshot(shard) for shard in paths)
    size = _check_size(index.name, files, limit)
    stored = {key: shard.stored(key) for key, shard in open_shards(index, weight_map, files).items()}
    return _Found(path, name, files, size, stored, (f"{len(files)} shards listed in {index.name}",), index=listing)


def _in_hub_folder(path: Path, folder: HubFolder, name: str, limit: int | None) -> _Found:
    sharded = folder.weights.name.endswith(INDEX_ENDING)
    found = _in_shards(path, folder.weights, name, limit) if sharded else _in_file(folder.weights, name, limit)
    files, notes = (*found.files, *folder.described), (folder.note, *found.notes)
    return replace(found, path=path, files=files, notes=notes, description=folder.description)


def _assemble(found: _Found, choice: Choice) -> Checkpoint:
    """Take the network's tensors, clean their names and check what is left."""
    path = found.path
    if not found.stored:
        raise CheckpointError(
            f"{path.name} has zero tensors",
            "a file with a network's tensors",
            "Save model.state_dict() where the file was made",
        )
    shapes = {long: item.shape for long, item in found.stored.items()}
    naming = _naming(found, shapes, choice)
    clean = naming.clean
    if len(set(clean.values())) != len(clean):
        doubled = sorted(item for item, count in Counter(clean.values()).items() if count > 1)
        raise CheckpointError(
            f"{path.name}: {len(doubled)} names are double once prefixes are removed: {doubled[0]!r}",
            "one tensor for each name",
            "Save only the network's own state dict",
        )
    cleaned, notes = {short: found.stored[long] for long, short in clean.items()}, found.notes
    stored: Mapping[str, Readable] = cleaned
    spelled = spelling_of(TensorShapes({short: item.shape for short, item in cleaned.items()}, found.description))
    if spelled is not None:
        stored, notes = spelled.opened(cleaned), (*notes, spelled.note)
    tensors = {short: TensorInfo(short, item.shape, item.dtype) for short, item in stored.items()}
    posterior = posterior_of(path.name, found.metadata, found.further, clean, stored) if found.further else None
    if posterior is not None:
        notes = (*notes, f"the mean of a posterior ({shown(posterior.kind)}), {posterior.tensors} tensors beside it")

    def take(group: str) -> Checkpoint:
        return _assemble(found, replace(choice, groups=(group,)))

    return Checkpoint(
        path,
        found.name,
        MappingProxyType(tensors),
        (*notes, *naming.notes),
        found.size,
        found.metadata,
        found.files,
        stored,
        found.index,
        naming,
        spelled,
        found.description,
        posterior,
        shapes,
        take,
    )


def _naming(found: _Found, shapes: Shapes, choice: Choice) -> Naming:
    """Names in folders of Hugging Face are those of one network, whatever they begin with, unless somebody knows
    better.
    """
    group = choice.group_of(found.path)
    if found.description is not None and group is None and not choice.rename:
        return Naming({name: name for name in shapes})
    return name_tensors(found.path.name, shapes, group, choice.recognise, choice.rename)


def _check_size(file: str, files: Sequence[Snapshot], limit: int | None) -> int:
    size = sum(item.size for item in files)
    if limit is not None and size > limit:
        raise CheckpointError(
            f"{file} has {size} bytes",
            f"at most {limit} bytes",
            "Raise the limit, or save without the optimizer's state",
        )
    return size


def _format_of(file: Snapshot) -> str:
    path, start = file.path, file.read(min(32, file.size), 0)
    if not start:
        raise CheckpointError(f"{path.name} is empty", "a complete checkpoint file", "Copy or download it again")
    # No archive and no pickle has a brace at byte 8, where the header of safetensors starts.
    if start[8:9] == b"{":
        return "safetensors"
    other = next((what for magic, what in _OTHER_CONTENT.items() if start.startswith(magic)), None)
    if not other and path.suffix.lower() == ".safetensors":
        if start.startswith(ZIP_MAGIC):  # torch.load goes by this ending, so it cannot be asked to read the file
            raise CheckpointError(
                f"{path.name} was written by torch.save, not as safetensors",
                "an ending that fits",
                f"Rename it to {path.stem}.pth",
            )
        return "safetensors"
    if not other and path.suffix == ".distcp":
        other = "a part of a checkpoint of torch.distributed, whose folder is to be converted"
    if not other and start.startswith((ZIP_MAGIC, PICKLE_MAGIC)):
        return "pickle"
    raise CheckpointError(
        f"{path.name} is {other or 'not a checkpoint'}",
        "a file written by torch.save or as safetensors",
        "Choose the file with the network's weights",
    )


def _order_note(opened: SafetensorsFile) -> tuple[str, ...]:
    names = list(opened.entries)
    if len(names) > 2 and names == sorted(names, key=lambda key: (-opened.entries[key].dtype.itemsize, key)):
        return (SORTED_NOTE,)
    return ()
