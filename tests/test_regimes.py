"""Training regimes: what holds for each that is registered, and the closed forms of each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.contracts import (
    ARCHITECTURES,
    IGNORE,
    REGIMES,
    Batch,
    Point,
    Preprocessing,
    Regime,
    Sample,
    Span,
    parameter,
    parameters_of,
)
from fusionlib.data.joined import joined
from fusionlib.data.labels import label_space
from fusionlib.errors import Cancelled, DataError, UsageError
from fusionlib.lab import loop, manifest
from fusionlib.lab.augment import AUGMENTATIONS, augmented
from fusionlib.lab.batches import CropSampler
from fusionlib.lab.counterparts import Counterparts
from fusionlib.lab.descent import Scheduled
from fusionlib.lab.learner import DivergedError, Learner
from fusionlib.lab.loop import Trainer
from fusionlib.lab.manifest import rates, read_run
from fusionlib.lab.plan import MOST_BETWEEN, TrainingPlan, between, build_regime, cost, span_of, validations

CPU = torch.device("cpu")
CLASSES, COUNT = 3, 6
PLAN = TrainingPlan(architecture="mini", classes=CLASSES, epochs=2, batch=2, crop=(16, 16), seed=5)
LENGTH = COUNT // PLAN.batch
SMALL: Mapping[str, Mapping[str, object]] = {
    "csgld": {"snapshots": 2, "lr": 0.02, "samples": 2, "beta": 0.3, "temperature": 0.1},
    "lookahead": {"period": 2},
    "lookaround": {"period": 2},
    "ema-teacher": {"threshold": 0.34, "decay": 0.9},
    "kfac": {"tau": 1e4},
    "spro": {"points": 2, "strength": 1e-3},
    "sse": {"snapshots": 4, "lr": 0.02},
    "swag": {"rank": 2},
}
"""Settings with which two epochs of three steps show what a regime does."""
NAMES = REGIMES.names()


class MiniNet(nn.Module):
    """Two convolutions with a batch norm and a dropout in between, and an integer table."""

    def __init__(self, classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.drop, self.head = nn.Dropout2d(dropout), nn.Conv2d(4, classes, 1)
        self.register_buffer("table", torch.arange(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(torch.relu(self.norm(self.stem(x)))))


class Mini:
    """The network as one that is registered."""

    title, citation, head, preprocessing = "Mini", "made for these tests", ("head",), Preprocessing((0.5,) * 3)

    def __init__(self, dropout: float = 0.2) -> None:
        self.dropout = dropout

    def recognise(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        return None

    def build(self, classes: int) -> nn.Module:
        return MiniNet(classes, self.dropout)

    def label_space(self, classes: int) -> str:
        return f"classes-{classes}"


@dataclass(frozen=True)
class Town:
    """Random pictures of 16x32; truth is whether a pixel is bright, with a row of void."""

    seed: int = 0
    labelled: bool = True
    count: int = COUNT
    size: tuple[int, int] = (16, 32)
    title, notes, label_space = "Town", (), label_space(f"classes-{CLASSES}")

    @property
    def spec(self) -> str:
        return f"town:{self.seed}"

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return str(index)

    def load(self, index: int, whole: bool = False) -> Sample:
        image = np.random.default_rng((self.seed, index)).integers(0, 256, (*self.size, 3), np.uint8)
        truth = (image[..., 0] // 86).astype(np.uint8)
        truth[0] = IGNORE
        return Sample(self.name(index), image, truth if self.labelled else None)

    def fingerprint(self) -> str:
        return f"{self.seed}"

    def picture_key(self, index: int) -> str:
        return f"{self.seed} {index}"

    def group(self, index: int) -> str:
        return str(index)


@pytest.fixture(autouse=True)
def mini(monkeypatch: pytest.MonkeyPatch) -> None:
    ARCHITECTURES.names()
    monkeypatch.setitem(ARCHITECTURES._items, "mini", Mini())
    monkeypatch.setitem(ARCHITECTURES._items, "sure", Mini(0.0))


def regime_of(name: str, **settings) -> Regime:
    return build_regime(name, {**SMALL.get(name, {}), **settings})


def trainer_of(regime: Regime, out: Path, plan: TrainingPlan = PLAN, **options) -> Trainer:
    target = Town(7, labelled=False) if regime.needs_target else None
    return Trainer(plan, options.pop("data", Town()), regime, out, target=target, device=CPU, **options)


def trained(regime: Regime, out: Path, plan: TrainingPlan = PLAN, **options) -> Trainer:
    trainer = trainer_of(regime, out, plan, **options)
    trainer.run()
    return trainer


def files(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}


def tensors(folder: Path, name: str) -> dict[str, Tensor]:
    file = open_checkpoint(folder / f"{name}.safetensors")
    return {name: file.read(name) for name in file.tensors}


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("start")
    with pytest.MonkeyPatch.context() as patch:
        ARCHITECTURES.names()
        patch.setitem(ARCHITECTURES._items, "mini", Mini())
        trained(build_regime("scratch", {}), folder, replace(PLAN, epochs=1, seed=1))
    return folder / "epoch-001.safetensors"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, start: Path):
    """The unbroken run of a regime, trained once."""
    known: dict[str, tuple[Trainer, Path]] = {}

    def run(name: str) -> tuple[Trainer, Path]:
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            known[name] = trained(regime_of(name), folder, start=start, command=["train", name]), folder
        return known[name]

    return run


# --- what holds for every regime --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_is_the_unbroken_one_to_the_byte(runs, start: Path, tmp_path: Path, name: str) -> None:
    """What is measured of it while it goes on changes nothing, and comes out the same where it is broken off."""
    whole, folder = runs(name)
    total = cost(PLAN, whole.regime, COUNT)
    seen: list[tuple[int, int]] = []
    first = trainer_of(whole.regime, tmp_path / "seen", start=start, validate=Town(9, count=2))
    first.run(lambda done, most: seen.append((done, most)))
    assert [most for _, most in seen] == [total] * len(seen) and seen[-1][0] == total
    assert all(early <= late for (early, _), (late, _) in pairwise(seen))
    assert files(tmp_path / "seen") == files(folder)
    for place in (0, len(seen) // 2, len(seen) - 1):
        calls = iter(range(place))

        def stop(*_: int, calls: Iterator[int] = calls) -> None:
            if next(calls, None) is None:
                raise Cancelled

        out = tmp_path / str(place)
        with pytest.raises(Cancelled):
            trainer_of(whole.regime, out, start=start, validate=Town(9, count=2)).run(stop)
        again = trainer_of(whole.regime, out, start=start, validate=Town(9, count=2))
        assert again.resume()
        torch.manual_seed(99)
        assert again.run() == whole.log
        assert files(out) == files(folder), f"broken off after {seen[place][0]}"
        assert read_run(out) == read_run(tmp_path / "seen")
    record = replace(read_run(tmp_path / "seen"), command=read_run(folder).command, validation=None, figures=())
    assert record == read_run(folder)
    (tmp_path / "seen" / manifest.FILE).write_text("{")
    assert first.run() == whole.log and read_run(tmp_path / "seen") == read_run(out), "a cut record is written anew"


@pytest.mark.parametrize("name", NAMES)
def test_a_regime_says_beforehand_when_it_saves(runs, name: str) -> None:
    trainer, _ = runs(name)
    span = trainer.learner.span
    assert [point.step for point in trainer.points] == list(trainer.regime.saved(span))
    assert set(between(trainer.regime, span, True)) == {0, *span.epoch_ends} - set(trainer.regime.saved(span))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_saved_is_a_network_of_the_same_tensors_in_which_integers_are_kept(runs, name: str) -> None:
    trainer, folder = runs(name)
    own = MiniNet(CLASSES).state_dict()
    assert [point.name for point in trainer.points] == list(dict.fromkeys(point.name for point in trainer.points))
    assert set(files(folder)) == {point.name for point in trainer.points} != set()
    for point in trainer.points:
        found = tensors(folder, point.name)
        assert [(name, one.shape, one.dtype) for name, one in found.items()] == [
            (name, one.shape, one.dtype) for name, one in own.items()
        ]
        assert all(torch.isfinite(one).all() for one in found.values())
        assert torch.equal(found["table"], own["table"])


@pytest.mark.parametrize("name", NAMES)
def test_the_record_says_what_was_made_of_what(runs, start: Path, name: str) -> None:
    trainer, folder = runs(name)
    record = read_run(folder)
    begun = open_checkpoint(start).fingerprint
    assert record.command == ("train", name) and record.regime == name and record.seed == 5 and record.finished
    assert record.start is not None and record.start.sha256 == begun
    assert record.parameters == {
        one.name: getattr(trainer.regime, one.name) for one in parameters_of(type(trainer.regime))
    }
    known = {begun}
    for point in record.points:
        assert point.sha256 == open_checkpoint(folder / point.file).fingerprint
        assert point.parents and {parent.sha256 for parent in point.parents} <= known, "made of what was there before"
        assert point.lr == trainer.regime.rate(point.step - 1, trainer.learner.span)
        known.add(point.sha256)
        about = open_checkpoint(folder / point.file).metadata
        assert about["role"] == point.role and json.loads(about["regime"])["name"] == name
    assert record.done == record.steps == trainer.learner.span.steps
    assert len(record.lr.values) == len(record.losses.values) == record.steps
    assert list(record.lr.values) == [trainer.regime.rate(step, trainer.learner.span) for step in range(record.steps)]
    assert record.lr == rates(trainer.regime, span_of(PLAN, trainer.regime, COUNT))
    assert [one["epoch"] for one in record.epochs] == list(range(1, 1 + -(-record.steps // record.length)))
    assert record.epochs[0]["loss"] == pytest.approx(np.mean(record.losses.values[:LENGTH]))


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_gives_the_same_bytes_and_another_seed_others(runs, start: Path, tmp_path: Path, name: str) -> None:
    trainer, folder = runs(name)
    torch.manual_seed(123)
    trained(trainer.regime, tmp_path / "again", start=start)
    assert files(tmp_path / "again") == files(folder)
    trained(trainer.regime, tmp_path / "other", replace(PLAN, seed=6), start=start)
    assert set(files(tmp_path / "other")) == set(files(folder))
    first = trainer.points[0].name
    assert not equal(tensors(tmp_path / "other", first), tensors(folder, first))


@pytest.mark.parametrize("name", NAMES)
def test_a_regime_says_all_that_is_asked_of_it(name: str) -> None:
    kind = REGIMES.get(name)
    assert kind.__doc__ and kind.citation and kind.title
    for text in (kind.summary, kind.leaves, kind.helps):
        assert text and text.strip() == text and len(text) <= 150
    regime = build_regime(name, {})
    assert regime.version >= 1 and {one.name for one in parameters_of(kind)} >= {"lr", "momentum", "weight_decay"}
    span = span_of(TrainingPlan(), regime, 80)
    assert span.steps >= span.asked > 0 and cost(TrainingPlan(), regime, 80) >= span.steps
    highest = max(regime.rate(step, span) for step in range(span.steps))
    assert highest == pytest.approx(regime.lr, rel=1e-2), "lr is the highest rate"


def test_plans_costs_and_records_load_no_torch() -> None:
    program = (
        "import sys\nfrom fusionlib.lab.plan import TrainingPlan, build_regime, cost\n"
        "from fusionlib.lab.manifest import rates, read_run\nfrom fusionlib.contracts import REGIMES, Span\n"
        "for name in REGIMES.names():\n    regime = build_regime(name, {})\n"
        "    print(name, cost(TrainingPlan(), regime, 80) > 0, len(rates(regime, Span(2, 8, 8, 16)).values))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [*(f"{name} True 16" for name in NAMES), "False"]


# --- the closed forms of each -----------------------------------------------------------------------------------------


def test_one_cosine_is_at_the_start_rate_first_and_at_half_of_it_in_the_middle() -> None:
    regime, span = build_regime("finetune", {"lr": 0.02}), Span(4, 20, 2, 40)
    assert regime.rate(0, span) == 0.02 and regime.rate(20, span) == pytest.approx(0.01)
    cycles = build_regime("finetune", {"lr": 0.02, "cycles": 2})
    assert [cycles.rate(step, span) for step in (0, 10, 20, 30)] == pytest.approx([0.02, 0.01, 0.02, 0.01])
    poly = build_regime("scratch", {})
    assert poly.rate(0, span) == 0.01 and poly.rate(20, span) == pytest.approx(0.01 * 0.5**0.9)
    with pytest.raises(UsageError, match="--epochs 6"):
        cycles_of_four = build_regime("finetune", {"cycles": 3})
        span_of(replace(PLAN, epochs=4), cycles_of_four, COUNT)


def test_the_ends_of_cycles_have_a_role_of_their_own(tmp_path: Path) -> None:
    trainer = trained(regime_of("finetune", cycles=2), tmp_path, replace(PLAN, epochs=4))
    assert [(point.name, point.role) for point in trainer.points] == [
        ("epoch-001", "epoch"),
        ("epoch-002", "cycle"),
        ("epoch-003", "epoch"),
        ("epoch-004", "cycle"),
    ]


@pytest.mark.parametrize("with_start", [False, True])
def test_swa_is_the_mean_of_what_was_saved_with_statistics_measured_anew(
    start: Path, tmp_path: Path, with_start: bool
) -> None:
    trainer = trained(regime_of("swa", with_start=with_start), tmp_path, replace(PLAN, epochs=3), start=start)
    members = [tensors(tmp_path, f"cycle-{number:02d}") for number in (1, 2, 3)]
    if with_start:
        members.insert(0, tensors(start.parent, start.stem))
    found, last = tensors(tmp_path, "swa"), members[-1]
    for name in trainer.learner.parameters:
        mean = torch.stack([one[name].double() for one in members]).mean(0)
        torch.testing.assert_close(found[name].double(), mean, rtol=1e-6, atol=1e-8)
    network = MiniNet(CLASSES)
    network.load_state_dict(found)
    inputs = torch.cat(
        [
            torch.from_numpy(batch.images).permute(0, 3, 1, 2) / 255 - 0.5
            for batch in CropSampler(Town(), PLAN.crop, 2, PLAN.seed).whole(3)
        ]
    )
    with torch.no_grad():
        seen = network.stem(inputs)
    torch.testing.assert_close(found["norm.running_mean"], seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found["norm.running_mean"], last["norm.running_mean"], rtol=1e-3)
    assert [parent.name for parent in trainer.points[-1].parents] == [
        *(["start"] if with_start else []),
        "cycle-01",
        "cycle-02",
        "cycle-03",
    ]


def test_sse_saves_at_the_ends_of_its_cycles_where_the_rate_is_about_zero(runs) -> None:
    regime, span = build_regime("sse", {"snapshots": 3}), Span(5, 20, 2)
    span = replace(span, steps=regime.steps(span))
    assert span.asked == 50 and span.steps == 51, "T is rounded up to M cycles"
    values = [regime.rate(step, span) for step in range(51)]
    expected = [0.1 * (np.cos(np.pi * np.mod(t - 1, 17) / 17) + 1) for t in range(1, 52)]
    assert values == pytest.approx(expected) and values[0] == values[17] == 0.2 and values[16] < 0.002
    trainer, _ = runs("sse")
    assert [(point.name, point.step) for point in trainer.points] == [(f"snapshot-{n}", 2 * n) for n in (1, 2, 3, 4)]


def test_fge_saves_where_the_rate_is_lowest_and_nowhere_else(tmp_path: Path) -> None:
    regime, plan = build_regime("fge", {"cycle": 2, "lr": 0.05, "low": 5e-4}), replace(PLAN, epochs=5)
    trainer = trained(regime, tmp_path, plan)
    span, saved = trainer.learner.span, [point.step for point in trainer.points]
    values = [regime.rate(step, span) for step in range(span.steps)]
    assert saved == [3, 9, 15] and [point.lr for point in trainer.points] == pytest.approx([5e-4] * 3)
    lowest = [step + 1 for step, value in enumerate(values) if value == pytest.approx(min(values))]
    assert saved == lowest
    assert values[5] == values[11] == pytest.approx(0.05) and values[0] == pytest.approx(0.05 - 0.0495 / 3)
    with pytest.raises(UsageError, match="even"):
        span_of(PLAN, build_regime("fge", {"cycle": 1}), COUNT)
    with pytest.raises(UsageError, match="half a cycle"):
        span_of(PLAN, build_regime("fge", {"cycle": 6}), COUNT)


def test_csgld_without_temperature_is_sse_without_momentum(start: Path, tmp_path: Path) -> None:
    trained(regime_of("csgld", temperature=0.0, samples=1), tmp_path / "cold", start=start)
    trained(regime_of("sse", snapshots=2, momentum=0.0), tmp_path / "sse", start=start)
    for name in ("snapshot-1", "snapshot-2"):
        assert equal(tensors(tmp_path / "cold", name), tensors(tmp_path / "sse", name))


def wide_learner(regime: Regime, span: Span) -> Learner:
    """A network of ten thousand weights of zero."""
    network = nn.Conv2d(100, 100, 1, bias=False)
    nn.init.zeros_(network.weight)
    sampler = CropSampler(Town(), (8, 8), 2, 0)
    return Learner(PLAN, regime, network, Mini(), span, sampler, None, CPU)


def test_noise_of_csgld_has_the_variance_of_its_step_and_comes_in_the_last_part_of_a_cycle_alone() -> None:
    regime = build_regime("csgld", {"snapshots": 2, "beta": 0.8, "momentum": 0.4, "temperature": 3.0, "lr": 0.5})
    learner = wide_learner(regime, Span(10, 50, 5, 20))
    shaken = []
    for step in range(1, 21):
        learner.step = step
        before = learner.parameters["weight"].clone()
        regime.after_step(learner)
        noise = learner.parameters["weight"] - before
        if noise.any():
            shaken.append(step)
            variance = 2 * regime.rate(step - 1, learner.span) * 0.6 * (3 / 50) / 50
            assert float(noise.std()) == pytest.approx(variance**0.5, rel=0.03)
            assert abs(float(noise.mean())) < 0.05 * variance**0.5
    assert shaken == [9, 10, 19, 20], "mod(k - 1, C) / C >= 0.8"
    again = wide_learner(regime, learner.span)
    again.step = 9
    regime.after_step(again)
    assert again.parameters["weight"].std() > 0 and not torch.equal(again.parameters["weight"], noise)


def test_samples_of_csgld_lie_in_the_last_part_of_a_cycle(runs) -> None:
    trainer, _ = runs("csgld")
    assert [(point.name, point.step, point.role) for point in trainer.points] == [
        ("sample-1-1", 2, "sample"),
        ("snapshot-1", 3, "snapshot"),
        ("sample-2-1", 5, "sample"),
        ("snapshot-2", 6, "snapshot"),
    ]


def test_members_of_a_local_ensemble_differ_by_their_seed_alone(start: Path, tmp_path: Path) -> None:
    same = trained(regime_of("local-de", members=2, apart=0), tmp_path / "same", start=start)
    assert equal(tensors(tmp_path / "same", "member-1"), tensors(tmp_path / "same", "member-2"))
    trained(regime_of("local-de", members=2), tmp_path / "two", start=start)
    alone = trained(regime_of("finetune"), tmp_path / "alone", replace(PLAN, seed=6), start=start)
    assert equal(tensors(tmp_path / "two", "member-2"), tensors(tmp_path / "alone", alone.points[-1].name))
    assert not equal(tensors(tmp_path / "two", "member-1"), tensors(tmp_path / "two", "member-2"))
    assert [[parent.name for parent in point.parents] for point in same.points] == [["start"], ["start"]]


def test_all_children_of_a_star_begin_at_snapshot_1_with_its_statistics(start: Path, tmp_path: Path) -> None:
    same = trained(regime_of("star-sse", children=2, apart=0), tmp_path / "same", start=start)
    assert equal(tensors(tmp_path / "same", "child-1"), tensors(tmp_path / "same", "child-2"))
    assert [point.name for point in same.points] == ["snapshot-1", "child-1", "child-2"]
    snapshot = tmp_path / "same" / "snapshot-1.safetensors"
    cosine = {"lr": 0.025}
    trained(regime_of("finetune", **cosine), tmp_path / "from it", replace(PLAN, epochs=1, seed=6), start=snapshot)
    trained(regime_of("star-sse", lr_ratio=0.5, epoch_ratio=0.5), tmp_path / "star", start=start)
    assert equal(tensors(tmp_path / "star", "child-1"), tensors(tmp_path / "from it", "epoch-001"))
    record = read_run(tmp_path / "star")
    assert record.steps == LENGTH * (2 + 3 * 1)
    assert [[parent.name for parent in point.parents] for point in record.points] == [["start"], *[["snapshot-1"]] * 3]


class Path1d(nn.Module):
    """One weight; `heard` are its gradients, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(1.0))


def test_lookahead_by_hand() -> None:
    regime = build_regime("lookahead", {"period": 2, "share": 0.25, "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0})
    span = Span(1, 8, 2, 4)
    learner = Learner(PLAN, regime, Path1d(), Mini(), span, CropSampler(Town(), (8, 8), 2, 0), None, CPU)
    regime.begin(learner)
    theta, slow = 1.0, 1.0
    for step in range(1, 5):
        learner.set_rate(0.1)
        learner.update(learner.network.theta**2)
        learner.step = step
        regime.after_step(learner)
        theta -= 0.1 * 2 * theta
        if step % 2 == 0:
            slow += 0.25 * (theta - slow)
            theta = slow
        assert float(learner.network.theta.detach()) == pytest.approx(theta)
        assert float(regime.after_epoch(learner)[0].tensors["theta"]) == pytest.approx(slow)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("lookahead", {"share": 1.0, "period": 3}), ("lookaround", {"augmentations": "identity", "period": 3})],
)
def test_all_of_every_step_and_one_head_on_the_batch_itself_are_the_plain_optimiser(
    start: Path, tmp_path: Path, name: str, settings: dict
) -> None:
    trained(regime_of(name, **settings), tmp_path / "new", start=start)
    trained(regime_of("finetune"), tmp_path / "plain", start=start)
    for epoch in ("epoch-001", "epoch-002"):
        assert equal(tensors(tmp_path / "new", epoch), tensors(tmp_path / "plain", epoch))


def test_slow_weights_are_saved_also_between_two_of_their_steps(start: Path, tmp_path: Path) -> None:
    trainer = trained(regime_of("lookahead", period=4), tmp_path, start=start)
    found, begun = tensors(tmp_path, "epoch-001"), tensors(start.parent, start.stem)
    assert all(torch.equal(found[name], begun[name]) for name in trainer.learner.parameters), "no step until the fourth"
    assert not torch.equal(found["norm.running_mean"], begun["norm.running_mean"])
    later = tensors(tmp_path, "epoch-002")
    assert all(not torch.equal(later[name], begun[name]) for name in trainer.learner.parameters)


def test_heads_on_identical_augmentations_are_identical_and_on_others_they_are_not(start: Path, tmp_path: Path) -> None:
    for augmentations, same in (("colour,colour", True), ("identity,flip", False)):
        regime = regime_of("lookaround", augmentations=augmentations, period=50)
        trainer = trained(regime, tmp_path / augmentations, replace(PLAN, architecture="sure"), start=start)
        one, other = trainer.learner.memory["heads"]
        assert equal(one, other) is same
        assert all(torch.equal(one[name], trainer.learner.memory["mean"][name]) is False for name in one)
    with pytest.raises(UsageError, match="identity, flip, colour, crop"):
        build_regime("lookaround", {"augmentations": "flip,rotate"})


def test_the_mean_of_heads_is_where_all_go_on(start: Path, tmp_path: Path) -> None:
    regime = regime_of("lookaround", period=1)
    trainer = trained(regime, tmp_path, start=start)
    assert regime.heads == regime.passes == len(trainer.learner.optimisers) == 3
    for head in trainer.learner.memory["heads"]:
        assert equal(head, trainer.learner.memory["mean"])


def test_a_teacher_is_a_copy_without_decay_and_the_start_with_all_of_it(start: Path, tmp_path: Path) -> None:
    begun = tensors(start.parent, start.stem)
    for decay in (0.0, 1.0):
        trainer = trained(regime_of("ema-teacher", decay=decay), tmp_path / str(decay), start=start)
        student, teacher = (tensors(tmp_path / str(decay), name) for name in ("epoch-002", "teacher"))
        for name in student:
            parameter_of = begun if decay and name in trainer.learner.parameters else student
            assert torch.equal(teacher[name], parameter_of[name]), name
    trainer = trained(regime_of("ema-teacher", decay=0.5), tmp_path / "between", replace(PLAN, epochs=1), start=start)
    teacher = tensors(tmp_path / "between", "teacher")
    assert not any(torch.equal(teacher[name], begun[name]) for name in trainer.learner.parameters)


def test_pseudo_labels_are_the_teachers_and_weigh_as_much_as_it_is_sure(start: Path, tmp_path: Path) -> None:
    trainer = trainer_of(regime_of("ema-teacher"), tmp_path, replace(PLAN, architecture="sure"), start=start)
    learner, regime = trainer.learner, trainer.regime
    regime.begin(learner)
    images = learner.target()
    with torch.no_grad():
        learner.network.eval()
        inputs = torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5
        confidence, labels = learner.network(inputs).softmax(1).max(1)
        learner.network.train()
    for threshold, share in ((float(confidence.median()), None), (1.0, 0.0), (0.0, 1.0)):
        pseudo, weight = replace(regime, threshold=threshold).pseudo_labelled(learner, images)
        assert (pseudo.truths == labels.numpy()).all() and (pseudo.images == images).all()
        assert weight == pytest.approx(float((confidence > threshold).float().mean()) if share is None else share)
    assert learner.network.training


def test_unlabelled_pictures_go_with_a_regime_that_looks_at_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Give --target"):
        Trainer(PLAN, Town(), regime_of("ema-teacher"), tmp_path, device=CPU)
    with pytest.raises(UsageError, match="Leave it out"):
        Trainer(PLAN, Town(), regime_of("sse"), tmp_path, target=Town(7), device=CPU)


# --- augmentations, data, networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_keeps_sizes_and_types_and_follows_from_its_key(name: str) -> None:
    sample = Town().load(0)
    batch = Batch(sample.image[None], sample.truth[None])
    found = augmented(name, batch, (1, 2))
    assert found.images.shape == batch.images.shape and found.images.dtype == np.uint8
    assert found.truths.shape == batch.truths.shape and set(np.unique(found.truths)) <= {0, 1, 2, IGNORE}
    assert (found.images == augmented(name, batch, (1, 2)).images).all()
    if name == "flip":
        assert (found.images == batch.images[:, :, ::-1]).all() and (found.truths == batch.truths[:, :, ::-1]).all()
    if name == "colour":
        assert (found.truths == batch.truths).all() and (found.images != augmented(name, batch, (1, 3)).images).any()
    assert (found.images == batch.images).all() == (name == "identity")


def test_several_data_are_trained_on_together(tmp_path: Path) -> None:
    both = joined([Town(1, count=2), Town(2, count=3)])
    assert len(both) == 5 and both.spec == "town:1 + town:2" and both.label_space is Town.label_space
    assert [both.picture_key(index) for index in range(5)] == ["1 0", "1 1", "2 0", "2 1", "2 2"]
    assert (both.load(2).image == Town(2).load(0).image).all() and both.group(4) == both.name(4) == "2"
    assert both.fingerprint() not in ("1", "2", joined([Town(2), Town(1)]).fingerprint())
    with pytest.raises(IndexError):
        both.load(5)
    trained(regime_of("finetune"), tmp_path, data=both)
    assert read_run(tmp_path).data.pictures == 5

    class Other(Town):
        label_space = label_space("camvid")

    with pytest.raises(UsageError, match=r"@as:classes-3"):
        joined([Town(1), Other(2)])
    assert joined([both]) is both


def test_a_batch_without_labels_teaches_nothing_and_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    trainer = trainer_of(regime_of("finetune", weight_decay=0.0), tmp_path)
    images = Town().load(0).image[None].repeat(2, 0)
    void = Batch(images, np.full((2, 16, 32), IGNORE, np.uint8))
    before = {name: tensor.clone() for name, tensor in trainer.learner.parameters.items()}
    assert float(trainer.learner.update(trainer.learner.loss(void))) == 0
    assert equal(trainer.learner.parameters, before)
    with pytest.raises(UsageError, match="step 1"):
        trainer.learner.update(trainer.learner.network.head.bias.sum() * float("nan"))
    assert equal(trainer.learner.parameters, before)


@dataclass(frozen=True)
class Posterior(Scheduled):
    """Leaves a file that is no network."""

    title, summary, leaves, helps, citation = "P", "s", "posterior", "h", "c"
    rank: int = parameter(2, "How many")

    def finish(self, training) -> tuple[Point, ...]:
        rows = torch.stack([training.parameters["head.bias"].cpu()] * self.rank)
        return (Point("posterior", {"rows": rows}, "posterior", ("epoch-002",), {"posterior": "rows"}),)


def test_a_regime_may_leave_a_posterior_beside_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGIMES._items, "posterior", Posterior)
    trainer = trained(Posterior(), tmp_path)
    file = open_checkpoint(tmp_path / "posterior.safetensors")
    assert file.metadata["posterior"] == "rows" and file.metadata["role"] == "posterior"
    assert file.read("rows").shape == (2, CLASSES)
    assert [parent.name for parent in trainer.points[-1].parents] == ["epoch-002"]


@pytest.mark.parametrize("name", ["enet", "segformer-b0", "unet-resnet18"])
def test_built_in_networks_train(tmp_path: Path, name: str) -> None:
    plan = replace(PLAN, architecture=name, epochs=1, crop=(64, 64))
    data = Town(count=2, size=(64, 64))
    trainer = trained(build_regime("finetune", {"algorithm": "adamw"}), tmp_path, plan, data=data)
    assert np.isfinite(trainer.log[0]["loss"])
    found = open_checkpoint(tmp_path / "epoch-001.safetensors")
    assert ARCHITECTURES.get(name).recognise(found.shapes) == CLASSES


@pytest.mark.parametrize(
    "about",
    [
        Preprocessing((0.5,) * 3, scale=255, order="BGR", pad=24),
        Preprocessing(resize=(8, 24)),
        Preprocessing(window=(12, 8)),
    ],
    ids=["pad", "resize", "window"],
)
def test_what_a_network_declares_holds_in_training(tmp_path: Path, monkeypatch, about: Preprocessing) -> None:
    item = Mini()
    item.preprocessing = about
    monkeypatch.setitem(ARCHITECTURES._items, "mini", item)
    trainer = trainer_of(regime_of("swa"), tmp_path)
    sizes = set()
    trainer.network.register_forward_hook(lambda module, given, out: sizes.add(tuple(given[0].shape[-2:])))
    trainer.run()
    assert sizes == {{"pad": (24, 24), "resize": (8, 24), "window": (12, 12)}[_declared(about)]}


def _declared(about: Preprocessing) -> str:
    return "resize" if about.resize else "window" if about.window else "pad"


def test_a_network_that_cannot_be_trained_on_such_crops_says_so(tmp_path: Path) -> None:
    plan = replace(PLAN, architecture="deeplabv3-resnet50", batch=1)
    with pytest.raises(ValueError, match=r"failed in training on 1 crops of 16x16.*larger --batch"):
        trained(regime_of("finetune"), tmp_path, plan)


# --- records and kills ------------------------------------------------------------------------------------------------


def broken_record(**changes) -> str:
    good = {
        "format": 1,
        "seed": 0,
        "command": [],
        "regime": "sse",
        "version": 1,
        "parameters": {},
        "plan": {},
        "data": {"spec": "x", "pictures": 1, "fingerprint": "f"},
        "target": None,
        "start": None,
        "length": 1,
        "steps": 1,
        "done": 0,
        "finished": False,
        "lr": {"stride": 1, "values": [0.1]},
        "losses": {"stride": 1, "values": []},
        "epochs": [],
        "points": [],
    }
    return json.dumps({**good, **changes})


def test_a_record_from_elsewhere_is_read_with_care(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(broken_record())
    assert read_run(tmp_path).regime == "sse"
    point = {"name": "a", "file": "../a", "sha256": "", "role": "r", "step": 1, "lr": 0.1, "parents": []}
    for text in (
        "[]",
        "{}",
        "torn",
        broken_record(format=2),
        broken_record(regime=7),
        broken_record(points=[point]),
        broken_record(points=3),
        broken_record(lr={"stride": 1, "values": ["x"]}),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=r"run\.json"):
            read_run(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"run\.json is not there"):
        read_run(tmp_path)


def test_a_long_run_keeps_every_nth_value_of_its_series() -> None:
    regime, span = build_regime("finetune", {}), Span(100, 160, 1, 16_000)
    series = rates(regime, span)
    assert series.stride == 4 and len(series.values) == 4000 and series.values[5] == regime.rate(20, span)


class Killed(BaseException):
    """The end of the process: nothing after it is done."""


@pytest.mark.parametrize("name", ["swa"])
def test_a_run_that_ends_at_any_write_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch, name: str) -> None:
    whole = trained(regime_of(name), tmp_path / "whole")
    written: list[str] = []

    def counting(module, function: str, most: int) -> None:
        real = getattr(module, function)

        def write(path: Path, *content) -> None:
            written.append(path.name)
            if len(written) == most:
                raise Killed
            real(path, *content)

        monkeypatch.setattr(module, function, write)

    for most in range(1, 100):
        out = tmp_path / str(most)
        written.clear()
        with monkeypatch.context() as monkeypatch:
            for module, function in (
                (loop, "save_tensors"),
                (loop, "write_atomically"),
                (manifest, "write_atomically"),
            ):
                counting(module, function, most)
            try:
                trainer_of(regime_of(name), out).run()
                break
            except Killed:
                pass
        again = trainer_of(regime_of(name), out)
        assert again.resume() == (manifest.STATE in written[:-1])
        assert again.run() == whole.log and files(out) == files(tmp_path / "whole")
        assert read_run(out) == read_run(tmp_path / "whole")
    assert {manifest.STATE, "run.json", whole.points[-1].file} <= set(written) and most == len(written) + 1


# --- what a run says of itself while it goes on ----------------------------------------------------------------------


def test_ends_of_epochs_that_save_nothing_are_measured_evenly_where_they_are_many() -> None:
    regime, span = build_regime("swag", {}), Span(1000, 6, 2, 3000)
    places = between(regime, span, start=True)
    assert len(places) == 1 + MOST_BETWEEN and places[:2] == (0, 57) and places[-1] == 2997
    assert validations(regime, span, start=True) == 1 + len(places)
    assert between(regime, replace(span, steps=9), start=False) == (3, 6)


def test_other_pictures_to_validate_on_measure_anew_what_is_there(start: Path, tmp_path: Path) -> None:
    regime = regime_of("finetune")
    trained(regime, tmp_path, start=start, validate=Town(9, count=2))
    before = read_run(tmp_path)
    assert [(one.step, one.name) for one in before.figures] == [(0, None), (3, "epoch-001"), (6, "epoch-002")]
    (tmp_path / "epoch-001.safetensors").unlink()
    (tmp_path / manifest.STATE).rename(tmp_path / "kept")
    state = torch.load(tmp_path / "kept", weights_only=True)
    torch.save({**state, "finished": False}, tmp_path / manifest.STATE)
    again = trainer_of(regime, tmp_path, start=start, validate=Town(3, count=2))
    again.resume()
    again.run()
    after = read_run(tmp_path)
    assert [(one.name, one.miou is None) for one in after.figures] == [("epoch-001", True), ("epoch-002", False)]
    assert after.validation != before.validation and after.points == before.points


def test_pictures_without_masks_validate_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--validate"):
        trainer_of(regime_of("scratch"), tmp_path, validate=Town(9, labelled=False))


def test_a_run_that_diverges_says_so_and_keeps_what_it_had(start: Path, tmp_path: Path) -> None:
    """Also where weights are no numbers and no loss has shown it yet."""
    regime = regime_of("finetune", lr=0.01)
    trainer = trainer_of(regime, tmp_path / "loss", start=start)
    with pytest.MonkeyPatch.context() as patch:
        real = Learner.loss
        patch.setattr(Learner, "loss", lambda self, batch: real(self, batch) * (np.nan if self.step == LENGTH else 1))
        with pytest.raises(DivergedError, match="The loss is nan at step 4"):
            trainer.run()
    record = read_run(tmp_path / "loss")
    assert [point.name for point in record.points] == ["epoch-001"] and not record.finished
    assert "Lower the learning rate" in str(record.failure) and set(files(tmp_path / "loss")) == {"epoch-001"}
    trainer = trainer_of(regime, tmp_path / "weights", start=start)

    def spoil(done: int, _: int) -> None:
        if done == LENGTH - 1:
            trainer.learner.advance = lambda head=0: trainer.learner.parameters["head.bias"].fill_(np.inf)  # type: ignore[method-assign]

    with pytest.raises(DivergedError, match="epoch-001 would hold what is no number at step 3"):
        trainer.run(spoil)
    assert not files(tmp_path / "weights")


# --- a start with other classes than the data -----------------------------------------------------------------------


def test_outputs_that_count_as_one_class_add_up_their_probabilities() -> None:
    logits = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    found = Counterparts(np.array([1, 0, -1, 1, -1]), 3).of(logits).softmax(1)
    p = logits.softmax(1)
    expected = torch.stack([p[:, 1], p[:, 0] + p[:, 3], torch.zeros_like(p[:, 0]), p[:, 2] + p[:, 4]], 1)
    torch.testing.assert_close(found, expected)


@dataclass(frozen=True)
class CamTown(Town):
    """The same pictures in the classes of CamVid."""

    label_space = label_space("camvid")


def test_a_start_of_other_classes_goes_on_with_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mini, "label_space", lambda self, classes: "cityscapes")
    plan = replace(PLAN, classes=19)
    trainer = trained(regime_of("finetune"), tmp_path, plan, data=CamTown(), as_data=True, validate=CamTown(9, count=2))
    assert tensors(tmp_path, "epoch-002")["head.weight"].shape[0] == 19
    assert trainer.log[-1]["loss"] < trainer.log[0]["loss"] and trainer.validation.figures[-1].miou is not None  # type: ignore[union-attr]
    assert trainer.counts_as[0] == CamTown.label_space.names.index("road") != 0  # type: ignore[index]
    with pytest.raises(UsageError, match="other settings: counts_as"):
        trainer_of(regime_of("finetune"), tmp_path, plan, data=CamTown()).resume()
