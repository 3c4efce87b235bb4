"""Names, notes and recipes as harmless text: whoever made a file may have written anything into them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from typing import Any

from fusionlib.diagnostics.bootstrap import in_points
from fusionlib.errors import printable


def escaped(text: object) -> str:
    """For HTML, between tags and in attributes in quotes; control characters and marks of direction are spelt out."""
    return html.escape(printable(str(text)), quote=True)


def lines_escaped(text: str) -> str:
    """The same line by line, for what stands in `<pre>`."""
    return "\n".join(map(escaped, text.splitlines()))


def in_script(value: Any) -> str:
    """JSON for a `<script>`: ASCII alone, and nothing in it that could end the element or begin a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def in_chart(text: object) -> str:
    """For texts of Plotly, which reads tags and entities in them."""
    return html.escape(printable(str(text)), quote=False)


def code(text: object) -> str:
    """A code span of Markdown, also in the cell of a table: nothing in it is a tag, a link or a mention."""
    plain = " ".join(printable(str(text)).split()) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    room = " " if plain[0] == "`" or plain[-1] == "`" else ""
    return f"{fence}{room}{plain}{room}{fence}".replace("|", "\\|")


def prose(text: object) -> str:
    """A line of Markdown in which names stand: nothing in it is markup, and nobody is mentioned."""
    plain = re.sub(r"([\\`*_\[\]<>#!|~&@:$]|\.(?=[A-Za-z]))", r"\\\1", " ".join(printable(str(text)).split()))
    plain = plain.replace("\\&", "&amp;").replace("\\<", "&lt;")
    return plain.replace("\\@", "@<!-- -->").replace("\\#", "#<!-- -->")


def fenced(text: str, language: str = "") -> str:
    """A block of code of Markdown, fenced by more than is in it."""
    plain = "\n".join(map(printable, text.splitlines()))
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    return f"{fence}{language}\n{plain}\n{fence}"


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction in percent; `n/a` where it is undefined."""
    return "n/a" if value is None else f"{100 * value:.{digits}f} %"


def between(interval: Sequence[float] | None) -> str:
    """An interval of fractions in points; what is below a thousandth of a point is 0."""
    return "n/a" if interval is None else in_points([round(bound, 5) + 0.0 for bound in interval])


def points(value: float | None, digits: int = 2) -> str:
    """A difference of fractions in points, with its sign."""
    return "n/a" if value is None else f"{100 * value:+.{digits}f}"
