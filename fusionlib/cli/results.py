"""`results list | show KEY | prune | export FILE | import FILE`: what has been measured, in the home folder."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionlib.errors import UsageError, shown
from fusionlib.options import default_home

if TYPE_CHECKING:
    from fusionlib.runs.answers import Answers

_NAMED = ("show", "export", "import")

FEWEST = 4
"""Characters of a key that are enough to ask for it, as long as they tell it from all others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("action", choices=("list", "show", "prune", "export", "import"))
    parser.add_argument("key", nargs="?", help="with show: the beginning of a key; with export and import: a file")
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="SPEC",
        help="with export: the labelled pictures whose answers are written; may be given several times",
    )
    parser.add_argument(
        "--measure", action="append", default=[], metavar="NAME", help="with export: what this one says alone"
    )
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="with list: the newest N (default 50)")
    parser.add_argument(
        "--maps", action="store_true", help="with prune: also all label maps, which are made again when they are needed"
    )
    parser.add_argument("--home", type=Path, metavar="DIR", help="folder that keeps results and uploads")


def run(given: argparse.Namespace) -> dict[str, Any]:
    """What is known as JSON values, and what label maps take (`list`); `prune` removes what no measure of this version
    asks for any more; `export` writes what is known about one dataset into a file, which `import` takes into another
    home folder where the versions of all that computes are the same.
    """
    from fusionlib.contracts import MEASURES
    from fusionlib.runs.answers import Answers
    from fusionlib.runs.derived import DERIVED
    from fusionlib.runs.frames import FRAME

    if (given.action in _NAMED) != bool(given.key):
        raise UsageError(
            f"results {given.action} {given.key or ''}".strip(),
            "a key with show, a file with export and import, neither with list and prune",
            "See --help",
        )
    if (given.action == "export") != bool(given.data):
        raise UsageError(f"results {given.action}", "--data SPEC with export, and with export alone", "See --help")
    for name in given.measure:
        MEASURES.get(name)
    if given.measure and given.action != "export":
        raise UsageError(f"results {given.action} --measure", "export, which chooses by it", "Leave --measure out")
    if given.maps and given.action != "prune":
        raise UsageError(f"results {given.action} --maps", "prune, which removes them", "Leave --maps out")
    answers = Answers((given.home or default_home()) / "results.sqlite")
    if given.action == "export":
        return _export(answers, Path(given.key), given.data, given.measure)
    if given.action == "import":
        return _import(answers, Path(given.key))
    if given.action == "prune":
        versions = {name: measure.version for name, measure in MEASURES.items()} | DERIVED | FRAME
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


def _export(answers: Answers, path: Path, specs: list[str], measures: list[str]) -> dict[str, Any]:
    from fusionlib.atomic import write_atomically
    from fusionlib.data.spec import open_dataset
    from fusionlib.runs.shipped import packed, shipment

    found = [shipment(answers, open_dataset(spec), "cpu", "float32", measures) for spec in dict.fromkeys(specs)]
    write_atomically(path, packed(*found))
    told = sum(len(one.answers) for part in found for one in part.measured)
    return {"exported": told, "out": str(path)}


def _import(answers: Answers, path: Path) -> dict[str, Any]:
    from fusionlib.runs.shipped import take

    try:
        data = path.read_bytes()
    except OSError as problem:
        raise UsageError(f"{path.name}: {problem.strerror}", "a file that `results export` wrote", "Check it") from None
    return {"imported": take(answers, data, "cpu", "float32")}


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    if "pruned" in result:
        print(", ".join(f"{count} {table}" for table, count in result["pruned"].items()) + " removed")
    if "exported" in result:
        print(f"{result['exported']} answers in {result['out']}")
    if "imported" in result:
        print(f"{result['imported']} new answers taken")
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
