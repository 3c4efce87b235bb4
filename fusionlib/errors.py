"""Errors that say what was found, what is needed and what to do about it."""

from __future__ import annotations

import unicodedata
from reprlib import Repr

LONGEST = 2000
"""Characters of one part of a message: names and values in it come from files, which may hold anything."""


def printable(text: str) -> str:
    r"""`text` as a terminal may show it: control characters, marks of writing direction and halves of surrogates as
    `\x1b`, `\u202e`.
    """
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in _HIDDEN else c for c in text)


_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


class _Short(Repr):
    """`repr` that looks at the beginning of a value only: nested aliases of a few hundred bytes spell out to
    gigabytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 2, limit, limit

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write numbers of thousands of digits."""
        return repr(x) if x.bit_length() < 256 else f"a number of {x.bit_length()} bits"


def shown(value: object, limit: int = 80) -> str:
    """`repr(value)`, at most `limit` characters of it, whatever the value: how a value of a user or a file gets into a
    message.
    """
    return clipped(_Short(limit).repr(value), limit)


def clipped(text: str, limit: int) -> str:
    """`text`, with an ellipsis at its end where it is longer than `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


class FusionError(ValueError):
    """A problem that the user can act on: `got` what, `needs` what, `do` what.

    The three parts stay separate so that the app can set them in three lines and the CLI in one. What was found and
    what is needed are cut to `LONGEST` characters each.
    """

    changed = False
    """Whether a file is no longer what was opened: looking at the folders again mends it."""

    def __init__(self, got: str, needs: str, do: str) -> None:
        self.got, self.needs = clipped(got.rstrip("."), LONGEST), clipped(needs.rstrip("."), LONGEST)
        self.do = do.rstrip(".")  # may be a command to copy, which must be whole
        super().__init__(f"{self.got}. Needs: {self.needs}. {self.do}.")

    @property
    def one_line(self) -> str:
        """The same for a terminal: without line breaks or anything that would move or hide what it shows."""
        return printable(" ".join(str(self).split()))


class CheckpointError(FusionError):
    """A checkpoint file cannot be read, or must not be."""


class ChangedCheckpointError(CheckpointError):
    """A checkpoint file was written to after it was opened."""

    changed = True


class WriteError(FusionError):
    """A file cannot be written: no room, no rights, something else in its place."""


class LayoutError(FusionError):
    """Checkpoints do not fit one another, or do not fit the network."""


class ArchitectureError(FusionError):
    """No network is known for these tensors, or the user's model code does not fit them."""


class DataError(FusionError):
    """A dataset is missing, unreadable or inconsistent."""


class ChangedDataError(DataError):
    """Pictures or masks were written to after they were opened."""

    changed = True


class MergeError(FusionError):
    """A merge gives numbers that its file, or the network that runs it, cannot hold."""


class RecipeError(FusionError):
    """A recipe is malformed, or no longer fits its files."""


class UsageError(FusionError):
    """An argument is wrong: unknown name, value out of range."""


class Cancelled(Exception):  # noqa: N818 - a request fulfilled, not an error
    """Raised inside a job when its user asked it to stop."""
