"""`guide [CHAPTER] [--json]`: how to use the program, with tables of all that is registered."""

from __future__ import annotations

import argparse
from typing import Any

from fusionlib.guide import CHAPTERS, chapter, filled, placeholders, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument(
        "chapter",
        nargs="?",
        choices=CHAPTERS,
        metavar="CHAPTER",
        help=f"print this one: {', '.join(CHAPTERS)} (default: list them with their sections)",
    )


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The chapters, or the lines of the one that was named and its tables as JSON values."""
    if given.chapter is None:
        return {"guide": [_listed(name) for name in CHAPTERS]}
    found = chapter(given.chapter)
    lines = [f"# {found.title}"]
    for section in found.sections:
        lines += ["", f"## {section.title}"] if section.title else []
        lines += ["", *filled(section.text).splitlines()] if section.text else []
    tables = {name: table(name) for section in found.sections for name in placeholders(section.text)}
    return {"chapter": found.name, "title": found.title, "lines": lines, "tables": tables}


def _listed(name: str) -> dict[str, Any]:
    found = chapter(name)
    sections = [section.title for section in found.sections if section.title]
    return {"name": name, "title": found.title, "sections": sections}


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    for line in result.get("lines", ()):
        print(line)
    for listed in result.get("guide", ()):
        print(f"{listed['name']:12} {'; '.join(listed['sections'])}")
