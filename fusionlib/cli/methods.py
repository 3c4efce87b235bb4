"""`methods [--json]`: every merge method with its parameters, their ranges and its source."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from fusionlib.contracts import METHODS, Parameter, parameters_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb: none."""


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The registry as JSON values."""
    return {
        "methods": [
            {
                "name": name,
                "title": method.title,
                "summary": method.summary,
                "citation": method.citation,
                "version": method.version,
                "needs": method.needs,
                "statistics": list(method.statistics),
                "parameters": [plain(item) for item in parameters_of(method)],
            }
            for name, method in sorted(METHODS.items())
        ]
    }


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    for method in result["methods"]:
        needs = "" if method["needs"] == "weights" else f" (needs {method['needs']})"
        print(f"{method['name']:16} {method['summary']}{needs}\n{'':16} {method['citation']}")
        show_parameters(method["parameters"])


def show_parameters(parameters: Sequence[Mapping[str, Any]]) -> None:
    """Print what `plain` makes of parameters, a line each."""
    for item in parameters:
        limits = f"{item['min']:g} to {item['max']:g}" if item["min"] is not None else ", ".join(item["choices"] or ())
        started = "" if item.get("from_start") is None else f" ({item['from_start']!r} with --start)"
        value = f"{item['default']!r}{started}"
        print(f"{'':16}   {item['name']} = {value}{f'  [{limits}]' if limits else ''}  {item['help']}")


def plain(item: Parameter) -> dict[str, Any]:
    """A parameter as JSON values."""
    default = dict(item.default) if isinstance(item.default, dict) else item.default
    return {
        "name": item.name,
        "default": list(default) if isinstance(default, tuple) else default,
        "help": item.help,
        "min": item.min,
        "max": item.max,
        "step": item.step,
        "choices": list(item.choices) if item.choices else None,
    }
