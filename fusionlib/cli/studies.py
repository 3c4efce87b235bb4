"""`studies [--json]`: every study, with its version and source."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb: none."""


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The registry as JSON values."""
    from fusionlib.contracts import STUDIES

    return {
        "studies": [
            {
                "name": name,
                "title": study.title,
                "summary": study.summary,
                "citation": study.source,
                "version": study.version,
                "parameters": [{"name": item.name, "type": str(item.type)} for item in fields(study)],
            }
            for name, study in sorted(STUDIES.items())
        ]
    }


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    for study in result["studies"]:
        print(f"{study['name']:12} {study['summary']}\n{'':12} {study['citation']}")
