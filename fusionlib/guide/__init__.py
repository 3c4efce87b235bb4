"""The guide: chapters of text from `assets/guide/`, with tables made of what is registered.

A chapter is Markdown with one `# Title` and sections `## Title`. A line `{{name}}` stands for the table of that name. A
chapter names another, and a section of it, as `[files](files.md#recipes)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fusionlib.errors import UsageError, shown
from fusionlib.guide.tables import TABLES, Row

CHAPTERS = (
    "start",
    "merging",
    "diagnosing",
    "measuring",
    "presenting",
    "data",
    "files",
    "networks",
    "training",
    "serving",
    "extending",
)
"""Names of the chapters, in the order in which they are read."""

FOLDER = Path(__file__).parents[2] / "assets" / "guide"
PLACEHOLDER = re.compile(r"\{\{([a-z-]+)\}\}")
LINK = re.compile(r"\]\(([a-z]+)\.md(#[a-z0-9-]+)?\)")

_TYPED = {"name", "spec", "parameter", "default", "of", "figure"}
"""Columns of what users type, as they type it."""


@dataclass(frozen=True)
class Section:
    """A heading, the anchor that links name it by, and the Markdown below it; the first of a chapter has no heading."""

    title: str
    anchor: str
    text: str


@dataclass(frozen=True)
class Chapter:
    """A chapter as it is written: `title`, and its sections in order."""

    name: str
    title: str
    sections: tuple[Section, ...]


def chapter(name: str) -> Chapter:
    """The chapter called `name`. Raises `UsageError` where there is none, or its file is not there."""
    if name not in CHAPTERS:
        raise UsageError(f"Unknown chapter {shown(name)}", f"one of {', '.join(CHAPTERS)}", "Correct the name")
    path = FOLDER / f"{name}.md"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as problem:
        raise UsageError(
            f"{path}: {problem.strerror}", "the guide's files, which lie beside the package", "Get assets/guide/ back"
        ) from problem
    return Chapter(name, lines[0].removeprefix("# "), tuple(_sections(lines[1:])))


def anchor_of(title: str) -> str:
    """A heading as an anchor, as code hosts make it: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).strip().replace(" ", "-")


def _sections(lines: list[str]) -> Iterator[Section]:
    title, held, fenced = "", [], False
    for line in lines:
        fenced ^= line.startswith("```")
        if line.startswith("## ") and not fenced:  # in a block of code it is a comment
            yield Section(title, anchor_of(title), "\n".join(held).strip())
            title, held = line.removeprefix("## "), []
        else:
            held.append(line)
    yield Section(title, anchor_of(title), "\n".join(held).strip())


def placeholders(text: str) -> tuple[str, ...]:
    """Names of the tables that a text asks for, in order: lines that hold nothing else."""
    return tuple(found[1] for line in text.splitlines() if (found := PLACEHOLDER.fullmatch(line)))


def filled(text: str, escaped: Callable[[str], str] | None = None) -> str:
    """`text` with its tables in Markdown. `escaped` makes words from outside (a network's title, say) harmless."""
    return "\n".join(
        as_markdown(table(found[1]), escaped) if (found := PLACEHOLDER.fullmatch(line)) else line
        for line in text.splitlines()
    )


def linked(text: str, address: Callable[[str, str], str]) -> str:
    """`text` in which links to chapters lead to `address(name, "#anchor" or "")`."""
    return LINK.sub(lambda found: f"]({address(found[1], found[2] or '')})", text)


def table(name: str) -> list[Row]:
    """The rows of a table. Raises `UsageError` where no table has that name."""
    if name not in TABLES:
        raise UsageError(f"Unknown table {shown(name)}", f"one of {', '.join(TABLES)}", "Correct the placeholder")
    return TABLES[name]()


def as_markdown(rows: list[Row], escaped: Callable[[str], str] | None = None) -> str:
    """Rows of the same columns as a Markdown table; names that are typed stand as code."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns)]
    lines += [[_cell(column, row[column], escaped or _escaped) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(column: str, text: str, escaped: Callable[[str], str]) -> str:
    code = column in _TYPED and re.fullmatch(r"[\w.,:@\[\]{}'\"() -]+", text)
    return f"`{text}`" if code else escaped(" ".join(text.split()))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
