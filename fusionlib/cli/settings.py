"""Parameters of methods and patterns of what is shared, as written on a command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fusionlib.contracts import METHODS, Parameter, parameters_of
from fusionlib.errors import UsageError

if TYPE_CHECKING:
    from fusionlib.checkpoints.sharing import Sharing


def parse_settings(method: str, settings: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` texts as parameters of `method`: numbers, true and false, lists as 0.5,0.5, mappings in YAML.

    Raises: `UsageError` for an unknown method, an unknown name (which lists the valid ones) or a text that cannot be
    read.
    """
    return read_settings(method, parameters_of(METHODS.get(method)), settings)


def read_settings(what: str, offered: Sequence[Parameter], settings: Sequence[str]) -> dict[str, Any]:
    """The same for the parameters of anything that has some."""
    known = {item.name: item for item in offered}
    parameters: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or name not in known or name in parameters:
            raise UsageError(
                f"--set {setting[:80]}",
                f"NAME=VALUE, each once; {what} has {', '.join(known) or 'no parameters'}",
                "Correct --set",
            )
        parameters[name] = _value(known[name], text)
    return parameters


def _value(item: Parameter, text: str) -> Any:
    if isinstance(item.default, str):
        return text
    from fusionlib.plain_yaml import load_yaml

    listed = isinstance(item.default, tuple) and not text.startswith("[")
    try:
        return load_yaml(f"[{text}]" if listed else text)
    except ValueError as problem:
        raise UsageError(
            f"--set {item.name}={text[:80]}", "a number, a list as 0.5,0.5 or YAML", "Correct the value"
        ) from problem


def add_sharing(parser: argparse.ArgumentParser) -> None:
    """`--shared`, `--rename`, `--exclude`."""
    parser.add_argument(
        "--shared", action="store_true", help="merge what all have by name and shape; the rest is the anchor's"
    )
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="PATTERN=NAME",
        help="with --shared: regular expression on the names of the others, and what to put there",
    )
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="PATTERN", help="with --shared: names to leave out, as head.*"
    )


def sharing_of(given: argparse.Namespace) -> Sharing | None:
    """What these options say; None where none of them was given."""
    if not (given.shared or given.rename or given.exclude):
        return None
    from fusionlib.checkpoints.groups import renames_of
    from fusionlib.checkpoints.sharing import Sharing

    return Sharing(renames_of(given.rename), tuple(given.exclude))
