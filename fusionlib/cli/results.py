"""`results list | show KEY | prune`: what has been measured, in the home folder."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from fusionlib.errors import UsageError, shown
from fusionlib.options import default_home

FEWEST = 4
"""Characters of a key that are enough to ask for it, as long as they tell it from all others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("action", choices=("list", "show", "prune"))
    parser.add_argument("key", nargs="?", help="with show: the beginning of a key")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="with list: the newest N (default 50)")
    parser.add_argument(
        "--maps", action="store_true", help="with prune: also all label maps, which are made again when they are needed"
    )
    parser.add_argument("--home", type=Path, metavar="DIR", help="folder that keeps results and uploads")


def run(given: argparse.Namespace) -> dict[str, Any]:
    """What is known as JSON values, and what label maps take (`list`); `prune` removes what no measure of this version
    asks for any more.
    """
    from fusionlib.contracts import MEASURES
    from fusionlib.runs.answers import Answers

    if (given.action == "show") != bool(given.key):
        raise UsageError(
            f"results {given.action} {given.key or ''}".strip(), "a key with show, and with show alone", "See --help"
        )
    if given.maps and given.action != "prune":
        raise UsageError(f"results {given.action} --maps", "prune, which removes them", "Leave --maps out")
    answers = Answers((given.home or default_home()) / "results.sqlite")
    if given.action == "prune":
        versions = {name: measure.version for name, measure in MEASURES.items()}
        return {"pruned": answers.prune(versions, all_maps=given.maps)}
    if given.action == "list":
        taken = answers.maps.taken().values()
        maps = {"count": sum(one.count for one in taken), "bytes": sum(one.bytes for one in taken)}
        return {"results": answers.listed(limit=max(1, given.limit)), "maps": maps}
    found = [one for one in answers.listed(limit=1_000_000) if one["key"].startswith(given.key)]
    if len(given.key) < FEWEST or not found or len({one["key"] for one in found}) > 1:
        raise UsageError(
            f"results show {shown(given.key)}",
            f"the beginning of one key, {FEWEST} characters or more",
            "See `results list`",
        )
    return {"results": found}


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    if "pruned" in result:
        print(", ".join(f"{count} {table}" for table, count in result["pruned"].items()) + " removed")
    for one in result.get("results", ()):
        names = " + ".join(Path(item["path"]).stem for recipe in one["recipe"] for item in recipe["checkpoints"])
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one["created"]))
        figures = ", ".join(f"{name} {value:.4g}" for name, value in one["figures"].items() if isinstance(value, float))
        method = one["recipe"][0]["method"] if len(one["recipe"][0]["checkpoints"]) > 1 else "alone"
        if "maps" in one:
            figures = f"{one['maps']} maps, {_megabytes(one['map_bytes'])}"
        print(f"{one['key'][:8]}  {when}  {one['measure']:12} {method:10} {names} on {one['data']}: {figures}")
    if (maps := result.get("maps")) and maps["count"]:
        print(f"{maps['count']} label maps take {_megabytes(maps['bytes'])}")


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MB"
