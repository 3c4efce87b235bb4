"""States of pictures take 4 KB at most, and stand for what finer bins would say, with networks and pictures of life."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fusionlib.architectures.recognise import recognise
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.contracts import ARCHITECTURES, MEASURES, State
from fusionlib.data.labels import label_space, mapping
from fusionlib.data.spec import open_dataset
from fusionlib.engine.network import BoundNetwork
from fusionlib.measures import states
from fusionlib.measures.bins import OFFERED_BINS
from fusionlib.measures.observation import Observation
from tests.conftest import ROOT
from tests.helpers import CPU

LIMIT = 4096
KEPT = [name for name, measure in MEASURES.items() if measure.always]


def observations(file: Path, data: str, count: int) -> Iterator[Observation]:
    """What a network sees of pictures that are evenly spaced in a dataset."""
    arena, dataset = Arena.pack([open_checkpoint(file)]), open_dataset(data)
    found = recognise({name: info.shape for name, info in open_checkpoint(file).tensors.items()})
    assert found is not None
    architecture = ARCHITECTURES.get(found[0])
    network = BoundNetwork(architecture, found[1], arena.layout, arena.integers[0], device=CPU)
    network.load(arena.weights[0])
    own, target = label_space(str(architecture.label_space(found[1]))), dataset.label_space
    mapped = None if own.names == target.names else torch.from_numpy(mapping(own, target))
    for index in np.linspace(0, len(dataset) - 1, count).astype(int):
        sample = dataset.load(int(index))
        with torch.inference_mode():
            yield Observation(
                network.logits(sample.image[None]), torch.from_numpy(sample.truth)[None], mapped, target.count
            )


def looked_at(seen: Iterator[Observation]) -> dict[str, State]:
    """The sum of all states by measure; every packed one is small and exact."""
    total: dict[str, State] = {}
    for observation in seen:
        for name in (*KEPT, "calibration_fine"):
            measure = MEASURES.get(name)
            zeros = measure.init(observation.classes, CPU)
            state = states.add([zeros])
            measure.update(state, observation)
            if measure.grain == "picture":
                packed = states.pack(state)
                assert len(packed) <= LIMIT, f"{name}: {len(packed)} bytes"
                again = states.unpack(packed, zeros)
                assert all(torch.equal(again[key], state[key]) for key in state)
            total[name] = states.add([*([total[name]] if name in total else []), state])
    return total


def check_fine(total: dict[str, State]) -> None:
    """What 60 bins and the fine ones of the last say is what 5040 say."""
    kept = MEASURES.get("calibration").compute(total["calibration"])["calibration"]
    fine = MEASURES.get("calibration_fine").compute(total["calibration_fine"])["calibration_fine"]
    assert kept["auroc"][0] == pytest.approx(fine["auroc"][0], abs=2e-3)
    for bins in map(str, OFFERED_BINS):
        assert kept["adaptive"][bins][0] == pytest.approx(fine["adaptive"][bins][0], abs=2e-3)
    for name in ("counts", "correct", "brier", "nll", "pixels", "undefined_pixels"):
        assert kept[name] == fine[name]


@pytest.mark.parametrize("name", ["seed-11", "night"])
def test_states_of_generated_streets_are_small_and_exact(name: str) -> None:
    check_fine(looked_at(observations(ROOT / "assets" / "demo" / f"{name}.safetensors", "streets:all:3", 3)))


@pytest.mark.real
@pytest.mark.parametrize("epoch", [20, 30])
def test_states_of_camvid_pictures_are_small_and_exact(real_data: Path, epoch: int) -> None:
    file = real_data / "checkpoints" / "enet-cityscapes" / f"epoch-{epoch:03}.pth"
    check_fine(looked_at(observations(file, f"camvid:{real_data / 'camvid'}@val", 6)))
