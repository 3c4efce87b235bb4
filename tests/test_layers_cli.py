"""`layers` from the command line: units without data, contributions with it, and one line for whatever is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import folder_data, tiny_file, tiny_registered

from fusionlib.checkpoints.writer import save_tensors
from fusionlib.cli import main

BLOCKS = ["stem", "norm", "body", "norm2", "head"]


@pytest.fixture
def files(tmp_path: Path):
    with tiny_registered():
        yield [str(tiny_file(tmp_path, f"c{seed}", seed)) for seed in range(3)]


def run(capsys, verb: str, *arguments: str) -> dict:
    main([verb, *arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def test_without_data_units_have_cosine_and_weights_and_no_contribution(capsys, files, tmp_path: Path) -> None:
    found = run(capsys, "layers", *files, "--preset", "ramp", "--anchor", "2", "--home", str(tmp_path / "home"))
    assert [unit["name"] for unit in found["units"]] == BLOCKS and found["merge_miou"] is None
    for place, unit in enumerate(found["units"], start=1):
        assert unit["weights"][2] == pytest.approx(1 - 2 * (5 - place) / 15, abs=2e-4) and sum(
            unit["weights"]
        ) == pytest.approx(1)
        assert unit["alone"] is None and -1 <= unit["cosine"] <= 1 and 0 <= unit["discrepancy"] <= 1


def test_contributions_are_differences_of_what_evaluate_says_of_the_merged_files(capsys, files, tmp_path: Path) -> None:
    data, home = ("--data", f"folder:{folder_data(tmp_path / 'data', 3)}"), ("--home", str(tmp_path / "home"))
    found = run(
        capsys, "layers", *files, "--weights", "0.5,0.3,0.2", "--granularity", "part", "--anchor", "1", *data, *home
    )
    out = str(tmp_path / "out.safetensors")

    def direct(weights: dict[str, list[float]]) -> float:
        main(
            [
                "merge",
                "--method",
                "profile",
                "--checkpoints",
                *files,
                "--set",
                "granularity=part",
                "anchor=1",
                f"weights={json.dumps(weights)}",
                "--out",
                out,
                *home,
            ]
        )
        capsys.readouterr()
        return run(capsys, "evaluate", out, *data, *home)["miou"]

    mixed, anchor = [0.5, 0.3, 0.2], [0.0, 1.0, 0.0]
    assert found["anchor_miou"] == pytest.approx(run(capsys, "evaluate", files[1], *data, *home)["miou"])
    assert found["merge_miou"] == pytest.approx(direct({"backbone": mixed, "head": mixed}), abs=1e-6)
    backbone, head = found["units"]
    only = {"backbone": mixed, "head": anchor}
    assert found["anchor_miou"] + backbone["alone"] == pytest.approx(direct(only), abs=1e-6)
    assert found["merge_miou"] + head["left_out"] == pytest.approx(direct(only), abs=1e-6)
    main(["layers", *files, "--granularity", "part", *data, *home])
    assert "left out" in capsys.readouterr().out


def test_what_is_in_the_store_is_not_measured_again_and_counts_as_known(capsys, files, tmp_path: Path) -> None:
    data, home = ("--data", f"folder:{folder_data(tmp_path / 'data', 3)}"), ("--home", str(tmp_path / "home"))
    first, again, fresh = (run(capsys, "layers", *files, *more, *data, *home) for more in ((), (), ("--fresh",)))
    networks = 2 + 2 * len(BLOCKS)
    assert (first["forward_passes"], first["forward_passes_known"]) == (3 * networks, 0)
    assert (again["forward_passes"], again["forward_passes_known"]) == (0, 3 * networks)
    assert (fresh["forward_passes"], fresh["forward_passes_known"]) == (3 * networks, 0)
    assert first["units"] == again["units"] == fresh["units"]


def test_an_unknown_network_still_shows_its_units(capsys, tmp_path: Path) -> None:
    for seed in range(2):
        torch.manual_seed(seed)
        save_tensors(
            tmp_path / f"x{seed}.safetensors", {"one.weight": torch.randn(4, 4), "two.weight": torch.randn(4)}, {}
        )
    names = [str(tmp_path / f"x{seed}.safetensors") for seed in range(2)]
    found = run(capsys, "layers", *names, "--home", str(tmp_path / "home"))
    assert [unit["name"] for unit in found["units"]] == ["one", "two"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "two or more"),
        (("c1.pth", "--preset", "none"), "equal"),
        (("c1.pth", "--weights", "0.3,0.3"), "sum of 1"),
        (("c1.pth", "--weights", "0.5,0.3,0.2"), "one for each checkpoint"),
        (("c1.pth", "--anchor", "2"), "0 to 1"),
        (("c1.pth", "--granularity", "layer"), "tensor, module"),
        (("c1.pth", "--granularity", "learner"), "networks that have none"),
        (("c1.pth", "--weights", "0.5,0.5", "--granularity", "layer"), "tensor, module"),
        (("c1.pth", "--limit", "3"), "--data"),
        (("c1.pth", "--buffers", "none"), "average"),
        (("absent.pth",), "absent"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    capsys, files, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    given = [str(tmp_path / one) if one.endswith(".pth") else one for one in arguments]
    with pytest.raises(SystemExit) as caught:
        main(["layers", files[0], *given, "--home", str(tmp_path / "home")])
    message = capsys.readouterr().err.strip()
    assert caught.value.code == 2 and "\n" not in message and words in message and "reload" not in message


def test_a_reader_that_has_had_enough_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m fusionlib methods --json | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr
