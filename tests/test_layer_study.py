"""The study of what each unit contributes, told its answers by hand."""

from __future__ import annotations

from fusionlib.question import Known, Question, Told
from fusionlib.recipe import Recipe, Source
from fusionlib.studies.layers import Layers, Unit

A, B = (Source(path=name, fingerprint=name * 64) for name in "ab")


def network(share: float) -> Recipe:
    return Recipe(method="linear", parameters={"alpha": share}, checkpoints=(A, B))


SHARES = {"base": 0.0, "whole": 1.0, "stem alone": 0.1, "stem left out": 0.9, "head alone": 0.3, "head left out": 0.7}
"""The alpha that stands for each network, in the order in which they are measured."""
STUDY = Layers(
    network(0.0),
    network(1.0),
    (Unit("stem", network(0.1), network(0.9)), Unit("head", network(0.3), network(0.7))),
    "pictures",
)


def answer(question: Question) -> Told:
    """mIoU is the network's alpha; class 0 has half of that, and class 1 is nowhere."""
    share = question.recipes[0].parameters["alpha"]
    figures = {"miou": share, "iou": [share / 2, None]} if question.measure == "confusion" else {"loss": 1 - share}
    return Told(question, figures, 3, 0, False, ())


def told(*names: str) -> Known:
    wanted = {SHARES[name] for name in names}
    asked = (one for step in STUDY.steps({}) for one in step.questions)
    return {one: answer(one) for one in asked if one.recipes[0].parameters["alpha"] in wanted}


def test_the_anchor_and_the_merge_come_first_then_every_unit_both_ways() -> None:
    steps = STUDY.steps({})
    assert [step.questions[0].recipes[0].parameters["alpha"] for step in steps] == list(SHARES.values())
    assert len({step.title for step in steps}) == len(steps)
    assert {(one.measure, one.data) for step in steps for one in step.questions} == {
        ("confusion", "pictures"),
        ("loss", "pictures"),
    }


def test_the_table_has_a_place_for_what_is_not_known() -> None:
    known = told("base", "whole", "stem alone", "head left out")
    assert STUDY.table(known) == {
        "names": ["stem", "head"],
        "base": 0.0,
        "whole": 1.0,
        "only": [0.1, None],
        "without": [None, 0.7],
    }
    assert STUDY.table({})["only"] == [None, None]


def test_a_class_is_told_by_its_own_iou() -> None:
    table = STUDY.table_of("0", told(*SHARES))
    assert (table["base"], table["whole"]) == (0.0, 0.5)
    assert table["only"] == [0.05, 0.15] and table["without"] == [0.45, 0.35]
    assert STUDY.table_of("1", told(*SHARES))["only"] == [None, None]


def test_half_an_answer_is_none() -> None:
    known = {one: told for one, told in told(*SHARES).items() if one.measure == "confusion"}
    assert STUDY.figures(known) == [None] * len(SHARES)
    first = STUDY.figures(told(*SHARES))[0]
    assert first is not None and (first["miou"], first["loss"], first["images"]) == (0.0, 1.0, 3)


def test_units_without_effect_are_the_same_questions() -> None:
    flat = Layers(network(0.5), network(0.5), (Unit("stem", network(0.5), network(0.5)),), "pictures")
    assert len({one for step in flat.steps({}) for one in step.questions}) == 2
