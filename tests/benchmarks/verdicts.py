"""What verdicts say of pairs whose merges are measured: `python tests/benchmarks/verdicts.py [demo real speed]`.

All 45 pairs of the demo, the six of the real ENet epochs and the pair in another layout (`FUSION_DATA`): the level from
weights alone, the level with data, gain and interval. What is measured stays in `--home`, so that a second run
with more pictures measures the new ones alone. Beside them the speed of an interval. Not part of the tests.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from fusionlib.architectures.recognise import recognise  # noqa: E402
from fusionlib.checkpoints.groups import Choice  # noqa: E402
from fusionlib.checkpoints.reader import open_checkpoints  # noqa: E402
from fusionlib.data.cache import DecodedCache  # noqa: E402
from fusionlib.data.spec import open_dataset  # noqa: E402
from fusionlib.diagnostics.bootstrap import RESAMPLES, gain_interval, in_points, unit_totals, units_of  # noqa: E402
from fusionlib.measures.confusion import mean_iou  # noqa: E402
from fusionlib.studio import Diagnosis, Options, Studio  # noqa: E402

STEP = 0.25
REAL = Path(os.environ.get("FUSION_DATA", ROOT.parent / "shared" / "data"))
COLUMNS = ("pair", "from weights", "with data", "gain", "95 % interval", "alpha", "resampled")


def judged(studio: Studio, files: Sequence[Path], data: str | None, limit: int | None) -> list[tuple[str, ...]]:
    """A row for each pair of files: what their weights say, then what pictures say."""
    checkpoints = open_checkpoints(files, choice=Choice(recognise=recognise))
    pictures = DecodedCache(open_dataset(data, None, limit), 1 << 30) if data else None
    alone = studio.diagnose(checkpoints, None).report()["pairs"]
    with_data = alone if pictures is None else measured(studio.diagnose(checkpoints, pictures))
    return [row_of(before, after) for before, after in zip(alone, with_data, strict=True)]


def measured(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """The pairs of a diagnosis after its networks and paths have run, with how long that took and how long verdicts."""
    if not diagnosis.obstacle:
        begun = time.perf_counter()
        diagnosis.measure(STEP, progress=_progress)
        print(f"\r{diagnosis.runner.tally.run} forward passes in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    begun = time.perf_counter()
    pairs = diagnosis.report()["pairs"]
    first = time.perf_counter() - begun
    diagnosis.report()
    again = time.perf_counter() - begun - first
    print(f"{len(pairs)} verdicts with intervals in {first:.2f} s, again {again:.2f} s", file=sys.stderr)
    return pairs


def row_of(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a pair; figures in points of mIoU."""
    verdict = after["verdict"]
    evidence = verdict["evidence"]
    units, interval, alpha = evidence["units"], evidence["interval"], evidence["best_alpha"]
    return (
        f"{before['a']} + {before['b']}",
        before["verdict"]["level"],
        verdict["level"] if verdict["measured"] else f"not measured ({after['reason'] or after['path_reason']})"[:60],
        "" if evidence["gain"] is None else f"{100 * evidence['gain']:+.1f}",
        "" if interval is None else in_points(interval),
        "" if alpha is None else f"{alpha:g}",
        "" if units is None else f"{units['count']} {units['kind']}",
    )


def speed(pictures: int = 1000, networks: int = 23, classes: int = 19) -> str:
    """An interval of a path of 21 alphas and its ends, against one resample of it by a loop over pictures."""
    rng = np.random.default_rng(0)
    matrices = rng.integers(0, 2000, (networks, pictures, classes, classes + 1))
    units = units_of([str(number) for number in range(pictures)])
    begun = time.perf_counter()
    totals = [unit_totals(one, units) for one in matrices]
    read = time.perf_counter()
    gain_interval(totals[:2], totals[2:])
    done = time.perf_counter()
    draw = rng.integers(0, pictures, pictures)
    for one in matrices:
        mean_iou(sum(one[place] for place in draw))
    naive = time.perf_counter() - done
    return (
        f"{networks} networks on {pictures} pictures: {1000 * (read - begun):.0f} ms to add up,"
        f" {1000 * (done - read):.0f} ms for {RESAMPLES} resamples; a loop takes {1000 * naive:.0f} ms for each"
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Markdown, in columns."""
    lines = [COLUMNS, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(COLUMNS))]
    text = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    text.insert(1, "-|-".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in text)


def _progress(done: int, total: int) -> None:
    print(f"\r{done} of {total} forward passes", end="", file=sys.stderr, flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["demo", "real"], help="demo, real, speed (default: demo real)")
    parser.add_argument("--home", type=Path, help="where measured results stay (default: a temporary folder)")
    parser.add_argument("--domain", default="clear", help="weather of the demo's pictures (default clear)")
    parser.add_argument("--scenes", type=int, default=8, help="generated scenes for the demo's pairs (default 8)")
    parser.add_argument("--frames", type=int, default=50, help="CamVid pictures for the real pairs (default 50)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        studio = Studio(Options(home=given.home or Path(home), demo=False))
        if "demo" in given.what:
            files = sorted((ROOT / "assets" / "demo").glob("*.safetensors"))
            print(table(judged(studio, files, f"streets:{given.domain}@val", given.scenes)), end="\n\n")
        if "real" in given.what:
            epochs, others = (
                sorted((REAL / "checkpoints" / name).glob("*.pth")) for name in ("enet-cityscapes", "enet-other-layout")
            )
            data = f"camvid:{REAL / 'camvid'}@val"
            print(table([*judged(studio, epochs, data, given.frames), *judged(studio, others, data, given.frames)]))
        if "speed" in given.what:
            print(speed())
        studio.store.close()


if __name__ == "__main__":
    main()
