"""Tables of the `datasets` library in files: Arrow streams and Parquet, read batch by batch.

Nothing in them is run, and nothing is mapped into memory: a file that shrinks would end the process. What a file says
of its sizes is looked at before anything of that size is read.
"""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from fusionlib.data.packed import Packed
from fusionlib.errors import DataError, clipped, shown

LARGEST_BATCH, LARGEST_HEAD = 1 << 30, 16 << 20
MOST_ROWS = 1_000_000
_MAGIC, _CONTINUES = b"ARROW1\0\0", 0xFFFFFFFF
_SCHEMA, _BATCH = 1, 3


class Shard(ABC):
    """One file of a table: `rows` of each of its batches, of which the last one read is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity = identity(path)
        self._lock = threading.Lock()
        self._kept: tuple[int, Any] = (-1, None)

    @property
    @abstractmethod
    def rows(self) -> tuple[int, ...]:
        """How many rows each batch has."""

    @abstractmethod
    def schema(self) -> Any:
        """The columns, as pyarrow has them."""

    @abstractmethod
    def _read(self, batch: int, columns: tuple[str, ...]) -> Any:
        """The columns of one batch, as pyarrow has them."""

    def cell(self, batch: int, row: int, column: str, columns: tuple[str, ...]) -> Any:
        """The value of a cell; `columns` are those that are read with it. Raises `DataError` that names the file."""
        with self._lock:
            if self._kept[0] != batch:
                self._kept = (-1, None)  # before the next one takes its room
                self._kept = (batch, told(self.path, self._read, batch, columns))
            found = self._kept[1]
        return told(self.path, lambda: found.column(column)[row].as_py())


def open_shard(path: Path) -> Shard:
    """A shard by the ending of its file. Raises `DataError` that names a file that is none, or too large."""
    shard = told(path, ParquetShard if path.suffix == ".parquet" else ArrowShard, path)
    if sum(shard.rows) > MOST_ROWS:
        raise DataError(f"{path} has {sum(shard.rows)} rows", f"at most {MOST_ROWS}", "Choose other data")
    return shard


def told(path: Path, make: Any, *arguments: Any) -> Any:
    """What `make` gives; whatever goes wrong within a file from outside names the file."""
    try:
        return make(*arguments)
    except DataError:
        raise
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        MemoryError,
        struct.error,
        ArithmeticError,
    ) as problem:
        raise DataError(
            f"{path} cannot be read ({type(problem).__name__}: {clipped(str(problem), 200)})",
            "a whole Arrow or Parquet file of the datasets library",
            "Replace the file",
        ) from problem


class ArrowShard(Shard):
    """An Arrow stream, as `save_to_disk` and the cache write it, or a file of the same with its magic around."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._head = b""
        self._places: list[tuple[int, int, int]] = []
        """Offset, bytes and rows of each batch."""
        with path.open("rb") as file:
            for kind, offset, size, rows, head in _messages(path, file):
                if kind == _SCHEMA:
                    self._head = head
                elif kind == _BATCH:
                    self._places.append((offset, size, rows))
                else:
                    raise ValueError(f"a message of kind {kind}, where tables of pictures have batches alone")

    @property
    def rows(self) -> tuple[int, ...]:
        """As their headers say."""
        return tuple(rows for _, _, rows in self._places)

    def schema(self) -> Any:
        """As the first message says."""
        return self._schema

    @cached_property
    def _schema(self) -> Any:
        import pyarrow as pa

        return told(self.path, pa.ipc.read_schema, pa.py_buffer(self._head))

    def _read(self, batch: int, columns: tuple[str, ...]) -> Any:
        import pyarrow as pa

        offset, size, _ = self._places[batch]
        with self.path.open("rb") as file:
            file.seek(offset)
            message = pa.ipc.read_message(pa.py_buffer(file.read(size)))
        found = pa.ipc.read_record_batch(message, self._schema)
        found.validate(full=True)
        return found.select(list(columns))


class ParquetShard(Shard):
    """A Parquet file; its batches are its row groups."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        about = self._file().metadata
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        for group in groups:
            size = sum(group.column(place).total_uncompressed_size for place in range(group.num_columns))
            if max(size, group.total_byte_size) > LARGEST_BATCH:
                raise DataError(
                    f"{path} has a row group of {max(size, group.total_byte_size) >> 20} MB",
                    f"at most {LARGEST_BATCH >> 20} MB",
                    "Write it anew with smaller row groups",
                )
        self._rows = tuple(group.num_rows for group in groups)

    @property
    def rows(self) -> tuple[int, ...]:
        """As its footer says."""
        return self._rows

    def schema(self) -> Any:
        """As its footer says."""
        return self._file().schema_arrow

    def _file(self) -> Any:
        from pyarrow import parquet

        return parquet.ParquetFile(
            self.path,
            memory_map=False,
            thrift_string_size_limit=LARGEST_HEAD,
            thrift_container_size_limit=MOST_ROWS,
        )

    def _read(self, batch: int, columns: tuple[str, ...]) -> Any:
        found = self._file().read_row_group(batch, columns=list(columns), use_threads=False)
        found.validate(full=True)
        return found


class Cell(Packed):
    """A picture in a cell of a table."""

    def __init__(self, shard: Shard, place: tuple[int, int], column: str, columns: tuple[str, ...], name: str) -> None:
        self.shard, self.place, self.column, self.columns, self.name = shard, place, column, columns, name
        self.parent = shard.path.parent
        self._digest = hashlib.sha256(self.read()).hexdigest()

    def __str__(self) -> str:
        return f"{self.shard.path}: {self.column} of {self.name}"

    def read(self) -> bytes:
        """Its bytes. Raises `DataError` for a cell that only names a file: no such file is opened."""
        batch, row = self.place
        cell = self.shard.cell(batch, row, self.column, self.columns)
        content = cell.get("bytes") if isinstance(cell, Mapping) else cell
        if not isinstance(content, bytes):
            raise DataError(f"{self} holds {shown(cell)}", "the bytes of a picture", "Embed the pictures in the table")
        return content

    def digest(self) -> str:
        """SHA-256 of its bytes, and where the table has changed since, of when."""
        try:
            now = identity(self.shard.path)
        except OSError as problem:
            raise DataError(
                f"{self.shard.path} is gone ({problem.strerror})", "the file as it was", "Put it back"
            ) from problem
        return self._digest if now == self.shard.identity else f"{self._digest} {now}"


def cells(shard: Shard, columns: tuple[str, ...], names: Iterator[str]) -> list[tuple[Cell, ...]]:
    """The pictures of each row, one of each column; called by the path that the first one has, if any."""
    found = []
    for batch, count in enumerate(shard.rows):
        for row in range(count):
            first = shard.cell(batch, row, columns[0], columns)
            path = first.get("path") if isinstance(first, Mapping) else None
            spare = next(names)
            name = PurePosixPath(path).stem[:100] if isinstance(path, str) and path else spare
            found.append(tuple(Cell(shard, (batch, row), column, columns, name or spare) for column in columns))
    return found


def columns_of(shard: Shard) -> dict[str, str]:
    """The same as `features`. Raises `DataError` that names the file."""
    return told(shard.path, lambda: features(shard.schema()))


def features(schema: Any) -> dict[str, str]:
    """Type of each column by what the library wrote into the schema, `Image` for pictures; structs with bytes are
    pictures too.
    """
    found: dict[str, str] = {}
    for field in schema:
        kind = str(field.type)
        found[field.name] = "Image" if kind.startswith("struct<") and "bytes: " in kind else kind
    try:
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        found |= {name: str(about.get("_type")) for name, about in said.items() if name in found}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # it is only a hint
        pass
    return found


def identity(path: Path) -> tuple[int, ...]:
    """What is another for another content."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


# --- the frame of an Arrow stream -----------------------------------------------------------------------------------


def _messages(path: Path, file: BinaryIO) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Kind, offset, bytes, rows and head of each message (Arrow columnar format, "Encapsulated message format").

    Heads alone are read, and looked at with care: bodies must lie in the file and be stored as they are, for a
    compressed one may unpack to anything.
    """
    length = path.stat().st_size
    file.seek(len(_MAGIC) if file.read(len(_MAGIC)) == _MAGIC else 0)
    while len(prefix := file.read(8)) == 8:
        offset = file.tell() - 8
        continues, size = struct.unpack("<II", prefix)
        if continues != _CONTINUES:
            raise ValueError("no Arrow stream")
        if size == 0:
            return
        if size > LARGEST_HEAD:
            raise ValueError(f"a head of {size >> 20} MB")
        head = file.read(size)
        kind, body, rows, compressed = _about(head)
        end = offset + 8 + size + body
        if not 0 <= body <= LARGEST_BATCH or end > length or rows < 0:
            raise ValueError(f"a batch of {body} bytes, {rows} rows")
        if compressed:
            raise ValueError("compressed batches")
        yield kind, offset, end - offset, rows, prefix + head
        file.seek(end)


def _about(head: bytes) -> tuple[int, int, int, bool]:
    """Kind, bytes of the body, rows and whether it is compressed, of a flatbuffer `Message`."""
    message = _integer(head, "<I", 0)
    kind = _field(head, message, 1)
    body = _field(head, message, 3)
    number = _integer(head, "<B", kind) if kind else 0
    size = _integer(head, "<q", body) if body else 0
    if number != _BATCH:
        return number, size, 0, False
    place = _field(head, message, 2)
    batch = place + _integer(head, "<I", place)
    rows = _field(head, batch, 0)
    return number, size, _integer(head, "<q", rows) if rows else 0, _field(head, batch, 3) != 0


def _field(head: bytes, table: int, number: int) -> int:
    """Where a field of a flatbuffer table lies; 0 where it has none."""
    fields = table - _integer(head, "<i", table)
    if 4 + 2 * number >= _integer(head, "<H", fields):
        return 0
    offset = _integer(head, "<H", fields + 4 + 2 * number)
    return table + offset if offset else 0


def _integer(head: bytes, form: str, place: int) -> int:
    if place < 0:
        raise ValueError("no Arrow message")
    return struct.unpack_from(form, head, place)[0]
