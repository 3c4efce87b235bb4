"""Links of views: a page of this app and what it shows, relative to wherever the app is.

Whatever somebody else wrote into one is text: a link that names no page of `PAGES`, or anything beside a page and its
parameters, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, quote, urlencode

from fusionlib.errors import UsageError, shown

PAGES = ("", "layers", "compare", "domains", "diagnostics", "calibration", "errors", "lab")
"""Pages that show a view, by their addresses; the first is Explore."""

LONGEST = 8000
"""Characters of a link: what browsers and servers pass on."""

FIELDS = 64
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")

State = Mapping[str, Sequence[str]]
"""Parameters of an address: name to one or more texts."""


def written(page: str, state: State) -> str:
    """The link of a page and its state: `?a=night&b=fog`, `compare?a=...`."""
    pairs = [(name, text) for name, texts in state.items() for text in texts]
    return f"{page}?{urlencode(pairs, quote_via=quote)}"


def parsed(link: object) -> tuple[str, dict[str, list[str]]]:
    """The page of a link and its state. Raises `UsageError` for what is no link of a view."""
    if not isinstance(link, str) or len(link) > LONGEST:
        raise _refused(link, f"a text of at most {LONGEST} characters")
    page, mark, query = link.partition("?")
    if page not in PAGES or not mark:
        raise _refused(link, f"one of {', '.join(f'{name}?...' for name in PAGES)}")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=FIELDS)
    except ValueError:
        raise _refused(link, f"at most {FIELDS} parameters, name=value") from None
    state: dict[str, list[str]] = {}
    for name, text in pairs:
        if not _NAME.fullmatch(name) or not text.isprintable():
            raise _refused(link, "parameters with names of small letters and printable texts")
        state.setdefault(name, []).append(text)
    return page, state


def checked(link: object) -> str:
    """The link as this app writes it. Raises `UsageError` for what is no link of a view, or too long so written."""
    found = written(*parsed(link))
    if len(found) > LONGEST:
        raise _refused(link, f"at most {LONGEST} characters as an address has them, not {len(found)}")
    return found


def _refused(link: object, needs: str) -> UsageError:
    return UsageError(f"Link {shown(link)}", needs, "Copy it from this app")
