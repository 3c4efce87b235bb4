"""Strategies of a search decide from scores alone: closed forms, without a network or a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from fusionlib.candidate import HARMONIC, Candidate, Learned, equal, single, singles
from fusionlib.contracts import STRATEGIES, Strategy
from fusionlib.errors import UsageError
from fusionlib.question import Question, Told
from fusionlib.recipe import Source
from fusionlib.studies.candidates import Networks, score_in, subsets_of
from fusionlib.studies.points import dirichlet, grid_size, weight_grid
from fusionlib.studies.search import Pictures, Search
from fusionlib.studies.strategies.adaptive import Adaptive
from fusionlib.studies.strategies.evolve import Evolve
from fusionlib.studies.strategies.greedy import GreedySoup
from fusionlib.studies.strategies.greedy_ensemble import GreedyEnsemble
from fusionlib.studies.strategies.grid import Grid
from fusionlib.studies.strategies.learned import LearnedSoup
from fusionlib.studies.strategies.simplex import Simplex
from fusionlib.studies.strategies.star import Star
from fusionlib.studies.strategies.subsets import Subsets
from fusionlib.studies.strategies.swa import StochasticWeightAverage
from fusionlib.studies.strategies.walk import Walk

Score = Callable[[Candidate], float]


@dataclass
class Searched:
    """A search that was gone through: what was asked in its order, and what was found."""

    study: Search
    known: dict[Question, Told]
    questions: list[Question]

    @property
    def best(self) -> Candidate:
        found = self.study.best(self.known)
        assert found is not None
        return found

    @property
    def visited(self) -> list[tuple[Candidate, int | None]]:
        return list(self.study.asking(self.known).asked)

    @property
    def alphas(self) -> list[float]:
        return [candidate.weights[0] for candidate, _ in self.visited]

    @property
    def table(self) -> dict[str, Any]:
        return self.study.table(self.known)


def planned(strategy: Strategy, members: int = 2, pictures: int = 20, units: tuple[str, ...] = ()) -> Search:
    """The study of a strategy, on data that do not exist."""
    sources = tuple(Source(path=f"{number}", fingerprint=f"{number:064x}") for number in range(members))
    parts = tuple((Pictures(f"part {n}", places, "select"),) for n, places in enumerate(strategy.parts(pictures)))
    whole, report = Pictures("select", tuple(range(pictures))), Pictures("report", tuple(range(7)))
    return Search(strategy, Networks(sources), (whole,), (report,), parts, units=units)


def searched(study: Search, score: Score, of_parts: Score | None = None) -> Searched:
    """Answer what it asks, one step at a time, until nothing is left; no question is asked twice. `of_parts`: what
    parts of the pictures say, where that is something else.
    """
    known: dict[Question, Told] = {}
    asked: list[Question] = []
    while left := [one for step in study.steps(known) for one in step.questions if one not in known]:
        first = next(step for step in study.steps(known) if left[0] in step.questions)
        for question in first.questions:
            assert question not in asked
            asked.append(question)
            said = of_parts if of_parts is not None and question.data.startswith("part") else score
            known[question] = Told(question, _figures(question, study, said), 20, 0, False, ("",))
    return Searched(study, known, asked)


def _figures(question: Question, study: Search, score: Score) -> Mapping[str, Any]:
    if question.measure == "ensembles":
        found = [score(equal(members, study.count, together=True)) for members in subsets_of(study.count)]
        return {f"ensemble_{name}": found for name in ("miou", "pixel_accuracy", "loss")}
    if question.measure == "oracle":
        return {"oracle_miou": 1.0}
    of = next(one for one, recipe in study.networks._made.items() if recipe is question.recipes[0])
    return {"miou": score(of), "pixel_accuracy": 0.0} if question.measure == "confusion" else {"loss": 1.0}


def hump(at: float) -> Score:
    return lambda one: -((one.weights[0] - at) ** 2)


# --- pairs -----------------------------------------------------------------------------------------------------------


def test_a_grid_asks_about_every_point_once_and_finds_the_first_of_the_best() -> None:
    found = searched(planned(Grid()), lambda one: min(one.weights[0], 0.5))
    assert sorted(found.alphas) == [round(0.05 * step, 9) for step in range(21)]
    assert found.alphas[:3] == [0.0, 1.0, 0.5], "coarse to fine"
    assert found.best.weights[0] == 0.5
    assert found.study.passes(found.known) == {"search": 420, "beside": 21, "full_grid": 420}


@pytest.mark.parametrize(("count", "step", "points"), [(2, 0.05, 21), (3, 0.05, 231), (4, 0.1, 286), (5, 0.25, 70)])
def test_a_grid_of_weights_has_every_multiple_of_its_step(count: int, step: float, points: int) -> None:
    grid = weight_grid(step, count)
    assert len(grid) == len(set(grid)) == grid_size(step, count) == points
    assert all(math.isclose(sum(one.weights), 1) and min(one.weights) >= 0 for one in grid)
    assert set(singles(count)) <= set(grid)


@pytest.mark.parametrize(("count", "step", "needs"), [(4, 0.05, "at most 1001"), (3, 0.3, "divides 1")])
def test_a_grid_that_is_too_large_or_uneven_is_refused(count: int, step: float, needs: str) -> None:
    with pytest.raises(UsageError, match=needs):
        weight_grid(step, count)


def test_a_walk_over_one_hump_visits_it_from_both_sides() -> None:
    found = searched(planned(Walk()), hump(0.3))
    up = [round(0.05 * step, 9) for step in range(8)]
    down = [round(1 - 0.05 * step, 9) for step in range(13)]
    assert found.alphas == pytest.approx([*up, *down]), "0, .05, ..., .35, then 1, .95, ..., .4: .35 was visited"
    assert found.best.weights[0] == pytest.approx(0.3)


def test_a_walk_over_two_humps_finds_both_and_nothing_between_them() -> None:
    score = lambda one: max(-abs(one.weights[0] - 0.1), -abs(one.weights[0] - 0.85) - 0.01)  # noqa: E731
    found = searched(planned(Walk()), score)
    assert found.alphas == pytest.approx([0, 0.05, 0.1, 0.15, 1, 0.95, 0.9, 0.85, 0.8])
    assert found.best.weights[0] == pytest.approx(0.1)


def test_a_walk_ends_where_the_score_stays_the_same() -> None:
    found = searched(planned(Walk()), lambda one: 0.5)
    assert found.alphas == pytest.approx([0, 0.05, 1, 0.95])


@pytest.mark.parametrize("pictures", [5, 10, 30, 101])
@pytest.mark.parametrize("at", [0.0, 0.12, 0.4, 0.5, 0.77, 1.0])
def test_adaptive_finds_the_grids_optimum_of_a_smooth_curve_for_a_quarter_of_its_passes_and_both_ends(
    at: float, pictures: int
) -> None:
    study = planned(Adaptive(), pictures=pictures)
    found, grid = (searched(one, hump(at)) for one in (study, planned(Grid(), pictures=pictures)))
    assert hump(at)(found.best) == pytest.approx(hump(at)(grid.best))
    ((half,),) = study.parts
    assert len(half.numbers) == pictures // 2
    seen = {part: [candidate for candidate, where in found.visited if where == part] for part in (0, None)}
    assert set(singles(2)) <= set(seen[None]) and len(seen[0]) <= 8 and len(seen[None]) <= 6
    passes = found.study.passes(found.known)
    assert passes["search"] - 2 * pictures <= 0.25 * passes["full_grid"]
    assert passes["search"] <= study.strategy.expected(2, pictures)
    assert found.study.asking(found.known).outcome.about["confidence"] is None, "nothing to resample"


def test_adaptive_corrects_half_of_the_pictures_by_what_they_say_of_both_ends() -> None:
    """Half of them praise A and blame B: without the correction the peak would lie at A."""
    study = planned(Adaptive(finalists=1), pictures=10)
    grid = searched(planned(Grid(), pictures=10), hump(0.35))

    found = searched(study, hump(0.35), lambda one: hump(0.35)(one) + 0.9 * one.weights[0] - 0.4 * one.weights[1])
    assert found.best == grid.best and found.best.weights[0] == pytest.approx(0.35)


def test_adaptive_looks_at_all_of_a_few_pictures() -> None:
    found = searched(planned(Adaptive(), pictures=3), hump(0.4))
    assert {part for _, part in found.visited} == {None} and found.best.weights[0] == pytest.approx(0.4)


def test_adaptive_looks_at_all_of_several_datasets_of_few_pictures_each() -> None:
    study = planned(Adaptive(), pictures=6)
    few = tuple(Pictures(f"select {n}", (0, 1, 2)) for n in range(2))
    found = searched(replace(study, select=few, parts=(), score=HARMONIC), lambda one: 1 + hump(0.4)(one))
    assert found.best.weights[0] == pytest.approx(0.4) and {question.data for question in found.questions} >= {
        one.key for one in few
    }


def test_adaptive_says_how_sure_it_is() -> None:
    study = planned(Adaptive(), pictures=40)
    first = searched(study, hump(0.5))

    def draws(candidates, data: str) -> np.ndarray:
        wins = np.zeros((10, len(candidates)))
        mine = next(place for place, one in enumerate(candidates) if one.weights[0] == 0.5)
        wins[:7, mine], wins[7:, mine - 1] = 0.5, 0.2
        return wins

    about = replace(study, draws=draws).asking(first.known).outcome.about
    assert about["confidence"] == pytest.approx(0.7) and about["regret"] == pytest.approx(0.06)


# --- several ---------------------------------------------------------------------------------------------------------


def test_simplex_finds_an_optimum_inside_with_the_stated_number_of_questions() -> None:
    goal = np.array([0.2, 0.5, 0.3])
    score = lambda one: -float(((np.array(one.weights) - goal) ** 2).sum())  # noqa: E731
    found = searched(planned(Simplex(), 3), score)
    assert score(found.best) > -0.001
    draws = [one for one, _ in found.visited][:54]
    assert draws == [*singles(3), equal(range(3), 3), *dirichlet(50, range(3), 3, [0])]
    assert 54 < len(found.visited) <= 54 + 60
    assert searched(planned(Simplex(seed=1), 3), score).visited != found.visited
    assert len(searched(planned(Simplex(steps=0), 3), score).visited) == 54


def test_a_star_takes_the_start_with_each_of_the_others() -> None:
    goals = {1: (0.3, 0.5), 2: (0.6, 0.9), 3: (0.5, 0.7)}

    def score(one: Candidate) -> float:
        others = [number for number in (1, 2, 3) if one.weights[number]]
        return 0.1 if len(others) != 1 else goals[others[0]][1] - abs(one.weights[0] - goals[others[0]][0])

    found = searched(planned(Star(), 4), score)
    assert found.best.weights == pytest.approx((0.6, 0, 0.4, 0))
    rays = found.table["rays"]
    assert [(ray["other"], round(ray["alpha"], 9)) for ray in rays] == [(1, 0.3), (2, 0.6), (3, 0.5)]
    assert all({"fused", "single", "loss", "oracle"} <= set(ray) for ray in rays)
    assert len({one for one, _ in found.visited}) == 4 + 3 * 19
    with pytest.raises(UsageError, match="0 to 3"):
        searched(planned(Star(start=4), 4), score)


def test_subsets_merge_each_and_take_all_ensembles_from_one_question() -> None:
    found = searched(planned(Subsets(draws=7), 4), lambda one: one.weights[2] - one.weights[0] - 0.1 * one.together)
    merges = {one for one, _ in found.visited if not one.together}
    assert len(merges) == 4 + 6 * 19 + 5 * 7
    assert len([one for one in found.questions if one.measure == "ensembles"]) == 2, "to choose and to report"
    rows = found.table["subsets"]
    assert [tuple(row["members"]) for row in rows] == list(subsets_of(4)) and len(rows) == 11
    assert all(len([share for share in row["weights"] if share]) == len(row["members"]) for row in rows)
    assert found.best.members in ((1, 2), (2, 3)) and found.best.weights[2] == 0.95
    reported = [one for one in found.table["evaluations"] if one["report"]]
    assert len(reported) == 11 + 11 + 4


SOUP = (0.05, 0.9, 0.4, 0.55)


def near_half(one: Candidate) -> float:
    return -abs(sum(share * value for share, value in zip(one.weights, SOUP, strict=True)) - 0.5)


def test_a_greedy_soup_keeps_what_makes_it_strictly_better() -> None:
    found = searched(planned(GreedySoup(), 4), near_half)
    order = found.table["orders"][0]
    assert order["order"] == [3, 2, 1, 0] and order["kept"] == [3, 2], "0.475 is nearer than 0.55"
    assert found.best == equal([2, 3], 4) and len(found.visited) == 4 + 3


def test_ties_are_kept_only_where_they_are_asked_for() -> None:
    flat = lambda one: 0.5  # noqa: E731
    strict, ties = (searched(planned(GreedySoup(ties=one), 3), flat) for one in (False, True))
    assert strict.best == single(0, 3), "of equal ones the first"
    assert ties.best == equal(range(3), 3)


def test_random_orders_are_told_with_mean_and_spread() -> None:
    study = planned(GreedySoup(order="random", orders=4, seed=3), 4)
    found = searched(study, near_half)
    orders = found.table["orders"]
    rng = np.random.default_rng(3)
    assert [one["order"] for one in orders] == [rng.permutation(4).tolist() for _ in range(4)]
    scores = [one["score"] for one in orders]
    assert found.table["mean"] == pytest.approx(np.mean(scores)) and found.table["std"] == pytest.approx(np.std(scores))
    assert near_half(found.best) == max(scores)


@pytest.mark.parametrize("count", [4, 9])
def test_a_greedy_ensemble_does_the_same_with_answers(count: int) -> None:
    values = np.linspace(0.1, 0.9, count)
    score = lambda one: -abs(float(np.dot(one.weights, values)) - 0.45) + 0.2 * one.together  # noqa: E731
    found = searched(planned(GreedyEnsemble(), count), score)
    assert found.best.together and len(found.best.members) >= 2
    asked = {one.measure for one in found.questions}
    assert ("ensembles" in asked) == (count <= 8)


def test_swa_is_the_mean_with_statistics_of_its_own() -> None:
    found = searched(planned(StochasticWeightAverage(), 3), lambda one: 0.5)
    assert found.best == Candidate((1 / 3,) * 3, anew=True) and len(found.visited) == 1


# --- profiles --------------------------------------------------------------------------------------------------------

UNITS = ("stem", "body", "head")
GOAL = (0.8, 0.3, 0.6)


def profiled(one: Candidate) -> float:
    rows = dict(one.units)
    return -sum((rows.get(name, one.weights)[0] - goal) ** 2 for name, goal in zip(UNITS, GOAL, strict=True))


def test_an_evolution_finds_a_profile_and_keeps_to_its_budget() -> None:
    study = planned(Evolve(budget=6000), units=UNITS)
    found = searched(study, profiled)
    assert profiled(found.best) > -0.02 and found.best.units and found.best.granularity == "block"
    assert found.study.passes(found.known)["search"] <= 6000
    assert found.visited == searched(study, profiled).visited


def test_an_evolution_begins_where_the_contributions_point_and_has_one_alpha_to_beat() -> None:
    goals = dict(zip(UNITS, (0.55, 1.0, 0.5), strict=True))

    def score(one: Candidate) -> float:
        rows = dict(one.units)
        return -sum((rows.get(name, one.weights)[0] - goal) ** 2 for name, goal in goals.items())

    found = searched(planned(Evolve(budget=6000), units=UNITS), score)
    rival, told = found.study.rival(found.known), found.table
    assert rival is not None and abs(rival.weights[0] - sum(goals.values()) / 3) <= 0.0625
    alpha = rival.weights[0]
    assert told["contributions"] == {name: alpha if goal < 1 else 1.0 for name, goal in goals.items()}
    suggested = tuple((name, (one, 1 - one)) for name, one in told["contributions"].items())
    assert suggested in [one.units for one, _ in found.visited[:25]], "in the first generation"
    assert told["rival"]["report"]["gain"] == score(found.best) - score(rival) > 0
    without = searched(planned(Evolve(budget=6000, begin=0.0), units=UNITS), score)
    assert without.table["contributions"] is None and without.study.rival(without.known) == rival
    assert searched(planned(Evolve(budget=580), units=UNITS), score).table["contributions"] is None, "too dear"


def test_an_evolution_stops_where_nothing_is_gained() -> None:
    found = searched(planned(Evolve(budget=100_000, patience=2), units=UNITS), lambda one: 0.5)
    assert found.table["generations"] == 3 and found.table["stopped"] == "noise"
    with pytest.raises(UsageError, match="two generations"):
        searched(planned(Evolve(budget=100), units=UNITS), profiled)


def test_an_evolution_stops_inside_the_noise() -> None:
    study = replace(planned(Evolve(budget=100_000), units=UNITS), draws=lambda *_: np.array([[0, 1.0], [0, -1.0]]))
    found = searched(study, profiled)
    assert found.table["stopped"] == "noise" and found.table["generations"] == 4


# --- gradients -------------------------------------------------------------------------------------------------------


def test_a_learned_soup_waits_for_its_weights_then_measures_them() -> None:
    study = planned(LearnedSoup(), 3)
    assert list(study.steps({})) == []
    wish = study.wanted({})
    assert wish is not None and not wish.by_tensor and wish.epochs == 5
    taught = Learned(Candidate((0.5, 0.25, 0.25)), 1.1, (0.7, 0.6), 300)
    found = searched(replace(study, learned=((wish, taught),)), lambda one: 0.5)
    assert found.best == taught.candidate and found.table["beta"] == 1.1
    assert found.study.passes(found.known)["search"] == 300 + 20


# --- all -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_every_strategy_leads_the_same_way_again_and_keeps_to_what_it_expects(name: str) -> None:
    kind = STRATEGIES.get(name)
    strategy = kind()
    assert strategy.title and strategy.summary and strategy.source and strategy.version >= 1
    members = min(3, strategy.most)
    units = UNITS if strategy.granularity() else ()
    study = planned(strategy, members, 24, units)
    if (wish := study.wanted({})) is not None:
        study = replace(study, learned=((wish, Learned(equal(range(members), members), 1.0, (), 24 * 15)),))
    score = lambda one: -float(np.square(np.array(one.weights) - 0.4).sum())  # noqa: E731
    one, other = searched(study, score), searched(study, score)
    assert one.visited == other.visited and one.best == other.best
    assert study.ahead(one.known) == 0 and study.ahead({}) > 0
    passes = one.study.passes(one.known)
    assert passes["search"] <= strategy.expected(members, 24)
    scores = [score_in({"miou": score(found)}, "miou") for found, part in one.visited if part is None]
    ensembles = [score(found) for found, _ in one.visited if found.together]
    assert score(one.best) == max(scores) or max(scores) in ensembles or strategy.buffers == "recalibrate"
    assert STRATEGIES.names_in_files() == STRATEGIES.names()
