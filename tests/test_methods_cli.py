"""Every registered method from the command line: listed, explained in the guide, run, and run again to the same
bytes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from helpers import saved, tiny_file, tiny_tensors
from test_cli import place, refused, said  # noqa: F401 - fixtures

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.contracts import METHODS, parameters_of

ONE_FILE = [name for name in METHODS.names() if METHODS.get(name)().networks(2) == 1]


def test_methods_lists_every_method_with_its_parameters_ranges_and_source(place: Path, said) -> None:  # noqa: F811
    listed = {item["name"]: item for item in said("methods")["methods"]}
    assert set(listed) == set(METHODS.names())
    for name, item in listed.items():
        assert item["title"] and item["summary"] and item["citation"]
        assert item["needs"] in ("weights", "pictures", "architecture")
        assert [entry["name"] for entry in item["parameters"]] == [
            entry.name for entry in parameters_of(METHODS.get(name))
        ]
        assert all(entry["help"] for entry in item["parameters"])
    alpha = listed["linear"]["parameters"][0]
    assert (alpha["default"], alpha["min"], alpha["max"]) == (0.5, 0.0, 1.0)


def test_every_method_is_in_the_guide(said) -> None:  # noqa: F811
    lines = said("guide", "merging")["lines"]
    for name in METHODS.names():
        assert any(line.startswith(f"| `{name}` | {METHODS.get(name).title} |") for line in lines)


@pytest.mark.parametrize("name", ONE_FILE)
def test_every_method_writes_a_file_and_its_recipe_runs_again_to_the_same_bytes(place: Path, said, name: str) -> None:  # noqa: F811
    more = ["--data", "folder:town", "--count", "2"] if METHODS.get(name).needs == "pictures" else []
    more += ["--set", "anchor=0"] if name == "backbone" else []
    first = said(
        "merge",
        "--method",
        name,
        "--checkpoints",
        "a.pth",
        "b.pth",
        "--out",
        "m.safetensors",
        "--save-recipe",
        "r.yaml",
        *more,
    )
    assert first["method"] == name and len(first["files"]) == 1
    written = open_checkpoint(place / "m.safetensors")
    assert list(written.tensors) == list(open_checkpoint(place / "a.pth").tensors)
    assert all(
        torch.isfinite(written.read(key)).all() for key, info in written.tensors.items() if info.dtype.is_floating_point
    )
    again = said("merge", "r.yaml", "--out", "n.safetensors", "--home", "elsewhere")
    assert again["fingerprint"] == first["fingerprint"]
    (place / "embedded.yaml").write_text(written.metadata["recipe"])
    third = said(
        "merge", "embedded.yaml", "--out", "o.safetensors", *(more[:2] if METHODS.get(name).needs == "pictures" else [])
    )
    assert third["fingerprint"] == first["fingerprint"]


@pytest.mark.parametrize("name", ["layerwise", "isotropic", "task_arithmetic", "ties", "dare", "profile"])
@pytest.mark.parametrize("policy", ["average", "gaussian", "anchor"])
def test_networks_without_model_code_merge_by_every_method_of_weights(
    place: Path,  # noqa: F811
    said,  # noqa: F811
    name: str,
    policy: str,
) -> None:
    for number in (1, 2, 3):
        table = {f"odd.{key}": value for key, value in {**tiny_tensors(number), "extra": torch.zeros(2)}.items()}
        saved(place / f"odd{number}.safetensors", table)
    files = [f"odd{number}.safetensors" for number in (1, 2, 3)]
    result = said(
        "merge", "--method", name, "--anchor", 2, "--buffers", policy, "--checkpoints", *files, "--out", "m.safetensors"
    )
    written, anchor = open_checkpoint(place / "m.safetensors"), open_checkpoint(place / files[2])
    assert result["checkpoints"] == ["odd1", "odd2", "odd3"]
    same = torch.equal(written.read("odd.norm.running_var"), anchor.read("odd.norm.running_var"))
    assert same == (policy == "anchor")


def test_what_needs_a_network_is_refused_without_one(place: Path, refused) -> None:  # noqa: F811
    for number in (1, 2):
        saved(
            place / f"odd{number}.safetensors", {"w": torch.randn(3, generator=torch.Generator().manual_seed(number))}
        )
    files = ["--checkpoints", "odd1.safetensors", "odd2.safetensors", "--out", "m.safetensors"]
    assert "permutations are not declared" in refused("merge", "--method", "rebasin", *files)
    assert "--model" in refused("merge", "--method", "fisher", *files, "--data", "folder:town")
    assert "--data" in refused("merge", "--method", "fisher", *files)
    assert "backbone and a head" in refused("merge", "--method", "backbone", *files)


def test_the_backbone_alone_gives_a_file_for_every_head(place: Path, said) -> None:  # noqa: F811
    tiny_file(place, "c", 3, classes=5)
    files = ["a.pth", "b.pth", "c.pth"]
    result = said(
        "merge", "--method", "backbone", "--checkpoints", *files, "--buffers", "gaussian", "--out", "F.safetensors"
    )
    assert [Path(file["path"]).name for file in result["files"]] == [
        "F-a.safetensors",
        "F-b.safetensors",
        "F-c.safetensors",
    ]
    opened = {
        name: (open_checkpoint(place / f"F-{name}.safetensors"), open_checkpoint(place / f"{name}.pth"))
        for name in "abc"
    }
    for written, own in opened.values():
        assert torch.equal(written.read("head.weight"), own.read("head.weight"))
    mean = sum(own.read("stem.weight") for _, own in opened.values()) / 3
    assert all(torch.allclose(written.read("stem.weight"), mean, atol=1e-6) for written, _ in opened.values())
    assert "are shared" in result["files"][0]["notes"][0]
    assert written.metadata["recipe"].count("anchor: 2") == 1


def test_several_files_have_a_recipe_each_that_runs_again(place: Path, said) -> None:  # noqa: F811
    result = said(
        "merge",
        "--method",
        "backbone",
        "--checkpoints",
        "a.pth",
        "b.pth",
        "--out",
        "F.safetensors",
        "--save-recipe",
        "r.yaml",
    )
    assert [Path(file["recipe"]).name for file in result["files"]] == ["r-a.yaml", "r-b.yaml"] and not (
        place / "r.yaml"
    ).exists()
    assert [file["parameters"] for file in result["files"]] == [{"anchor": 0}, {"anchor": 1}]
    for file, name in zip(result["files"], "ab", strict=True):
        again = said("merge", f"r-{name}.yaml", "--out", f"again-{name}.safetensors")
        assert again["fingerprint"] == file["fingerprint"]


def test_a_head_is_swapped_with_its_statistics(place: Path, said) -> None:  # noqa: F811
    said(
        "merge",
        "--method",
        "head_swap",
        "--checkpoints",
        "a.pth",
        "b.pth",
        "--set",
        "backbone=1",
        "head=0",
        "--out",
        "m.safetensors",
    )
    written, a, b = (open_checkpoint(place / name) for name in ("m.safetensors", "a.pth", "b.pth"))
    assert torch.equal(written.read("head.bias"), a.read("head.bias"))
    assert torch.equal(written.read("norm.running_mean"), b.read("norm.running_mean"))


def test_unlike_checkpoints_are_shown_then_merged_where_they_are_shared(place: Path, said, refused) -> None:  # noqa: F811
    tiny_file(place, "c", 3, classes=5)
    table = said("inspect", "a.pth", "c.pth", "--shared", "--anchor", "1", "--exclude", "norm2.*")["sharing"]
    reasons = {row["name"]: row["reason"] for row in table["tensors"]}
    assert (reasons["head.weight"], reasons["norm2.weight"], reasons["stem.weight"]) == ("shape", "excluded", "shared")
    files = ["--checkpoints", "a.pth", "c.pth", "--out", "m.safetensors"]
    assert "head" in refused("merge", "--method", "isotropic", *files)
    result = said(
        "merge",
        "--method",
        "isotropic",
        "--shared",
        "--anchor",
        1,
        *files,
        "--save-recipe",
        "r.yaml",
        "--buffers",
        "recalibrate",
        "--data",
        "folder:town",
    )
    assert tuple(open_checkpoint(place / "m.safetensors").tensors["head.bias"].shape) == (5,)
    assert yaml.safe_load(Path("r.yaml").read_text())["anchor"] == 1
    assert said("merge", "r.yaml", "--out", "n.safetensors")["fingerprint"] == result["fingerprint"]
    assert "are shared" in said("merge", "--method", "layerwise", "--anchor", 1, *files)["notes"][0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--method", "nonsense"],
        ["--method", "layerwise", "--set", "colour=3"],
        ["--method", "layerwise", "--set", "start"],
        ["--method", "layerwise", "--set", "start=1.5"],
        ["--method", "layerwise", "--set", "start=0"],
        ["--method", "layerwise", "--anchor", "2"],
        ["--method", "layerwise", "--anchor", "1", "--set", "anchor=1"],
        ["--method", "isotropic", "--anchor", "7"],
        ["--method", "profile", "--set", "weights={nose: [1, 0]}"],
        ["--method", "profile", "--set", "weights=[1, 2]"],
        ["--method", "slerp", "--set", "scope=half"],
        ["--method", "slerp", "--alpha", "2"],
        ["--method", "isotropic", "--alpha", "0.5"],
        ["--method", "dare", "--set", "seed=!!python/object:os.system"],
        ["--method", "ensemble"],
        ["--method", "linear", "--rename", "("],
        ["--method", "head_swap", "--anchor", "1"],
        ["--method", "head_swap", "--set", "head=2"],
    ],
)
def test_wrong_arguments_end_with_one_line_and_no_file(place: Path, refused, arguments: list[str]) -> None:  # noqa: F811
    refused("merge", *arguments, "--checkpoints", "a.pth", "b.pth", "--out", "m.safetensors")
    assert not (place / "m.safetensors").exists()


def test_settings_are_read_as_what_the_parameter_is(place: Path, said) -> None:  # noqa: F811
    files = ["--checkpoints", "a.pth", "b.pth", "--out", "m.safetensors"]
    profile = said(
        "merge", "--method", "profile", *files, "--set", "weights={head: [0.25, 0.75]}", "rest=1,0", "granularity=block"
    )
    assert profile["parameters"] == {"weights": {"head": [0.25, 0.75]}, "rest": [1, 0], "granularity": "block"}
    assert said("merge", *files, "--set", "alpha=0.25")["parameters"] == {"alpha": 0.25}
    assert (
        said("merge", "--method", "layerwise", *files, "--set", "exclude=head.*,norm2.*")["parameters"]["exclude"]
        == "head.*,norm2.*"
    )


def test_an_ensemble_is_measured_with_its_cost_and_identical_members_change_nothing(place: Path, said, refused) -> None:  # noqa: F811
    alone = said("evaluate", "a.pth", "--data", "folder:town")
    same = said("evaluate", "a.pth", "--with", "a.pth", "a.pth", "--data", "folder:town")
    assert same["forwards"] == 3 and (same["miou"], same["iou"]) == (alone["miou"], alone["iou"])
    assert same["loss"] == pytest.approx(alone["loss"], abs=1e-5)
    rules = {
        rule: said("evaluate", "a.pth", "--with", "b.pth", "--rule", rule, "--data", "folder:town")["loss"]
        for rule in ("softmax", "logit", "product", "majority")
    }
    assert len(set(rules.values())) == 4
    tiny_file(place, "c", 3, classes=5)
    assert "label spaces" in refused("evaluate", "a.pth", "--with", "c.pth", "--data", "folder:town")
