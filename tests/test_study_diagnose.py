"""The diagnosis as a plan: which questions, in which order, and what is made of the answers; nothing runs here."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from pathlib import Path

from fusionlib.question import Question, Told
from fusionlib.recipe import Source, checkpoint_alone
from fusionlib.studies.diagnose import TOGETHER, Diagnose, PairPath
from fusionlib.studies.grid import FINE, closer_later, closer_points
from fusionlib.studies.path import MergePath

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [Source(path=name, fingerprint=str(number) * 64) for number, name in enumerate("abc")]
MEMBERS = tuple(map(checkpoint_alone, SOURCES))
PAIRS = tuple(combinations(range(3), 2))
PATHS = tuple(PairPath(pair, MergePath((SOURCES[pair[0]], SOURCES[pair[1]])), "k") for pair in PAIRS)


def plan(**more) -> Diagnose:
    return Diagnose(MEMBERS, "k", **{"labelled": True, "singles": (0, 1, 2), "pairs": PAIRS, **more})


def answered(question: Question, miou: float = 0.5) -> Told:
    figures = {"miou": miou, "pixel_accuracy": miou, "loss": 1.0, "disagreement": 0.1, "diversity": 50.0}
    figures |= {"oracle_miou": 0.9, "oracle_pixel_accuracy": 0.9, "cka": []}
    return Told(question, figures, 7, 0, True, ())


def shares(recipe) -> float | None:
    return recipe.parameters.get("alpha")


def worked_off(study: Diagnose, best: float) -> tuple[list[list[float | None]], dict]:
    """Alphas step by step, where mIoU falls off to both sides of `best`; how many were foretold never changes."""
    known: dict[Question, Told] = {}
    asked, foretold = [], set()
    while left := [step for step in study.steps(known) if not set(step.questions) <= known.keys()]:
        networks = [recipe.content for step in left for one in step.questions for recipe in one.recipes]
        done = [recipe.content for one in known for recipe in one.recipes]
        foretold.add(len({*networks, *done}) + study.later(known))
        new = [one for one in left[0].questions if one not in known]
        asked.append(sorted({shares(recipe) for one in new for recipe in one.recipes} - {None}))
        for one in new:
            alpha = shares(one.recipes[0])
            known[one] = answered(one, 0.4 if alpha is None else 1 - abs(alpha - best))
    assert len(foretold) == 1
    return asked, known


def test_networks_come_first_then_a_path_coarse_to_fine_then_its_best_merge() -> None:
    study = plan(paths=PATHS[:1], step=0.25)
    asked, known = worked_off(study, 0.75)
    assert asked == [[], [0.5], [0.25], [0.75], [0.625, 0.875]]
    assert study.later(known) == 0 and not study.unfinished(known)
    points = study.points(PATHS[0], known)
    assert points and [point["alpha"] for point in points] == [0, 0.25, 0.5, 0.625, 0.75, 0.875, 1]
    assert points[0]["miou"] == points[-1]["miou"] == 0.4, "the ends are the networks alone"
    asked, _ = worked_off(plan(paths=PATHS[:1], step=0.5), 0.25)
    assert asked == [[], [0.5], [0.25, 0.75], [0.125, 0.375]], "both neighbours, then those of the new best"


def test_the_first_pass_asks_everything_of_networks_pairs_and_the_set_once() -> None:
    (step,) = plan().steps({})
    measures = {number: [] for number in (1, 2, 3)}
    for one in step.questions:
        measures[len(one.recipes)].append(one.measure)
    assert step.title == TOGETHER and len(set(step.questions)) == len(step.questions)
    assert measures[1] == ["confusion", "loss"] * 3 and measures[2] == ["agreement", "oracle", "cka"] * 3
    assert measures[3] == ["agreement", "oracle"]
    (plain,) = plan(labelled=False).steps({})
    assert {one.measure for one in plain.questions} == {"agreement", "cka"}
    (rest,) = plan(singles=(0, 2), pairs=((0, 2),)).steps({})
    assert [one.recipes for one in rest.questions] == [MEMBERS[::2]] * 3 + [MEMBERS[:1]] * 2 + [MEMBERS[2:]] * 2, (
        "the set of two is the pair"
    )
    assert plan(singles=(), pairs=()).steps({}) == []


def test_what_lacks_is_what_has_to_run() -> None:
    study = plan()
    known = {one: answered(one) for one in study.together}
    assert study.lacking({}) == ((0, 1, 2), PAIRS) and study.lacking(known) == ((), ())
    without = {one: told for one, told in known.items() if one.recipes != (MEMBERS[0], MEMBERS[2])}
    assert study.lacking(without) == ((0, 2), ((0, 2),))
    without = {one: told for one, told in known.items() if one.recipes != (MEMBERS[1],)}
    assert study.lacking(without) == ((1,), ()) and study.functions(without)["singles"][1] is None
    without = {one: told for one, told in known.items() if len(one.recipes) < 3}
    assert study.lacking(without) == ((0, 1, 2), ()) and study.functions(without)["set"] == {}
    assert study.functions({}) is None


def test_points_that_others_measured_are_known_and_skipped() -> None:
    path = PATHS[0].also((0.1, 0.0))
    assert path.also((0.1,)) is path and [shares(one.recipes[0]) for one in path.looked_for] == [0.1, 0.1]
    study = plan(paths=(path,), step=0.5)
    known = {one: answered(one) for one in (*study.together, *path.questions(0.1), *path.questions(0.5))}
    points = study.table(known)["paths"][0]["points"]
    assert [point["alpha"] for point in points] == [0, 0.1, 0.5, 1]
    assert study.lacks(path, known), "the best merge is at 0.1, and the next one far away"
    known = {one: told for one, told in known.items() if one not in path.questions(0.5)}
    assert study.lacks(path, known) and study.unfinished(known) == {(0, 1)}
    alone = {one: told for one, told in known.items() if len(one.recipes) > 1}
    assert study.points(path, alone) is None, "no path without its ends"


def test_points_to_come_are_counted_by_halvings() -> None:
    assert [closer_points(step) for step in (1, 0.5, 0.25, FINE, 0.05)] == [6, 4, 2, 0, 0]
    ends = {0.0: 0.1, 1.0: 0.1}
    assert closer_later({**ends, 0.5: 1}) == 2 and closer_later({**ends, 0.25: 1, 0.5: 0}) == 0
    assert closer_later(ends) == closer_later({**ends, 1e-9: 1}) - 2 == 0


def test_the_plan_is_worked_out_without_what_computes() -> None:
    program = (
        "import sys; from fusionlib.studies.diagnose import Diagnose; from fusionlib.recipe import Recipe;"
        "r = [Recipe.model_validate({'checkpoints': [{'path': 'a', 'fingerprint': c * 64}]}) for c in '01'];"
        "s = Diagnose(tuple(r), 'k', True, (0, 1), ((0, 1),));"
        "print(len(s.steps({})[0].questions), s.table({})['paths'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["7", "[]", "False"]
