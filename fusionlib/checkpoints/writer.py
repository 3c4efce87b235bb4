"""Writing safetensors atomically, tensor by tensor, in constant memory."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from fusionlib.atomic import AtomicFile
from fusionlib.checkpoints.safetensors_format import DTYPE_NAMES, MAX_HEADER_BYTES
from fusionlib.errors import CheckpointError, WriteError

EntrySpec = tuple[str, torch.dtype, tuple[int, ...]]
"""Name, dtype and shape of a tensor to come."""


class SafetensorsWriter:
    """Context manager that writes `entries` in their order to a temporary file, then puts it in place of `path`.

    The header lists tensors in the declared order, which is how a reader learns the registration order; the bytes lie
    by falling element size, so that every tensor is aligned. Equal entries, metadata and tensors give equal files.

    Until the block ends without an error the old file, if any, stays; see `AtomicFile`.

    Raises: `WriteError`, before anything is written, for a missing folder, a folder as target or too little room, later
    for a full disk; `CheckpointError`, before, for names that repeat or dtypes that the format lacks, later for a wrong
    order, dtype, shape or byte count.
    """

    def __init__(
        self, path: Path | str, entries: Sequence[EntrySpec], metadata: Mapping[str, str] | None = None
    ) -> None:
        self.path = Path(path)
        self._entries = [(name, dtype, tuple(shape)) for name, dtype, shape in entries]
        self._file = AtomicFile(self.path)
        _check_entries(self.path.name, self._entries)
        self._header, self._offsets, self._size = _plan(
            self._entries, _checked_metadata(self.path.name, metadata or {})
        )
        if len(self._header) - 8 > MAX_HEADER_BYTES:
            raise _refused(
                self.path.name,
                f"a header of {len(self._header)} bytes",
                f"at most {MAX_HEADER_BYTES}",
                "Write less metadata",
            )
        free = shutil.disk_usage(self._file.path.parent).free
        if free < self._size:
            raise WriteError(
                f"{self.path.name} cannot be written: got {free} bytes free",
                f"{self._size} bytes",
                "Make room or choose another folder",
            )
        self._open: ExitStack | None = None
        self._at = 0
        self._done = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._file).write(self._header)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._open is not None
        opened, self._open = self._open, None
        if kind is not None:
            opened.__exit__(kind, problem, trace)
            return
        with opened:
            self._require_complete()

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Write the next tensor whole; its name, dtype and shape must be the declared ones. Any device, any strides."""
        self._skip_empty(name)
        expected, _, shape = self._current(f"tensor {name!r}")
        if name != expected or self._done:
            want = f"the rest of tensor {expected!r}" if self._done else f"tensor {expected!r}"
            raise _refused(self.path.name, f"tensor {name!r}", want, "Write the tensors in the declared order")
        if tuple(tensor.shape) != shape:
            raise _refused(
                self.path.name,
                f"tensor {name!r} of shape {tuple(tensor.shape)}",
                f"shape {shape}",
                "Declare the shape that is written",
            )
        self._add(tensor)

    def append(self, chunk: torch.Tensor) -> None:
        """Write the next elements of the current tensor, from a 1-D `chunk` of its dtype that does not cross its
        end.
        """
        if chunk.dim() != 1:
            raise _refused(self.path.name, f"a chunk of {chunk.dim()} dimensions", "1-D chunks", "Flatten it")
        if chunk.numel():
            self._skip_empty(None)
            self._add(chunk)

    def _add(self, values: torch.Tensor) -> None:
        name, dtype, shape = self._current("more elements")
        total = math.prod(shape)
        if values.dtype != dtype:
            raise _refused(self.path.name, f"{values.dtype} for tensor {name!r}", str(dtype), "Cast it first")
        if self._done + values.numel() > total:
            raise _refused(
                self.path.name,
                f"{self._done + values.numel()} elements for tensor {name!r}",
                f"{total}",
                "Split the chunks at the ends of tensors",
            )
        flat = values.detach().to("cpu").resolve_neg().contiguous().reshape(-1)
        self._file.write(flat.view(torch.uint8).numpy().data, self._offsets[self._at] + self._done * dtype.itemsize)
        self._done += values.numel()
        if self._done == total:
            self._at, self._done = self._at + 1, 0

    def _current(self, got: str) -> EntrySpec:
        if self._open is None:
            raise _refused(
                self.path.name, f"{got} outside of the with block", "an open writer", "Use it in a with block"
            )
        if self._at == len(self._entries):
            raise _refused(self.path.name, f"{got} after the last tensor", "nothing more", "Declare every tensor")
        return self._entries[self._at]

    def _skip_empty(self, wanted: str | None) -> None:
        """Tensors without elements need no call of their own."""
        while self._at < len(self._entries) and not self._done:
            name, _, shape = self._entries[self._at]
            if name == wanted or math.prod(shape):
                return
            self._at += 1

    def _require_complete(self) -> None:
        self._skip_empty(None)
        if self._at < len(self._entries):
            raise _refused(
                self.path.name,
                f"an end before tensor {self._entries[self._at][0]!r} was complete",
                f"all {len(self._entries)} tensors",
                "Write every declared tensor",
            )


def save_tensors(
    path: Path | str, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write `tensors` in their order, with the guarantees of `SafetensorsWriter`."""
    entries = [(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()]
    with SafetensorsWriter(path, entries, metadata) as writer:
        for name, tensor in tensors.items():
            writer.write(name, tensor)


def _plan(entries: Sequence[EntrySpec], metadata: Mapping[str, str]) -> tuple[bytes, list[int], int]:
    """The padded header with its length, each tensor's offset in the file, and the file's size."""
    begins, position = [0] * len(entries), 0
    for index in sorted(range(len(entries)), key=lambda item: -entries[item][1].itemsize):
        _, dtype, shape = entries[index]
        begins[index] = position
        position += math.prod(shape) * dtype.itemsize
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    for (name, dtype, shape), begin in zip(entries, begins, strict=True):
        end = begin + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    return len(text).to_bytes(8, "little") + text, [start + begin for begin in begins], start + position


def _check_entries(file: str, entries: Sequence[EntrySpec]) -> None:
    seen: set[str] = set()
    for name, dtype, _ in entries:
        if name in seen or name == "__metadata__":
            raise _refused(file, f"tensor name {name!r} twice or reserved", "different names", "Rename the tensor")
        if dtype not in DTYPE_NAMES:
            raise _refused(
                file, f"tensor {name!r} of {dtype}", f"one of {', '.join(DTYPE_NAMES.values())}", "Cast it first"
            )
        seen.add(name)
    if not entries:
        raise _refused(file, "zero tensors", "at least one", "Choose what to write")


def _checked_metadata(file: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise _refused(file, f"metadata {key!r} of type {type(value).__name__}", "texts", "Turn it into JSON text")
    return metadata


def _refused(file: str, got: str, needs: str, do: str) -> CheckpointError:
    return CheckpointError(f"{file} cannot be written: got {got}", needs, do)
