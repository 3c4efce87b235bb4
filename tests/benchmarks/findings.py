"""Findings of the papers, looked for on this machine: `python tests/benchmarks/findings.py ece|methods --home HOME`.

`ece`: the alpha of the highest mIoU and those of the lowest ECE, weighted by pixels and as the paper has it, of
pairs of the demo and of the real ENet epochs (Weight Fusion, figure 1b). `methods`: layer-wise against isotropic and
Fisher on sets whose networks have learnt other things (Layer-wise Model Merging, table 2). What `--home` knows is not
measured again: it may be the one of search.py. Not part of the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from fusionlib.architectures.recognise import recognise  # noqa: E402
from fusionlib.checkpoints.groups import Choice  # noqa: E402
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoints  # noqa: E402
from fusionlib.cli import main as verb  # noqa: E402
from fusionlib.engine.recipes import source_of  # noqa: E402
from fusionlib.recipe import Recipe  # noqa: E402
from fusionlib.studies.grid import alpha_grid  # noqa: E402
from fusionlib.studio import Options, Studio  # noqa: E402

REAL = Path(os.environ.get("FUSION_DATA", ROOT.parent / "shared" / "data"))
EPOCHS = sorted((REAL / "checkpoints" / "enet-cityscapes").glob("*.pth"))
PAIRS = (("start", "night"), ("fog", "night"), ("rain", "snow"), ("cycle-1", "cycle-2"), ("seed-11", "seed-12"))
SETS = (("fog", "night", "rain", "snow"), ("start", "night"), ("night", "fog"), ("start", "seed-11", "cycle-1"))
METHODS = ("layerwise", "isotropic", "fisher")
ECES = ("ece_sample_weighted", "ece_unweighted")


def opened(files: Sequence[Path]) -> list[Checkpoint]:
    return open_checkpoints(list(files), choice=Choice(recognise=recognise))


def demo(names: Sequence[str]) -> list[Path]:
    return [ROOT / "assets" / "demo" / f"{name}.safetensors" for name in names]


def along(studio: Studio, pair: Sequence[Checkpoint], pictures: Any, step: float) -> dict[float, Mapping[str, Any]]:
    """Figures of `alpha A + (1 - alpha) B`, by alpha."""
    found = {}
    for alpha in alpha_grid(step):
        recipe = Recipe(
            method="linear", parameters={"alpha": alpha}, buffers="average", checkpoints=tuple(map(source_of, pair))
        )
        found[alpha] = studio.measure(recipe, pictures, measures=("confusion", "calibration"))
    return found


def ece(studio: Studio, pairs: Sequence[Sequence[Path]], spec: str, step: float) -> None:
    """A row for each pair: where mIoU is highest and both ECEs are lowest, and what each is there and at the ends."""
    pictures = studio.workspace.open_pictures(spec, None)
    print(f"\n{spec}, {len(pictures)} pictures; mIoU and ECE in %, alpha is the weight of the first")
    near = dict.fromkeys(ECES, 0)
    for files in pairs:
        pair = opened(files)
        studio.sources.know(pair)
        found = along(studio, pair, pictures, step)
        best = max(found, key=lambda alpha: found[alpha]["miou"])
        cells = [f"{pair[0].name} + {pair[1].name:10} mIoU {100 * found[best]['miou']:.2f} at {best:.2f}"]
        for name in ECES:
            lowest = min(found, key=lambda alpha: found[alpha][name])
            near[name] += abs(lowest - best) <= 0.2
            told = [f"{100 * found[alpha][name]:.2f}" for alpha in (lowest, best, 0.0, 1.0)]
            cells.append(f"{name} {told[0]} at {lowest:.2f} (at the best alpha {told[1]}, ends {told[2]} {told[3]})")
        print("; ".join(cells), flush=True)
    print("within 0.2 of the best alpha:", ", ".join(f"{name} {near[name]} of {len(pairs)}" for name in ECES))


def said(*arguments: str) -> dict[str, Any]:
    """What a verb prints for machines."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        verb([*arguments, "--json"])
    return json.loads(told.getvalue())


def methods(home: Path, sets: Sequence[Sequence[Path]], spec: str) -> None:
    """A row for each set, its networks best first: the best is the anchor (section 3). Fisher looks at the pictures
    that it is measured on, which can but flatter it.
    """
    given = ("--data", spec, "--home", str(home), "--device", "cpu")
    print(f"\n{spec}; mIoU in %")
    for files in sets:
        alone = {path: said("evaluate", str(path), *given)["miou"] for path in files}
        ordered = sorted(files, key=lambda path: -alone[path])
        wanted = ("--methods", ",".join(METHODS), "--rows", "methods", "--anchor", "0")
        rows = said("compare", *map(str, ordered), *wanted, *given)["rows"]
        found = {row["method"]: row["miou"] for row in rows if row["method"] in METHODS}
        cells = [f"{path.stem} {100 * alone[path]:.2f}" for path in ordered]
        print(", ".join([*cells, *(f"{name} {100 * found[name]:.2f}" for name in METHODS)]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("ece", "methods"))
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--demo", default="streets:all:16@val")
    parser.add_argument("--real", default=f"camvid:{REAL / 'camvid'}@val")
    parser.add_argument("--step", type=float, default=0.05)
    parser.add_argument("--only", choices=("demo", "real"))
    given = parser.parse_args()
    if given.what == "ece":
        studio = Studio(Options(demo=False, home=given.home, device="cpu"))
        real = list(combinations(EPOCHS, 2))
        wanted = {"demo": ([demo(pair) for pair in PAIRS], given.demo), "real": (real, given.real)}
        for name, (pairs, spec) in wanted.items():
            if given.only in (None, name):
                ece(studio, pairs, spec, given.step)
        return
    sets = {"demo": ([demo(one) for one in SETS], given.demo), "real": ([EPOCHS], given.real)}
    for name, (files, spec) in sets.items():
        if given.only in (None, name):
            methods(given.home, files, spec)


if __name__ == "__main__":
    main()
