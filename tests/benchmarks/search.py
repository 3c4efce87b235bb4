"""Searches held against the grid: `python tests/benchmarks/search.py adaptive|strategies --home HOME`.

`adaptive`: every pair of the demo and the six of the real ENet epochs (`FUSION_DATA`); the share of the grid's forward
passes beside those of both ends (with these 9.5 % more) and the regret, in points of mIoU on the pictures that were
chosen by, of the adaptive search, of the paper's walk and of successive halving. The grids are measured into `--home`
first, so that the rest is arithmetic.
`strategies`: every strategy on a set of the demo, chosen on val and reported on test, and on the four real epochs,
chosen on the first pictures of CamVid's train and reported on its val. Not part of the tests.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from fusionlib.architectures.recognise import recognise  # noqa: E402
from fusionlib.candidate import Outcome  # noqa: E402
from fusionlib.checkpoints.groups import Choice  # noqa: E402
from fusionlib.checkpoints.reader import open_checkpoints  # noqa: E402
from fusionlib.contracts import STRATEGIES, Objective, Strategy, parameter  # noqa: E402
from fusionlib.diagnostics.bootstrap import in_points, middle  # noqa: E402
from fusionlib.studies.points import STEP, best_of, pair_grid  # noqa: E402
from fusionlib.studio import Options, Studio  # noqa: E402
from fusionlib.studio.wanted import Wanted  # noqa: E402

REAL = Path(os.environ.get("FUSION_DATA", ROOT.parent / "shared" / "data"))
DEMO = sorted((ROOT / "assets" / "demo").glob("*.safetensors"))
EPOCHS = sorted((REAL / "checkpoints" / "enet-cityscapes").glob("*.pth"))
SET = ("start", "cycle-1", "cycle-2", "seed-11", "seed-12")
"""Networks of the demo that every strategy is tried on."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "grid": {"step": 0.25},
    "star": {"step": 0.1},
    "subsets": {"step": 0.25, "draws": 4},
    "simplex": {"draws": 20, "steps": 20},
    "evolve": {"budget": 1000, "population": 8},
}
"""Smaller than the defaults, so that all of them take ten minutes."""


@dataclass(frozen=True)
class Halving(Strategy):
    """All alphas on a few pictures of a seeded permutation; those that are surely worse than the best are dropped, and
    the pictures doubled, until one is left or all pictures are seen.
    """

    title: ClassVar[str] = "Successive halving"
    summary: ClassVar[str] = "The rival"
    source: ClassVar[str] = "Jamieson & Talwalkar 2016, with a paired bootstrap"
    version: ClassVar[int] = 1
    most: ClassVar[int] = 2

    step: float = parameter(STEP, "Distance between alphas", min=0.001, max=1.0)

    def parts(self, pictures: int) -> tuple[tuple[int, ...], ...]:
        order, size, found = np.random.default_rng(0).permutation(pictures).tolist(), max(8, pictures // 8), []
        while size < pictures:
            found.append(tuple(sorted(order[:size])))
            size *= 2
        return tuple(found)

    def expected(self, members: int, pictures: int) -> int:
        return 21 * pictures

    def search(self, objective: Objective) -> Outcome:
        left = pair_grid(self.step, 0, 1, 2)
        for part in (*range(len(self.parts(objective.pictures))), None):
            scores = objective.scores(left, part)
            best = best_of(left, scores)
            draws = objective.draws(left, part)
            if draws is None or part is None:
                continue
            mine = draws[:, left.index(best)]
            left = [one for place, one in enumerate(left) if middle(draws[:, place] - mine)[1] >= 0]
            if len(left) == 1:
                break
        return Outcome(best_of(left, objective.scores(left)))


RIVALS: Mapping[str, Wanted] = {
    "adaptive": Wanted("adaptive"),
    "walk": Wanted("walk"),
    "halving": Wanted("halving"),
}


def adaptive(studio: Studio, data: Mapping[str, tuple[Sequence[Path], str]], limit: int | None, skip: int = 0) -> None:
    """A row for each pair but the first `skip`, then the worst and the mean of each rival."""
    STRATEGIES.put("halving", Halving)
    for name, (files, spec) in data.items():
        pictures = studio.workspace.open_pictures(spec, None, limit)
        opened = open_checkpoints(list(files), choice=Choice(recognise=recognise))
        print(
            f"\n{name}: {spec}, {len(pictures)} pictures; passes beside both ends in % of the grid's, regret in points"
        )
        told: dict[str, list[tuple[float, float]]] = {rival: [] for rival in RIVALS}
        for pair in list(combinations(opened, 2))[skip:]:
            grid = studio.searches.of(pair, [pictures], [pictures], Wanted("grid")).measure()
            scores = {
                tuple(one["weights"]): one["select"]["miou"] for one in grid["evaluations"] if one["part"] is None
            }
            row = []
            for rival, wanted in RIVALS.items():
                found = studio.searches.of(pair, [pictures], [pictures], wanted).measure()
                ends = 2 * len(pictures)  # what every choice needs, and is known of most networks
                share = 100 * (found["forward_passes_search"] - ends) / found["forward_passes_full_grid"]
                regret = 100 * (max(scores.values()) - scores[tuple(found["best"]["weights"])])
                told[rival].append((share, regret))
                row.append(f"{share:5.1f} {regret:5.2f}")
            print(f"{pair[0].name + ' + ' + pair[1].name:28}", " | ".join(row), flush=True)
        for rival, found in told.items():
            shares, regrets = zip(*found, strict=True)
            missed = sum(one > 0.1 for one in regrets)
            print(
                f"{rival:16} passes mean {np.mean(shares):.1f} most {max(shares):.1f} %, regret mean"
                f" {np.mean(regrets):.3f} most {max(regrets):.2f}, above 0.1 point {missed} of {len(regrets)}"
            )


def strategies(studio: Studio, files: Sequence[Path], select: str, report: str, limit: int | None = None) -> None:
    """A row for each strategy; pairs for those that take two. `limit`: by so many pictures it is chosen."""
    opened = open_checkpoints(list(files), choice=Choice(recognise=recognise))
    pictures = [studio.workspace.open_pictures(select, None, limit), studio.workspace.open_pictures(report, None)]
    print(f"\n{', '.join(one.name for one in opened)}; chosen on {select} {limit or ''}, reported on {report}")
    for name in STRATEGIES.names():
        kind = STRATEGIES.get(name)
        settings = SETTINGS.get(name, {})
        members = opened[: kind.most]
        found = studio.searches.of(members, *([one] for one in pictures), Wanted(name, settings)).measure()
        best = found["best"]
        weights = " ".join(f"{share:.2f}" for share in best["weights"])
        intervals = [in_points(best[where]["interval"]) if best[where]["interval"] else "n/a" for where in
                     ("select", "report")]  # fmt: skip
        print(
            f"{name:18} {100 * best['select']['miou']:6.2f} ({intervals[0]}) {100 * best['report']['miou']:6.2f}"
            f" ({intervals[1]}) {found['forward_passes_search']:6} passes  {weights}"
            f"{' together' if best['ensemble'] else ''}",
            flush=True,
        )
    print(studio.runner.tally.line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("adaptive", "strategies"))
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--demo", default="streets:all:15@val", help="data for the demo's pairs")
    parser.add_argument("--camvid", default=f"camvid:{REAL / 'camvid'}@val", help="data for the real pairs")
    parser.add_argument("--select", default="streets:all:32@val")
    parser.add_argument("--report", default="streets:all:32@test")
    parser.add_argument("--only", choices=("demo", "real"), help="default: both")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures of each for the pairs")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="the first N pairs of each are passed over")
    parser.add_argument("--train", type=int, default=20, help="pictures of CamVid's train that epochs are chosen by")
    given = parser.parse_args()
    studio = Studio(Options(demo=False, home=given.home, device="cpu"))
    if given.what == "strategies":
        if given.only != "real":
            strategies(studio, [path for path in DEMO if path.stem in SET], given.select, given.report)
        if given.only != "demo":
            train = given.camvid.replace("@val", "@train")
            strategies(studio, EPOCHS, train, given.camvid, given.train)
        return
    data = {"demo": (DEMO, given.demo), "real": (EPOCHS, given.camvid)}
    adaptive(studio, {name: one for name, one in data.items() if given.only in (None, name)}, given.limit, given.skip)


if __name__ == "__main__":
    main()
