"""Pictures within larger files, to be read as files of their own."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from pathlib import Path
from typing import BinaryIO, TypeAlias


class Packed(ABC):
    """A picture file that lies in another: as much of a path as readers of pictures ask for."""

    name: str
    parent: Path
    """Where the file lies that it is in."""

    @property
    def stem(self) -> str:
        """Its name: what it is in says the type."""
        return self.name

    def is_file(self) -> bool:
        """Whether it can be opened."""
        return True

    def open(self, mode: str = "rb") -> BinaryIO:
        """Its bytes, to be read. Raises `OSError` where they cannot be."""
        return io.BytesIO(self.read())

    @abstractmethod
    def read(self) -> bytes:
        """All its bytes. Raises `OSError` where they cannot be read."""

    @abstractmethod
    def digest(self) -> str:
        """Of its content: another one where the file that it is in has changed."""


PictureFile: TypeAlias = Path | Packed
