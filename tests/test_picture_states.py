"""States of single pictures, out of which intervals and rankings are worked out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fusionlib.contracts import MEASURES
from fusionlib.errors import UsageError
from fusionlib.measures import states
from fusionlib.question import Question
from tests.helpers import World, tiny_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with tiny_world(tmp_path, count=4) as world:
        yield world


def test_states_of_pictures_add_up_to_the_figures_and_run_nothing(world: World) -> None:
    view = world.view()
    runner, pictures = world.studio.runner, view.need_pictures()
    question = Question((view.recipe(0.5),), pictures.fingerprint(), "confusion")
    assert runner.pictures(question, pictures) is None
    told = runner.ask([question], pictures)[0]
    passes = runner.tally.run
    found = runner.pictures(question, pictures)
    assert len(found) == 4 and MEASURES.get("confusion").compute(states.add(found)) == told.figures
    assert runner.tally.run == passes
    part = runner.pictures(question, world.studio.workspace.open_pictures(pictures.spec, None, 2))
    assert len(part) == 2 and all(torch.equal(a["matrix"], b["matrix"]) for a, b in zip(part, found, strict=False))


def test_a_picture_that_is_not_known_leaves_no_states(world: World) -> None:
    view = world.view()
    runner, pictures = world.studio.runner, view.need_pictures()
    few = world.studio.workspace.open_pictures(pictures.spec, None, 2)
    question = Question((view.alone("a"),), few.fingerprint(), "confusion")
    runner.ask([question], few)
    assert len(runner.pictures(question, few)) == 2 and runner.pictures(question, pictures) is None


def test_a_measure_of_whole_splits_has_no_states_of_pictures(world: World) -> None:
    view = world.view()
    pictures = view.need_pictures()
    question = Question((view.alone("a"),), pictures.fingerprint(), "calibration_fine")
    with pytest.raises(UsageError, match="grain picture"):
        world.studio.runner.pictures(question, pictures)
