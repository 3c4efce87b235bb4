"""JSON files that are one long list, entry by entry: gigabytes of annotations are never in memory as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from fusionlib.errors import DataError, clipped

_CHUNK = 1 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def entries(path: Path, limit_bytes: int, largest: int, needs: str) -> Iterator[Any]:
    """The entries of the list in a file of at most `limit_bytes`, none of them longer than `largest` characters.

    Raises `DataError` that names the file and how many entries were read before.
    """
    number = 0
    try:
        if (size := path.stat().st_size) > limit_bytes:
            raise ValueError(f"{size >> 20} MB, and at most {limit_bytes >> 20} are read")
        with path.open(encoding="utf-8-sig") as file:
            text = _Text(file, largest)
            ahead = text.after("[")
            while ahead != "]":
                yield text.value()
                number += 1
                ahead = text.ahead()
                if ahead != "]":
                    text.after(",")
    except (OSError, ValueError, RecursionError) as problem:
        told = f"{type(problem).__name__} behind {number} entries: {clipped(str(problem), 200)}"
        raise DataError(f"{path} cannot be read ({told})", needs, "Replace it, or take it away") from problem


class _Text:
    """A text of which a piece is in memory: what follows `place`. Raises `ValueError` for what is no JSON."""

    def __init__(self, file: TextIO, largest: int) -> None:
        self.file, self.largest = file, largest
        self.text, self.place = "", 0

    def ahead(self) -> str:
        """The next character behind spaces, empty at the end."""
        while (place := _SPACE.match(self.text, self.place).end()) == len(self.text):  # type: ignore[union-attr]
            self.text, self.place = self.file.read(_CHUNK), 0
            if not self.text:
                return ""
        self.place = place
        return self.text[place]

    def after(self, wanted: str) -> str:
        """The next character behind the one that is wanted here."""
        if (found := self.ahead()) != wanted:
            raise ValueError(f"{wanted!r} expected, not {found!r}")
        self.place += 1
        return self.ahead()

    def value(self) -> Any:
        """The value here. A piece that ends within it is doubled, so that it is read in linear time."""
        while True:
            try:
                found, self.place = _DECODER.raw_decode(self.text, self.place)
                return found
            except json.JSONDecodeError:
                rest = self.text[self.place :]
                if len(rest) > self.largest:
                    raise ValueError(f"an entry of more than {self.largest} characters, or one that is none") from None
                more = self.file.read(max(_CHUNK, len(rest)))
                if not more:
                    raise
                self.text, self.place = rest + more, 0
