"""What a network declares of its training: several outputs in the loss, groups of parameters; and clipped gradients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CPU, folder_data, tiny_registered
from test_senformer import CLASSES, MINI
from torch.nn.functional import cross_entropy

from fusionlib.architectures.backbones import TINY
from fusionlib.architectures.senformer import SenFormerArchitecture
from fusionlib.architectures.senformer_plan import usual_plan
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES, IGNORE, REGIMES
from fusionlib.data.spec import open_dataset
from fusionlib.lab.loop import Trainer
from fusionlib.lab.plan import TrainingPlan, build_regime

PLAN = TrainingPlan("mini-senformer", CLASSES, epochs=2, batch=2, crop=(16, 32), class_weights=False)
SETTINGS: dict[str, dict[str, Any]] = {
    "csgld": {"snapshots": 2, "samples": 1},
    "kfac": {"tau": 1e4},
    "lookahead": {"period": 2},
    "lookaround": {"period": 2},
    "sse": {"snapshots": 2},
    "spro": {"points": 1, "vertices": 2},
    "star-sse": {"children": 1},
    "swag": {"rank": 2},
}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    ARCHITECTURES.names()
    monkeypatch.setitem(ARCHITECTURES._items, "mini-senformer", SenFormerArchitecture(MINI, listed=False))
    with tiny_registered():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory):
    return open_dataset(f"folder:{folder_data(tmp_path_factory.mktemp('town') / 'data')}")


def trainer(data, out: Path, plan: TrainingPlan = PLAN, regime: str = "scratch", **settings) -> Trainer:
    options = {"target": data} if REGIMES.get(regime).needs_target else {}
    built = build_regime(regime, {**SETTINGS.get(regime, {}), "lr": 0.001, **settings})
    return Trainer(plan, data, built, out, device=CPU, **options)


def test_the_loss_is_that_of_the_ensemble_and_the_mean_of_the_learners(data, tmp_path: Path) -> None:
    learner = trainer(data, tmp_path).learner
    batch = learner.batch()
    learner.network.eval()
    answers = learner.network.answers(learner._inputs.prepare(batch.images))  # type: ignore[operator]
    truths = torch.from_numpy(batch.truths).long()

    def loss(logits: torch.Tensor) -> torch.Tensor:
        sized = torch.nn.functional.interpolate(logits, truths.shape[1:], mode="bilinear")
        return cross_entropy(sized, truths, ignore_index=IGNORE)

    expected = loss(answers.softmax(2).mean(0).log()) + sum(map(loss, answers)) / len(answers)
    assert torch.allclose(learner.loss(batch), expected, atol=1e-5)


def test_class_embeddings_have_no_decay_and_a_trained_backbone_a_tenth_of_the_rate(data, tmp_path: Path) -> None:
    learner = trainer(data, tmp_path).learner
    learner.set_rate(0.5)
    (optimiser,) = learner.optimisers
    names = {id(one): name for name, one in learner.network.named_parameters()}
    for group in optimiser.param_groups:
        kinds = {names[id(one)].partition(".")[0] for one in group["params"]}
        embeddings = {names[id(one)].endswith(".queries") for one in group["params"]}
        assert group["lr"] == (0.05 if kinds == {"backbone"} else 0.5)
        assert len(embeddings) == 1 and (group["weight_decay"] == 0) is (embeddings == {True})
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(names)
    assert [one.rate for one in SenFormerArchitecture(usual_plan(TINY)).groups] == [1.0]


def test_a_step_is_no_longer_than_the_clip_and_other_runs_know_nothing_of_it(data, tmp_path: Path) -> None:
    plan = TrainingPlan("tiny", 3, batch=2, crop=(16, 32), clip=1e-3)
    learner = trainer(data, tmp_path, plan, momentum=0.0, weight_decay=0.0).learner
    before = {name: tensor.clone() for name, tensor in learner.parameters.items()}
    learner.set_rate(1.0)
    learner.update(learner.loss(learner.batch()))
    moved = sum((tensor - before[name]).square().sum() for name, tensor in learner.parameters.items()) ** 0.5
    assert float(moved) == pytest.approx(1e-3, rel=1e-3)
    assert plan.settings["clip"] == 1e-3 and "clip" not in TrainingPlan().settings


@pytest.mark.parametrize("name", REGIMES.names())
def test_a_self_ensemble_trains_by_every_regime(data, tmp_path: Path, name: str) -> None:
    run = trainer(data, tmp_path, regime=name)
    run.run()
    assert run.points and all(torch.isfinite(one).all() for one in run.learner.parameters.values())


@pytest.mark.parametrize(("more", "told"), [((), True), (("--set", "algorithm=adamw"), False)])
def test_who_trains_it_otherwise_than_its_paper_is_told(
    more: tuple[str, ...], told: bool, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = ("--data", "streets:clear:2@train", "--crop", "32x64", "--batch", "2", "--epochs", "1")
    main(["train", "--arch", "senformer-tiny", *data, *more, "--out", str(tmp_path / "run"), "--json"])
    notes = json.loads(capsys.readouterr().out)["notes"]
    wanted = "usually trained by --set algorithm=adamw --lr 0.0001 --weight-decay 0.0001 --schedule poly --clip 3"
    assert any(note.endswith(wanted) for note in notes) == told
