"""The same sweep here and by the workers of a Ray cluster: `python tests/benchmarks/ray_passes.py [--workers 2]`.

A pair of the demo on generated scenes; each way `--rounds` times in turn, with home folders of its own, in one process.
The first round of the workers, who start in it, is told apart. Says medians, their ratio, and whether all that was kept
is equal to the last bit. Not part of the tests.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from fusionlib.checkpoints.reader import open_checkpoint  # noqa: E402
from fusionlib.runs.passes import Passes, PassesHere  # noqa: E402
from fusionlib.runs.ray_executor import RayPasses  # noqa: E402
from fusionlib.studio import Options, Studio  # noqa: E402

PAIR = ("night", "fog")
KEPT = {
    "states": "subject, measure, version, picture, state, tiles",
    "answers": "subject, measure, version, data, images, tiled, figures",
}


def swept(home: Path, passes: Passes, data: str, step: float) -> float:
    """Seconds of a sweep by these passes into a new home."""
    studio = Studio(Options(demo=False, home=home, device="cpu"))
    studio.runner.passes = passes
    files = [open_checkpoint(ROOT / "assets" / "demo" / f"{name}.safetensors") for name in PAIR]
    pictures = studio.workspace.open_pictures(data, None)
    for index in range(len(pictures)):
        pictures.load(index)  # scenes are drawn before the clock starts
    sweep = studio.views.sweep_files(files[0], files[1], lambda: pictures, "average")
    begun = time.perf_counter()
    sweep.measure(step)
    return time.perf_counter() - begun


def kept(home: Path) -> list[list[tuple]]:
    """All that a home keeps of it."""
    with sqlite3.connect(home / "results.sqlite") as file:
        return [sorted(file.execute(f"SELECT {columns} FROM {table}")) for table, columns in KEPT.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="streets:clear:16")
    parser.add_argument("--step", type=float, default=0.25)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    ways: dict[str, Passes] = {"here": PassesHere(), "ray": RayPasses(torch.device("cpu"), workers=given.workers)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as place:
        first = swept(Path(place) / "first", ways["ray"], given.data, given.step)
        for number in range(given.rounds):
            for name, passes in ways.items():
                seconds[name].append(swept(Path(place) / f"{name}-{number}", passes, given.data, given.step))
        homes = [path for path in Path(place).iterdir() if path.is_dir()]
        equal = all(kept(home) == kept(homes[0]) for home in homes)
        states = len(kept(homes[0])[0])
    print(f"{os.cpu_count()} cores, torch with {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    print(f"{given.data}, step {given.step:g}, {given.workers} workers: {states} states, equal: {equal}")
    print(f"first sweep with the start of the cluster: {first:.1f} s")
    for name, taken in seconds.items():
        print(f"{name:5} median {median(taken):6.1f} s of {', '.join(f'{one:.1f}' for one in taken)}")
    print(f"ray / here: {median(seconds['ray']) / median(seconds['here']):.2f}")


if __name__ == "__main__":
    main()
