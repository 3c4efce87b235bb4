"""Training: seeds decide everything, a resumed run is the unbroken run, checkpoints are ordinary ones."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import TinyNet, folder_data, tiny_file, tiny_registered

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.contracts import Sample
from fusionlib.data.spec import open_dataset
from fusionlib.errors import Cancelled, LayoutError, UsageError
from fusionlib.lab.batches import CropSampler, Stream
from fusionlib.lab.learner import class_weights
from fusionlib.lab.loop import Trainer
from fusionlib.lab.manifest import STATE, read_run
from fusionlib.lab.plan import TrainingPlan, build_regime
from fusionlib.lab.schedule import SCHEDULES

PLAN = TrainingPlan(architecture="tiny", classes=3, epochs=3, batch=2, crop=(24, 32), seed=5)
COSINE = build_regime("scratch", {"lr": 0.05, "schedule": "cosine"})


@pytest.fixture(autouse=True)
def registered():
    with tiny_registered():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory):
    return open_dataset(f"folder:{folder_data(tmp_path_factory.mktemp('town') / 'data')}")


def trained(data, out: Path, plan: TrainingPlan = PLAN, regime=COSINE, **options) -> Trainer:
    trainer = Trainer(plan, data, regime, out, device=torch.device("cpu"), **options)
    trainer.run()
    return trainer


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("epoch-*.safetensors")}


def changed(**fields) -> TrainingPlan:
    return TrainingPlan(**{**PLAN.__dict__, **fields})


def test_one_seed_gives_the_same_bytes_and_another_seed_others(data, tmp_path: Path) -> None:
    trained(data, tmp_path / "one")
    torch.manual_seed(123)
    trained(data, tmp_path / "two")
    trained(data, tmp_path / "three", changed(seed=6))
    assert list(files(tmp_path / "one")) and files(tmp_path / "one") == files(tmp_path / "two")
    assert not set(files(tmp_path / "one").values()) & set(files(tmp_path / "three").values())


def test_a_resumed_run_is_the_unbroken_one_to_the_bit(data, tmp_path: Path) -> None:
    unbroken = trained(data, tmp_path / "unbroken")
    for breaking in (4, 7):  # at the start of the second epoch, and in the middle of the third
        out = tmp_path / f"broken{breaking}"

        def stop(done: int, total: int, breaking: int = breaking) -> None:
            if done == breaking:
                raise Cancelled

        broken = Trainer(PLAN, data, COSINE, out, device=torch.device("cpu"))
        with pytest.raises(Cancelled):
            broken.run(stop)
        again = Trainer(PLAN, data, COSINE, out, device=torch.device("cpu"))
        assert again.resume()
        torch.manual_seed(99)
        assert again.run() == unbroken.log
        assert files(out) == files(tmp_path / "unbroken")
    assert not Trainer(PLAN, data, COSINE, tmp_path / "nothing there").resume()


def test_a_finished_run_resumed_trains_no_more(data, tmp_path: Path) -> None:
    trained(data, tmp_path)
    before = files(tmp_path)
    again = Trainer(PLAN, data, COSINE, tmp_path)
    again.resume()
    assert [entry["epoch"] for entry in again.run(lambda *_: pytest.fail("trained on"))] == [1, 2, 3]
    assert files(tmp_path) == before


def test_a_run_of_other_settings_is_not_resumed(data, tmp_path: Path) -> None:
    trained(data, tmp_path)
    for other, said in ((build_regime("scratch", {"lr": 0.1}), "lr 0.05"), (build_regime("sse", {}), "regime scratch")):
        with pytest.raises(UsageError, match=f"other settings: .*{said}"):
            Trainer(PLAN, data, other, tmp_path).resume()
    with pytest.raises(UsageError, match="batch 2"):
        Trainer(changed(batch=3), data, COSINE, tmp_path).resume()
    with pytest.raises(UsageError, match="start None"):
        Trainer(PLAN, data, COSINE, tmp_path, start=tiny_file(tmp_path, "start", 4)).resume()
    (tmp_path / STATE).write_bytes(b"torn")
    with pytest.raises(UsageError, match=r"progress\.state cannot be read"):
        Trainer(PLAN, data, COSINE, tmp_path).resume()


def test_checkpoints_are_recognised_and_say_how_they_were_made(data, tmp_path: Path) -> None:
    trainer = trained(data, tmp_path)
    last = open_checkpoint(tmp_path / "epoch-003.safetensors")
    assert list(last.tensors) == list(TinyNet(3).state_dict())
    assert all(torch.equal(last.read(name), tensor) for name, tensor in trainer.network.state_dict().items())
    assert last.metadata["epoch"] == "3" and json.loads(last.metadata["plan"])["seed"] == 5
    assert int(last.read("norm.num_batches_tracked")) == 9
    assert json.loads(last.metadata["regime"])["parameters"]["lr"] == 0.05 and last.metadata["role"] == "epoch"
    assert list(read_run(tmp_path).epochs) == trainer.log
    rates = [entry["lr"] for entry in trainer.log]
    assert rates == [pytest.approx(0.05 * SCHEDULES["cosine"](step, 9)) for step in (2, 5, 8)]
    assert all(math.isfinite(entry["loss"]) for entry in trainer.log)


def test_fine_tuning_begins_at_the_checkpoint(data, tmp_path: Path) -> None:
    start = tiny_file(tmp_path, "start", 4)
    trainer = trained(data, tmp_path / "out", changed(epochs=1), build_regime("finetune", {"lr": 1e-9}), start=start)
    begun = open_checkpoint(start)
    for name, parameter in trainer.network.named_parameters():
        assert torch.allclose(parameter, begun.read(name), atol=1e-6)
    with pytest.raises(LayoutError, match=r"start4\.pth does not fit"):
        trained(data, tmp_path / "out2", start=tiny_file(tmp_path, "start4", 4, classes=4))


def test_training_lowers_the_loss(data, tmp_path: Path) -> None:
    constant = build_regime("scratch", {"lr": 0.05, "schedule": "constant"})
    log = trained(data, tmp_path, changed(epochs=15), constant).log
    assert np.mean([entry["loss"] for entry in log[-3:]]) < log[0]["loss"]


@pytest.mark.parametrize(
    "fields",
    [
        {"epochs": 0},
        {"batch": -1},
        {"seed": -1},
        {"seed": 2**62},
        {"classes": 0},
    ],
)
def test_a_plan_that_cannot_work_is_refused(fields: dict) -> None:
    with pytest.raises(UsageError) as caught:
        changed(**fields)
    assert next(iter(fields)) in caught.value.got


@pytest.mark.parametrize(
    "parameters",
    [
        {"lr": 0},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"schedule": "steps"},
        {"momentum": -0.1},
        {"momentum": 1.5},
        {"weight_decay": -1},
        {"weight_decay": float("nan")},
        {"speed": 1},
    ],
)
def test_a_regime_that_cannot_work_is_refused(parameters: dict) -> None:
    with pytest.raises(UsageError) as caught:
        build_regime("finetune", parameters)
    assert next(iter(parameters)) in caught.value.got


def test_an_unknown_network_and_too_few_classes_are_refused_at_once(data, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"one of .*enet"):
        Trainer(changed(architecture="none"), data, COSINE, tmp_path)
    with pytest.raises(UsageError, match="--classes"):
        Trainer(changed(classes=2), data, COSINE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unlabelled_data_is_refused(tmp_path: Path) -> None:
    plain = open_dataset(f"pictures:{folder_data(tmp_path / 'plain', 2, masks=False)}")
    for weighted in (True, False):
        with pytest.raises(UsageError, match="no mask"):
            trained(plain, tmp_path / "out", changed(class_weights=weighted))


# --- batches and schedules --------------------------------------------------------------------------------------------


class Numbered:
    """Picture i has the value i in its first channel, its row in the second and its column in the third; truth is
    column // 8.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def load(self, index: int, whole: bool = False) -> Sample:
        rows, columns = np.mgrid[0:20, 0:40]
        image = np.stack([np.full_like(rows, index), rows, columns], -1).astype(np.uint8)
        return Sample(str(index), image, (columns // 8).astype(np.uint8))


def test_an_epoch_shows_every_picture_once_with_its_own_truth() -> None:
    sampler = CropSampler(Numbered(6), (8, 16), 2, 0)
    assert len(sampler) == 3
    seen, flips, corners = [], set(), set()
    for batch in sampler.epoch(0):
        images, truths = batch.images.astype(int), batch.truths
        assert images.shape == (2, 8, 16, 3) and truths.shape == (2, 8, 16) and truths.dtype == np.uint8
        seen += images[:, 0, 0, 0].tolist()
        assert (images[..., 2] // 8 == truths).all(), "crop and flip are the same for picture and truth"
        flips |= set(np.diff(images[:, 0, :2, 2]).ravel().tolist())
        corners |= set(images[:, 0, 0, 1].tolist())
    assert sorted(seen) == list(range(6)) and len(corners) > 1
    flips |= {
        int(step)
        for epoch in range(1, 4)
        for batch in sampler.epoch(epoch)
        for step in np.diff(batch.images[:, 0, :2, 2].astype(int)).ravel()
    }
    assert flips == {1, -1}


def test_a_stream_that_begins_in_the_middle_gives_what_an_unbroken_one_does() -> None:
    sampler = CropSampler(Numbered(7), (8, 16), 2, 0)
    unbroken = [batch.images for batch in sampler.epoch(4, further=1)]
    stream = Stream(sampler)
    assert all((stream.batch(1, 4, number).images == unbroken[number]).all() for number in (1, 2, 0, 2))
    assert (stream.batch(0, 4, 1).images != unbroken[1]).any(), "another seed"
    assert sorted(image[0, 0, 0] for batch in sampler.whole(0) for image in batch.images) == list(range(7))
    assert [len(batch.images) for batch in sampler.whole(0)] == [2, 2, 2, 1]
    assert [len(batch.images) for batch in CropSampler(Numbered(7), (8, 16), 3, 0).whole(0)] == [3, 2, 2]


def test_pictures_of_several_sizes_are_continued_by_edge_and_void() -> None:
    class Sizes(Numbered):
        def load(self, index: int, whole: bool = False) -> Sample:
            sample = super().load(index)
            side = 6 + 4 * index
            return Sample(sample.name, sample.image[:side, :side], sample.truth[:side, :side])

    (batch,) = CropSampler(Sizes(2), (8, 8), 2, 0).epoch(0)
    small = [int(image[0, 0, 0]) for image in batch.images].index(0)
    assert batch.truths.shape == (2, 8, 8)
    assert (batch.truths[small, 6:] == 255).all() and (batch.truths[small, :, 6:] == 255).all()
    assert (batch.truths[small, :6, :6] != 255).all() and (batch.truths[1 - small] != 255).all()
    assert (batch.images[small, :, 6:] == batch.images[small, :, 5:6]).all()


def test_epochs_differ_and_each_follows_from_seed_and_number_alone() -> None:
    def order(seed: int, epoch: int) -> list[float]:
        sampler = CropSampler(Numbered(8), (8, 16), 4, seed)
        return [float(total) for batch in sampler.epoch(epoch) for total in batch.images.sum((1, 2, 3))]

    assert order(1, 3) == order(1, 3)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_a_ragged_rest_is_dropped_but_a_small_dataset_is_not() -> None:
    assert [len(CropSampler(Numbered(count), (8, 8), 4, 0)) for count in (3, 4, 7, 8)] == [1, 1, 1, 2]
    for crop in ((99, 99), None):
        (batch,) = CropSampler(Numbered(3), crop, 4, 0).epoch(0)
        assert batch.images.shape == (3, 20, 40, 3), "crops are no larger than the picture"
        assert batch.images[..., 0].mean() == 1


def test_class_weights_follow_the_frequencies(data) -> None:
    sampler = CropSampler(data, (8, 8), 2, 0)
    truths = np.stack([data.load(index).truth for index in range(len(data))])
    expected = np.array([(truths == c).sum() for c in range(3)]) / (truths != 255).sum()
    np.testing.assert_allclose(sampler.class_frequencies(3), expected)
    weights = class_weights(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))
    np.testing.assert_allclose(weights, [1 / math.log(1.02), 1 / math.log(1.52), 1 / math.log(2.02)], rtol=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_begin_at_one_and_never_rise(name: str) -> None:
    rates = [SCHEDULES[name](step, 20) for step in range(21)]
    assert rates[0] == 1 and all(early >= late >= 0 for early, late in pairwise(rates))
    assert rates[-1] == pytest.approx(1 if name == "constant" else 0)
    if name == "cosine":
        assert rates[10] == pytest.approx(0.5)
