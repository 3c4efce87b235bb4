"""`architectures [--classes N] [--json]`: every network that can run a checkpoint, with its size and its source."""

from __future__ import annotations

import argparse
from typing import Any

from fusionlib.options import add_trust


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--classes", type=int, default=19, metavar="N", help="class count of the sizes (default: 19)")
    parser.add_argument(
        "--model", action="append", default=[], metavar="FILE.py:FACTORY", help="your own network, listed too"
    )
    add_trust(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The registry as JSON values. Raises `UsageError` for a class count that no picture can have."""
    from fusionlib.architectures.facts import parameter_count, recognised_by
    from fusionlib.architectures.programs import trust_programs
    from fusionlib.architectures.user import register_user_models
    from fusionlib.contracts import ARCHITECTURES, IGNORE
    from fusionlib.errors import UsageError

    if not 1 <= given.classes <= IGNORE:
        raise UsageError(f"--classes {given.classes}", f"a number from 1 to {IGNORE}", "Correct --classes")
    register_user_models(given.model)
    trust_programs(given.trust)
    return {
        "architectures": [
            {
                "name": name,
                "title": item.title,
                "citation": item.citation,
                "parameters": parameter_count(item, given.classes),
                "stride": getattr(item, "stride", None),
                "recognises": recognised_by(name, item),
            }
            for name, item in sorted(ARCHITECTURES.items())
        ]
    }


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    for item in result["architectures"]:
        count = "unknown" if item["parameters"] is None else f"{item['parameters'] / 1e6:.1f} M"
        stride = f", output stride {item['stride']}" if item["stride"] else ""
        print(f"{item['name']:28} {item['title']}: {count} parameters{stride}")
        print(f"{'':28} {item['recognises']}\n{'':28} {item['citation']}")
