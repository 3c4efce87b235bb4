"""Latency and memory of a forward pass: what is counted, who shares a measurement, and that nobody is asked twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import counted_forwards, folder_data, tiny_checkpoints, tiny_registered
from torch import nn

from fusionlib.charts.pareto import pareto_figure
from fusionlib.cli import main
from fusionlib.engine.cost import PASSES, Followed
from fusionlib.studio import Choices, Comparison, Options, Studio


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cost")
    with tiny_registered():
        tiny_checkpoints(folder / "files", 2)
        folder_data(folder / "town", 2)
        yield folder


def comparison(place: Path) -> Comparison:
    studio = Studio(Options(demo=False, home=place / "home", device="cpu", checkpoints=(place / "files",)))
    files = [item.checkpoint for item in studio.workspace.usable()]
    pictures = studio.workspace.open_pictures(f"folder:{place / 'town'}", None)
    return studio.comparisons.of(files, pictures, Choices(0, "average", ("methods",), ("linear", "ensemble")))


def test_memory_is_what_tensors_take_at_once_and_not_all_of_them() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 1), nn.Sigmoid())
    image, side = torch.zeros(1, 3, 32, 32), 4 * 32 * 32
    with torch.inference_mode(), Followed() as followed:
        network(image)
    assert followed.most == side * (8 + 4) and followed.held == 0, "the first is freed before the third is there"
    with torch.inference_mode(), Followed() as followed:
        kept = [torch.zeros(100) for _ in range(3)]
        view = kept.pop().view(10, 10).add_(1)
        del kept
    assert followed.most == 1200 and followed.held == view.numel() * 4
    image.add_(1)
    with Followed() as followed:
        image.mul_(2)
    assert followed.most == 0, "what was there before is nobody's cost"


def test_equal_architectures_share_a_measurement_and_it_is_kept(place: Path, monkeypatch) -> None:
    first = comparison(place)
    first.measure()
    rows = first.snapshot()["rows"]
    assert len(rows) > 3 and all(row["latency_ms"] is None and row["memory_mb"] is None for row in rows)
    seen = counted_forwards(monkeypatch)
    recipes = first.measured()
    assert len(recipes) > 3 and first.costs.passes(recipes) == PASSES * (1 + 2)
    first.costs.want(recipes)
    first.costs.wait()
    assert first.costs.state == "done" and len(seen) == PASSES * 3
    told = {row["forwards"]: row for row in first.snapshot()["rows"] if row["state"] == "measured"}
    assert all(row["latency_ms"] > 0 for row in first.snapshot()["rows"] if row["state"] == "measured")
    weights = sum(info.numel for info in first.checkpoints[0].tensors.values() if info.dtype.is_floating_point)
    assert told[2]["memory_mb"] - told[1]["memory_mb"] >= 0.99 * 4 * weights / 1e6
    assert told[1]["memory_mb"] > 4 * weights / 1e6
    again = comparison(place)
    assert again.costs.left(again.measured()) == []
    assert [row["latency_ms"] for row in again.snapshot()["rows"]] == [
        row["latency_ms"] for row in first.snapshot()["rows"]
    ]
    again.costs.measure(again.measured())
    assert len(seen) == PASSES * 3


def test_the_verb_measures_it_on_request_alone(place: Path, capsys: pytest.CaptureFixture) -> None:
    files = sorted(map(str, (place / "files").glob("*.*")))
    arguments = ["compare", *files, "--data", f"folder:{place / 'town'}", "--methods", "linear", "--device", "cpu"]
    arguments += ["--home", str(place / "other")]
    main([*arguments, "--json"])
    assert "cost" not in json.loads(capsys.readouterr().out)
    main([*arguments, "--json", "--latency"])
    found = json.loads(capsys.readouterr().out)
    assert found["cost"]["forwards"] == 5 and found["cost"]["width"] > 0 and "thread" in found["cost"]["device"]
    assert all(row["latency_ms"] > 0 and row["memory_mb"] > 0 for row in found["rows"] if row["state"] == "measured")
    main([*arguments, "--latency"])
    assert "the median of 5" in capsys.readouterr().out


@pytest.mark.parametrize("cost", ["latency_ms", "memory_mb"])
def test_a_trade_is_drawn_against_what_was_measured(cost: str) -> None:
    row = {"name": "a", "group": "methods", "miou": 0.5, "ece": 0.1, "forwards": 1, "latency_ms": 3, "memory_mb": 9}
    figure = pareto_figure([row, {**row, "latency_ms": None, "memory_mb": None}], cost)
    dots = [trace for trace in figure.data if trace.mode == "markers"]
    assert list(dots[1].x) == [row[cost]] and len(dots[0].x) == 2
