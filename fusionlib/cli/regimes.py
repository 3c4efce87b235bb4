"""`regimes [--json]`: every training regime with its parameters, what it leaves and its source."""

from __future__ import annotations

import argparse
from typing import Any

from fusionlib.cli.methods import plain, show_parameters
from fusionlib.contracts import REGIMES, parameters_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb: none."""


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The registry as JSON values."""
    return {
        "regimes": [
            {
                "name": name,
                "title": regime.title,
                "summary": regime.summary,
                "leaves": regime.leaves,
                "helps": regime.helps,
                "citation": regime.citation,
                "version": regime.version,
                "wants_start": regime.wants_start,
                "needs_target": regime.needs_target,
                "parameters": [{**plain(item), "from_start": item.from_start} for item in parameters_of(regime)],
            }
            for name, regime in sorted(REGIMES.items())
        ]
    }


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    for regime in result["regimes"]:
        needs = " (needs --target)" if regime["needs_target"] else ""
        print(f"{regime['name']:16} {regime['summary']}{needs}")
        for line in (f"leaves {regime['leaves']}", regime["helps"], regime["citation"]):
            print(f"{'':16} {line}")
        show_parameters(regime["parameters"])
