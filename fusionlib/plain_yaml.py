"""YAML from people and strangers: plain values only, in bounded time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from fusionlib.errors import clipped

MOST_VALUES = 100_000
"""Values of a text with every alias written out; reading so many takes seconds."""

_LONGEST_NUMBER = 100
"""Characters of a number: base 60, which YAML 1.1 has, takes time in the square of them."""


class _PlainLoader(yaml.SafeLoader):
    """Runs no code, as `SafeLoader`, and counts what aliases stand for: a kilobyte of them may spell out to more than
    memory holds.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values, self._sizes = 0, {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node.

        Raises `ComposerError` for an alias within what it stands for, and where there are too many values.
        """
        mark = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self._sizes:
                raise ComposerError(None, None, "an alias stands for what it is a part of", mark)
            self._values += self._sizes[id(node)]
        else:
            before, self._values = self._values, self._values + 1
            node = super().compose_node(parent, index)
            self._sizes[id(node)] = self._values - before
        if self._values > MOST_VALUES:
            raise ComposerError(None, None, f"more than {MOST_VALUES} values, aliases written out", mark)
        return node

    def construct_scalar(self, node: Any) -> Any:
        """The text of a node. Raises `ConstructorError` for a number that is too long to be one."""
        if node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") and len(str(node.value)) > _LONGEST_NUMBER:
            raise ConstructorError(None, None, f"a number of {len(str(node.value))} characters", node.start_mark)
        return super().construct_scalar(node)


def load_yaml(text: str) -> Any:
    """The value that a YAML text spells.

    Raises `ValueError`, whose message is short and one line, for whatever is none.
    """
    try:
        return yaml.load(text, _PlainLoader)
    except Exception as problem:  # hostile text makes the loader raise nearly anything, RecursionError too
        raise ValueError(clipped(" ".join((str(problem) or type(problem).__name__).split()), 200)) from problem


def read_yaml(path: Path, limit_bytes: int) -> Any:
    """The value in a YAML file of at most `limit_bytes`. Raises `ValueError` as `load_yaml` does, and `OSError`."""
    if path.exists() and not path.is_file():
        raise ValueError("it is not a regular file")
    with path.open("rb") as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise ValueError(
            f"it is larger than {f'{limit_bytes >> 20} MB' if limit_bytes >> 20 else f'{limit_bytes >> 10} KB'}"
        )
    return load_yaml(content.decode("utf-8"))
