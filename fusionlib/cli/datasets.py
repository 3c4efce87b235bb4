"""`datasets [--json]`: every kind of data that can be opened, and how to name it."""

from __future__ import annotations

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb: none."""


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The registry as JSON values."""
    from fusionlib.contracts import DATASETS

    return {
        "datasets": [
            {"name": name, "usage": opener.usage, "title": opener.title} for name, opener in sorted(DATASETS.items())
        ]
    }


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    from fusionlib.data.spec import CHANGES

    width = max(len(entry["usage"]) for entry in result["datasets"])
    for entry in result["datasets"]:
        print(f"{entry['usage']:{width}}  {entry['title']}")
    print(f"Behind any of them: {CHANGES}")
