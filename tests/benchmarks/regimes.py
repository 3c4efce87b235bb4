"""What regimes leave, side by side: `python tests/benchmarks/regimes.py --out DIR --home HOME [--only NAME ...]`.

Every regime begins at one checkpoint of the demo and gets about the same number of steps; a set is its last three
networks, or five samples of its posterior. Of each set: its networks in the mean, the best of them, the mean of their
weights (soup) and their ensemble, with mIoU, NLL and ECE, and how different they are. Runs that are complete in DIR are
not made again, and what HOME knows is not measured again. Not part of the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from fusionlib.cli import main as verb  # noqa: E402
from fusionlib.errors import FusionError  # noqa: E402

START = ROOT / "assets" / "demo" / "start.safetensors"
RATES = ("0.005", "0.02", "0.05")
EPOCHS = 3
"""Epochs of one network; a run of three has three times as many."""

Run = tuple[str, int, tuple[str, ...]]
"""A regime, its epochs and its parameters."""

RUNS: dict[str, Run] = {
    **{f"sse {lr}": ("sse", 3 * EPOCHS, (f"lr={lr}",)) for lr in RATES},
    **{f"star-sse {lr}": ("star-sse", EPOCHS, (f"lr={lr}", "children=2")) for lr in RATES},
    **{f"local-de {lr}": ("local-de", EPOCHS, (f"lr={lr}",)) for lr in RATES},
    "fge 0.02": ("fge", 6, ("lr=0.02", "cycle=2")),
    "csgld 0.02": ("csgld", 3 * EPOCHS, ("lr=0.02",)),
    "swag 0.02": ("swag", 3 * EPOCHS, ("lr=0.02",)),
    "kfac 0.02": ("kfac", EPOCHS, ("lr=0.02",)),
    "lookahead 0.02": ("lookahead", 3 * EPOCHS, ("lr=0.02",)),
    "lookaround 0.02": ("lookaround", EPOCHS, ("lr=0.02",)),
    "finetune 0.02": ("finetune", 3 * EPOCHS, ("lr=0.02",)),
}


def said(*arguments: str) -> dict[str, Any]:
    """What a verb prints for machines."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        verb([*arguments, "--json"])
    return json.loads(told.getvalue())


def trained(name: str, folder: Path, given: argparse.Namespace) -> list[Path]:
    """The networks of a run, made now where they are not there; of a posterior five samples."""
    regime, epochs, settings = RUNS[name]
    if not (folder / "done").exists():
        more = ("--select", given.select) if regime == "kfac" else ()
        crop = ("--crop", given.crop, "--batch", "8", "--epochs", str(epochs))
        about = ("--start", str(START), "--data", given.train, "--out", str(folder))
        resume = ("--resume",) if (folder / "run.json").exists() else ()
        said("train", "--regime", regime, "--set", *settings, *about, *crop, *more, *resume)
        (folder / "done").touch()
    posterior = folder / f"{regime}.safetensors"
    if regime in ("swag", "kfac"):
        drawn = folder / "samples"
        if not drawn.exists():
            said("sample", str(posterior), "--count", "5", "--out", str(drawn), "--data", given.train)
        return sorted(drawn.glob("*.safetensors"))
    points = [path for path in sorted(folder.glob("*.safetensors")) if path != posterior]
    return points[-3:]


def row(name: str, files: Sequence[Path], given: argparse.Namespace) -> str:
    """A line of the table."""
    found = said("sets", *map(str, files), "--data", given.data, "--home", str(given.home), "--buffers", given.buffers)
    shown = (found["mean"], found["best"] or {}, found["soup"] or {}, found["ensembles"][-1])
    scores = [f"{percent(one.get('miou'))} {number(one.get('loss'))} {percent(one.get('ece'))}" for one in shown]
    cells = [f"{name:16}", str(len(files)), *scores]
    cells += [percent(found["disagreement"]), number(found["diversity"]), number(found["correlation"])]
    return " | ".join(cells)


def percent(value: float | None) -> str:
    return "  n/a" if value is None else f"{100 * value:5.2f}"


def number(value: float | None) -> str:
    return "  n/a" if value is None else f"{value:5.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--train", default="streets:clear:80@train")
    parser.add_argument("--select", default="streets:clear:8@val")
    parser.add_argument("--data", default="streets:clear:16@test")
    parser.add_argument("--crop", default="96x192")
    parser.add_argument("--buffers", default="average")
    parser.add_argument("--only", nargs="+", choices=tuple(RUNS))
    given = parser.parse_args()
    start = said("evaluate", str(START), "--data", given.data, "--home", str(given.home), "--calibration")
    ece = percent(start["ece_sample_weighted"])
    print(f"{given.data}: start {percent(start['miou'])} {number(start['loss'])} {ece}")
    print("run | networks | mean: mIoU NLL ECE | best | soup | ensemble | disagreement, diversity, correlation")
    for name in given.only or RUNS:
        folder = given.out / name.replace(" ", "-")
        try:
            print(row(name, trained(name, folder, given), given), flush=True)
        except (FusionError, SystemExit) as error:
            print(f"{name:16} | {error}", flush=True)


if __name__ == "__main__":
    main()
