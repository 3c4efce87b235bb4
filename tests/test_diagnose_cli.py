"""`diagnose` from the command line: its JSON contract, and one line for whatever is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fusionlib.checkpoints.writer import save_tensors
from fusionlib.cli import main
from tests.helpers import folder_data, tiny_file, tiny_registered


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    with tiny_registered():
        yield [str(tiny_file(tmp_path, f"c{seed}", seed)) for seed in range(3)]


def run(capsys, *arguments: str, home: Path) -> dict:
    main(["diagnose", *arguments, "--home", str(home), "--json"])
    return json.loads(capsys.readouterr().out)


def fails(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["diagnose", *arguments])
    assert caught.value.code == 2
    message = capsys.readouterr().err.strip()
    assert "\n" not in message
    return message


def test_weights_alone(capsys, files, tmp_path: Path) -> None:
    found = run(capsys, *files, home=tmp_path / "home")
    assert [single["name"] for single in found["singles"]] == ["c0", "c1", "c2"]
    assert [(pair["a"], pair["b"]) for pair in found["pairs"]] == [("c0", "c1"), ("c0", "c2"), ("c1", "c2")]
    for pair in found["pairs"]:
        for name in ("oracle_miou", "disagreement", "diversity", "barrier"):
            assert pair[name] is None
        assert -1 <= pair["cosine"] <= 1 and -1 <= pair["cosine_with_buffers"] <= 1 and pair["l2"] > 0
        assert [layer["name"] for layer in pair["layers"]] == ["stem", "norm", "body", "norm2", "head"]
        assert all(0 <= layer["discrepancy"] <= 1 for layer in pair["layers"])
        verdict = pair["verdict"]
        assert (
            verdict["level"] in ("measure to know", "do not merge")
            and verdict["reasons"]
            and verdict["measured"] is False
        )
        assert verdict["evidence"]["convolutions"] == pair["cosine_groups"]["convolution"]
        assert (
            verdict["evidence"]["worst_block"]["block"] in ("stem", "body", "head")
            and verdict["evidence"]["gain"] is None
        )
    assert found["singles"][0]["miou"] is None and found["tau"] == 10


def test_with_data(capsys, files, tmp_path: Path) -> None:
    data = f"folder:{folder_data(tmp_path / 'data', 4)}"
    found = run(capsys, *files[:2], "--data", data, "--limit", "3", "--step", "0.5", home=tmp_path / "home")
    pair = found["pairs"][0]
    assert found["images"] == 3
    assert {"entezari", "frankle"} <= set(pair["barrier"]["loss"]) and {"entezari", "frankle"} <= set(
        pair["barrier"]["miou"]
    )
    assert pair["oracle_miou"] is not None and pair["cka"]
    assert all(single["miou"] is not None and single["loss"] is not None for single in found["singles"])
    short = run(capsys, *files[:2], "--data", data, "--no-path", home=tmp_path / "other")
    assert short["pairs"][0]["barrier"] is None and short["pairs"][0]["oracle_miou"] is not None


def test_for_people(capsys, files, tmp_path: Path) -> None:
    main(["diagnose", *files, "--home", str(tmp_path / "home")])
    text = capsys.readouterr().out
    assert "DO NOT MERGE" in text and "separate basins" in text and "n/a" in text


def test_pictures_without_masks_tell_how_often_two_disagree_and_nothing_of_miou(capsys, files, tmp_path: Path) -> None:
    data = f"pictures:{folder_data(tmp_path / 'data', 2, masks=False)}"
    main(["diagnose", *files[:2], "--data", data, "--home", str(tmp_path / "home")])
    text = capsys.readouterr().out
    assert "    disagreement " in text and "oracle mIoU" not in text
    assert "diversity" not in text and "rough" not in text and "2 pictures" not in text


def test_networks_that_do_not_fit_are_judged_over_what_they_share(capsys, files, tmp_path: Path) -> None:
    save_tensors(tmp_path / "other.safetensors", {"stem.weight": torch.ones(8, 3, 3, 3)})
    found = run(capsys, files[0], str(tmp_path / "other.safetensors"), home=tmp_path / "home")
    assert found["pairs"][0]["verdict"]["level"] == "do not merge"
    assert "differ" in found["pairs"][0]["verdict"]["reasons"][0]


def test_wrong_arguments_end_in_one_line(capsys, files, tmp_path: Path) -> None:
    assert "One checkpoint" in fails(capsys, files[0])
    assert f"as {tmp_path.name}/*.pth" in fails(capsys, str(tmp_path))
    assert "--tau" in fails(capsys, *files, "--tau", "0")
    assert "Step" in fails(capsys, *files, "--step", "5")
    assert "--data" in fails(capsys, *files, "--split", "val")
    assert "leave it out" in fails(capsys, *files, "--step", "0.25")
    assert (
        "--split and --step without --data" in (both := fails(capsys, *files, "--step", "0.25", "--split", "val"))
        and "them out" in both
    )
    assert "--buffers without --data" in fails(capsys, *files, "--buffers", "average")
    assert "--no-path" in fails(capsys, *files, "--data", "camvid:nowhere", "--no-path", "--step", "0.5")
    assert "buffer" in fails(capsys, *files, "--buffers", "nonsense").lower()
    assert "nowhere" in fails(capsys, files[0], str(tmp_path / "nowhere.pth"))
    assert "nowhere" in fails(capsys, *files, "--data", "camvid:nowhere")


def test_an_unknown_network_with_data_is_judged_by_its_weights_and_says_so(capsys, tmp_path: Path) -> None:
    for number in (1, 2):
        save_tensors(
            tmp_path / f"w{number}.safetensors",
            {"weight": torch.randn(40, 40, generator=torch.Generator().manual_seed(number))},
        )
    paths = [str(tmp_path / f"w{number}.safetensors") for number in (1, 2)]
    found = run(capsys, *paths, "--data", f"folder:{folder_data(tmp_path / 'data', 2)}", home=tmp_path / "home")
    assert found["pairs"][0]["verdict"]["level"] == "do not merge" and found["pairs"][0]["oracle_miou"] is None
    assert "No model code" in found["notes"][0]


def test_one_unknown_network_is_left_out_with_a_reason(capsys, files, tmp_path: Path) -> None:
    save_tensors(tmp_path / "odd.safetensors", {"stem.weight": torch.ones(8, 3, 3, 3)})
    arguments = [
        *files[:2],
        str(tmp_path / "odd.safetensors"),
        "--data",
        f"folder:{folder_data(tmp_path / 'data', 2)}",
        "--step",
        "0.5",
    ]
    found = run(capsys, *arguments, home=tmp_path / "home")
    assert "No model code is known for odd" in found["notes"][0]
    assert [pair["oracle_miou"] is None for pair in found["pairs"]] == [False, True, True]
    assert (
        found["pairs"][0]["reason"] is None
        and "odd" in found["pairs"][1]["reason"]
        and "odd" in found["singles"][2]["reason"]
    )
    main(["diagnose", *arguments, "--home", str(tmp_path / "home")])
    assert capsys.readouterr().out.count("No model code is known for odd") == 1


@pytest.mark.real
def test_real_pairs_are_told_apart_without_model_code(capsys, real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "checkpoints"
    found = run(capsys, *(str(folder / "enet-cityscapes" / f"epoch-0{epoch}.pth") for epoch in (30, 35)), home=tmp_path)
    assert found["pairs"][0]["cosine"] == pytest.approx(0.981, abs=5e-4)
    assert found["pairs"][0]["verdict"]["level"] == "measure to know"
    assert found["pairs"][0]["verdict"]["evidence"]["worst_block"] == {
        "block": "regular2_5",
        "cosine": pytest.approx(0.933, abs=5e-4),
    }
    found = run(capsys, *map(str, sorted((folder / "enet-other-layout").glob("*.pth"))), home=tmp_path)
    assert abs(found["pairs"][0]["cosine"]) < 0.15
    assert found["pairs"][0]["verdict"]["level"] == "do not merge"
