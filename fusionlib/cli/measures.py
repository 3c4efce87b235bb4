"""`measures [--json]`: everything that can be measured of networks, with its figures, version and source."""

from __future__ import annotations

import argparse
from dataclasses import asdict, fields, is_dataclass
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb: none."""


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The registry as JSON values."""
    from fusionlib.contracts import MEASURES, MapMeasure

    return {
        "measures": [
            {
                "name": name,
                "title": measure.title,
                "summary": measure.summary,
                "citation": measure.source,
                "version": measure.version,
                "needs": measure.needs,
                "networks": measure.networks,
                "grain": measure.grain,
                "always": measure.always,
                "maps": isinstance(measure, MapMeasure),
                "parameters": [item.name for item in fields(measure)] if is_dataclass(measure) else [],
                "figures": [asdict(figure) for figure in measure.figures],
            }
            for name, measure in sorted(MEASURES.items())
        ]
    }


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    for measure in result["measures"]:
        of = {"one": "one network", "pair": "two networks", "set": "two networks or more"}[measure["networks"]]
        print(f"{measure['name']:18} {measure['summary']} (of {of}; needs {measure['needs']})")
        print(f"{'':18} {measure['citation']}")
        for figure in measure["figures"]:
            unit = f" ({figure['unit']})" if figure["unit"] else ""
            print(f"{'':18}   {figure['name']}: {figure['label']}{unit}. {figure['help']}")
