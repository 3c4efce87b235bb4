"""Experts of the demo on all domains: the table of subsets of "Training-Free Model Merging for Multi-target Domain
Adaptation" (table 3), made anew with fog, night, rain and snow, and what the Domains page opens on.

`python tests/benchmarks/domains.py --home DIR [--pictures 16]`: about 7 minutes on two cores for the table of subsets
with pooled statistics, as long again for what the page shows. What a home folder knows is not measured again. `--table`
stops after the first; `--out FILE` writes what the page opens on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from fusionlib.cli import main as verb

DEMO = Path(__file__).parents[2] / "assets" / "demo"
EXPERTS = ("fog", "night", "rain", "snow")
DOMAINS = ("clear", *EXPERTS)


def data_of(pictures: int, named: bool = True) -> list[str]:
    """The domains as options."""
    specs = {name: f"streets:{name}:{pictures}@val" for name in DOMAINS}
    return [part for name, spec in specs.items() for part in ("--data", f"{name}={spec}" if named else spec)]


def command(home: Path, pictures: int, buffers: str, rows: str) -> list[str]:
    """The verb with its arguments."""
    files = [str(DEMO / f"{name}.safetensors") for name in EXPERTS]
    beside = ["--beside", str(DEMO / "start.safetensors")]
    given = ["--buffers", buffers, "--rows", rows, "--home", str(home)]
    return ["domains", *files, *beside, *data_of(pictures), *given]


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--table", action="store_true", help="the table of subsets alone")
    parser.add_argument("--out", type=Path, help="where the answers go that are shipped")
    given = parser.parse_args()
    runs = [("gaussian", "subsets")] + ([] if given.table else [("average", "all")])
    for buffers, rows in runs:
        begun = time.perf_counter()
        verb(command(given.home, given.pictures, buffers, rows))
        print(f"{rows}, statistics {buffers}: {time.perf_counter() - begun:.0f} s\n", flush=True)
    if given.out:
        told = ["--measure", "confusion", "--home", str(given.home)]
        verb(["results", "export", str(given.out), *data_of(given.pictures, named=False), *told])


if __name__ == "__main__":
    main()
