"""Folders of Hugging Face: one checkpoint each, with the classes and the preprocessing that their JSON files give."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fusionlib.architectures import transformers_networks
from fusionlib.architectures.described import class_names, preprocessing_of
from fusionlib.architectures.nearest import unknown_network
from fusionlib.architectures.recognise import network_of, recognise
from fusionlib.architectures.segformer import PLANS, Plan, SegFormer
from fusionlib.architectures.spaces import space_of_names
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES, Description, OwnClasses, Preprocessing
from fusionlib.data.labels import CITYSCAPES, label_space
from fusionlib.engine.identity import architecture_key
from fusionlib.errors import CheckpointError
from fusionlib.studio import Options, Workspace

TINY = Plan((8, 16, 24, 32), (1, 1, 1, 1), 16, (1, 2, 3, 4))
NAMES = ("tarmac", "kerb", "lorry")
CONFIG: dict[str, Any] = {
    "architectures": ["SegformerForSemanticSegmentation"],
    "model_type": "segformer",
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 2, 3, 4],
    "decoder_hidden_size": 16,
    "id2label": {str(number): name for number, name in enumerate(NAMES)},
}
PREPROCESSOR = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "do_resize": True, "size": {"height": 64}}


def tensors(classes: int = 3, seed: int = 0, plan: Plan = TINY) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return SegFormer(plan, False, classes).state_dict()


def folder(
    path: Path,
    config: Mapping[str, Any] | str | None = None,
    preprocessor: Mapping[str, Any] | None = PREPROCESSOR,
    seed: int = 0,
    classes: int = 3,
) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    config = CONFIG if config is None else config
    (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    if preprocessor is not None:
        (path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    save_file(tensors(classes, seed), path / "model.safetensors")
    return path


def cached(hub: Path, commits: tuple[str, ...] = ("a1b2c3d4",), main_at: str | None = None) -> Path:
    """A repository as the cache of huggingface_hub keeps it: links to blobs."""
    root = hub / "models--nvidia--segformer-tiny"
    for number, commit in enumerate(commits):
        made = folder(hub / f"made-{commit}", seed=number)
        (root / "snapshots" / commit).mkdir(parents=True)
        (root / "blobs").mkdir(exist_ok=True)
        for file in made.iterdir():
            blob = root / "blobs" / f"{commit}-{file.suffix[1:]}-{len(file.name)}"
            file.rename(blob)
            (root / "snapshots" / commit / file.name).symlink_to(os.path.relpath(blob, root / "snapshots" / commit))
        made.rmdir()
    (root / "refs").mkdir()
    if main_at:
        (root / "refs" / "main").write_text(main_at)
    return root


def network(checkpoint: Checkpoint) -> Any:
    known = network_of(checkpoint.shapes)
    assert known is not None
    return known[0]


# --- what a folder is ------------------------------------------------------------------------------------------------


def test_a_folder_is_one_checkpoint_with_its_own_classes_mean_and_std(tmp_path: Path) -> None:
    found = open_checkpoint(folder(tmp_path / "streets-b0"))
    assert found.name == "streets-b0"
    own = network(found)
    assert own.label_space(3) == OwnClasses(NAMES)
    assert (own.preprocessing.mean, own.preprocessing.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert own.preprocessing.resize is None
    own.build(3).load_state_dict({name: found.read(name) for name in found.tensors}, strict=True)
    assert any(stage.name == "decode_head" for stage in own.stages(own.build(3)))
    assert any("SegformerForSemanticSegmentation" in note for note in found.notes)


def test_what_its_json_files_say_is_part_of_what_it_is(tmp_path: Path) -> None:
    one = open_checkpoint(folder(tmp_path / "a"))
    same = open_checkpoint(folder(tmp_path / "elsewhere" / "b"))
    other = open_checkpoint(folder(tmp_path / "c", preprocessor={"image_mean": [0.1, 0.1, 0.1]}))
    heads = open_checkpoint(folder(tmp_path / "d", {**CONFIG, "num_attention_heads": [1, 1, 1, 1]}))
    assert one.fingerprint == same.fingerprint and len({one.fingerprint, other.fingerprint, heads.fingerprint}) == 3
    keys = {architecture_key(network(item), 3) for item in (one, same, other, heads)}
    assert len(keys) == 3 and network(one) is network(same)
    (tmp_path / "a" / "config.json").write_text(json.dumps({**CONFIG, "id2label": {}}))
    assert not one.is_current()


def test_a_usual_folder_is_the_built_in_network(tmp_path: Path) -> None:
    names = {str(number): name for number, name in enumerate(CITYSCAPES.names)}
    config = {"model_type": "segformer", "architectures": ["SegformerForSemanticSegmentation"], "id2label": names}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(tensors(19, plan=PLANS["b0"]), tmp_path / "model.safetensors")
    assert recognise(open_checkpoint(tmp_path).shapes) == ("segformer-b0", 19)
    assert space_of_names(CITYSCAPES.names) == "cityscapes"


def test_weights_may_be_sharded_or_pickled_and_named_as_modules(tmp_path: Path) -> None:
    whole = open_checkpoint(folder(tmp_path / "whole"))
    sharded = folder(tmp_path / "sharded")
    all_of_them = load_file(sharded / "model.safetensors")
    (sharded / "model.safetensors").unlink()
    weights = {}
    for number, names in enumerate((sorted(all_of_them)[::2], sorted(all_of_them)[1::2])):
        save_file({name: all_of_them[name] for name in names}, sharded / f"model-{number}.safetensors")
        weights |= dict.fromkeys(names, f"model-{number}.safetensors")
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    pickled = folder(tmp_path / "pickled")
    (pickled / "model.safetensors").unlink()
    torch.save(all_of_them, pickled / "pytorch_model.bin")
    for found in map(open_checkpoint, (sharded, pickled)):
        assert network(found) is network(whole) and found.name == found.path.name
        assert all(torch.equal(found.read(name), tensor) for name, tensor in all_of_them.items())


def test_a_repository_of_the_cache_opens_by_its_name(tmp_path: Path) -> None:
    root = cached(tmp_path / "hub", ("a1b2c3d4", "b1b2c3d4"), main_at="b1b2c3d4")
    by_name, by_commit = open_checkpoint(root), open_checkpoint(root / "snapshots" / "b1b2c3d4")
    assert by_name.name == by_commit.name == "segformer-tiny"
    assert by_name.fingerprint == by_commit.fingerprint != open_checkpoint(root / "snapshots" / "a1b2c3d4").fingerprint
    (root / "refs" / "main").write_text("../../../../etc")
    with pytest.raises(CheckpointError, match="2 snapshots"):
        open_checkpoint(root)


def test_the_workspace_lists_folders_the_cache_and_what_lies_beside(tmp_path: Path) -> None:
    runs = folder(tmp_path / "run")
    folder(runs / "checkpoint-500", seed=1)
    torch.save({}, runs / "optimizer.pt")
    torch.save(tensors(seed=2), runs / "other.pth")
    cached(tmp_path / "hub", main_at="a1b2c3d4")
    options = Options(checkpoints=(runs, tmp_path / "hub"), demo=False, home=tmp_path / "home")
    items = Workspace(options).items
    assert {item.name: item.problem for item in items} == dict.fromkeys(
        ("run", "checkpoint-500", "other", "segformer-tiny")
    )
    known = {item.name: item.known for item in items}
    assert known["run"] == known["checkpoint-500"] == known["segformer-tiny"] != known["other"]


def test_merges_keep_what_the_folder_says(tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a"), folder(tmp_path / "b", seed=1)
    for number, more in enumerate((["--alpha", "0.5"], ["--method", "slerp", "--alpha", "0.5"])):
        out = tmp_path / f"m{number}.safetensors"
        main(["merge", str(a), str(b), *more, "--out", str(out)])
        merged = open_checkpoint(out)
        assert network(merged) is network(open_checkpoint(a))
        assert Arena.pack([merged]).shapes.description == merged.description


def test_a_merge_is_exported_as_a_folder(tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a"), folder(tmp_path / "b", preprocessor=None, seed=1)
    out = tmp_path / "merged"
    main(["merge", str(a), str(b), "--alpha", "0.25", "--dtype", "float16", "--export", "hf", "--out", str(out)])
    assert sorted(file.name for file in out.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    assert json.loads((out / "preprocessor_config.json").read_text()) == PREPROCESSOR
    assert json.loads((out / "config.json").read_text()) == CONFIG
    merged = open_checkpoint(out)
    assert merged.name == "merged" and network(merged) is network(open_checkpoint(a))
    one, other = tensors(), tensors(seed=1)
    for name, tensor in load_file(out / "model.safetensors").items():
        if tensor.is_floating_point() and "running" not in name:
            torch.testing.assert_close(tensor, (0.25 * one[name] + 0.75 * other[name]).half())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "merged"]


def test_an_export_that_cannot_be_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = folder(tmp_path / "a")
    save_file(tensors(seed=1), tmp_path / "b.safetensors")
    refused = {
        (str(tmp_path / "b.safetensors"), str(a), str(tmp_path / "m")): "b is no folder of Hugging Face",
        (str(a), str(tmp_path / "b.safetensors"), str(a)): "a is",
        (str(a), str(tmp_path / "b.safetensors"), str(tmp_path / "nowhere" / "m")): "no folder 'nowhere'",
    }
    for (first, second, out), said in refused.items():
        with pytest.raises(SystemExit):
            main(["merge", first, second, "--export", "hf", "--out", out])
        assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b.safetensors"]
    assert open_checkpoint(a).name == "a"


def test_transformers_opens_what_was_exported(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra [hf]: pip install 'fusionlib[hf]'")
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        config = transformers.SegformerConfig(**{**CONFIG, "initializer_range": 0.5})
        transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path / name)
    out = tmp_path / "merged"
    main(["merge", str(tmp_path / "a"), str(tmp_path / "b"), "--alpha", "0.5", "--export", "hf", "--out", str(out)])
    theirs = transformers.AutoModelForSemanticSegmentation.from_pretrained(out, local_files_only=True).eval()
    merged = open_checkpoint(out)
    ours = network(merged).build(3).eval()
    ours.load_state_dict({name: merged.read(name) for name in merged.tensors})
    picture = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(theirs(picture).logits, ours(picture), rtol=1e-5, atol=1e-5)
    assert theirs.config.id2label == dict(enumerate(NAMES))


def test_inspect_names_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", str(folder(tmp_path / "streets-b0")), "--json"])
    (item,) = json.loads(capsys.readouterr().out)["checkpoints"]
    assert item["name"] == "streets-b0" and item["classes"] == 3 and item["architecture"].startswith("segformer:")


# --- hostile and odd files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        "",
        "[1]",
        "{",
        "{'model_type': 'segformer'}",
        '{"a": 1, "a": 2}',
        "[" * 100_000,
        '{"a": "' + "x" * (1 << 20) + '"}',
    ],
    ids=["empty", "list", "cut", "python", "double", "deep", "long"],
)
def test_a_config_that_is_none_is_refused(tmp_path: Path, config: str) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json"):
        open_checkpoint(folder(tmp_path, config))


def test_weights_that_are_not_there_are_named_with_the_way_out(tmp_path: Path) -> None:
    gone = folder(tmp_path / "gone")
    (gone / "model.safetensors").unlink()
    other = folder(tmp_path / "other")
    (other / "model.safetensors").rename(other / "model.fp16.safetensors")
    halved = cached(tmp_path / "hub", main_at="a1b2c3d4")
    next((halved / "blobs").glob("*-safetensors-*")).unlink()
    shards = folder(tmp_path / "shards")
    (shards / "model.safetensors").unlink()
    torch.save(tensors(), shards / "pytorch_model-00001-of-00001.bin")
    listed = json.dumps({"weight_map": dict.fromkeys(tensors(), "pytorch_model-00001-of-00001.bin")})
    (shards / "pytorch_model.bin.index.json").write_text(listed)
    for place, words in (
        (gone, r"gone has config\.json and no weights\. .*Download"),
        (other, r"other has config\.json and no weights\. .*Name its file, other/model\.fp16\.safetensors"),
        (halved, r"segformer-tiny has config\.json and no weights: model\.safetensors is a link to nothing"),
        (shards, r"points to 'pytorch_model-00001-of-00001\.bin', which is no safetensors file.*save_pretrained"),
    ):
        with pytest.raises(CheckpointError, match=words):
            open_checkpoint(place)
    (item,) = Workspace(Options(checkpoints=(shards,), demo=False, home=tmp_path / "home")).items
    assert item.name == "shards" and "no safetensors file" in str(item.problem), "not one checkpoint a shard"


@pytest.mark.parametrize(
    "changed",
    [
        {"model_type": ["segformer"]},
        {"model_type": None, "architectures": 7},
        {"hidden_sizes": [8, 16, 24, 10**12]},
        {"hidden_sizes": "8"},
        {"depths": [1, 1, 1, 10**9]},
        {"num_attention_heads": [3, 3, 3, 3]},
        {"num_attention_heads": [1, 2, 3, True]},
        {"decoder_hidden_size": float("nan")},
        {"hidden_act": "relu"},
        {"strides": [4, 2, 2, 1]},
    ],
)
def test_a_config_of_another_network_is_no_known_one(tmp_path: Path, changed: dict[str, Any]) -> None:
    found = open_checkpoint(folder(tmp_path / "f", {**CONFIG, **changed}))
    known = network_of(found.shapes)  # transformers may have what this library does not
    assert known is None or known[0].title == "SegformerForSemanticSegmentation of transformers of a folder"
    assert known or "f" in unknown_network([found]).got


def test_a_config_goes_before_shapes_that_another_network_has_too(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(transformers_networks.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(transformers_networks, "_MADE", {})
    config = {"model_type": "segformer", "architectures": ["SegformerForSemanticSegmentation"]}
    save_file(tensors(19, plan=PLANS["b0"]), tmp_path / "model.safetensors")
    for more, known in (({}, ("segformer-b0", 19)), ({"hidden_act": "relu"}, None), ({"model_type": "beit"}, None)):
        (tmp_path / "config.json").write_text(json.dumps({**config, **more}))
        assert recognise(open_checkpoint(tmp_path).shapes) == known


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ({"0": "a", "1": "b"}, ("a", "b")),
        ({"1": "b", "0": "a"}, ("a", "b")),
        ({"0": "Road", "1": "road"}, ("Road (0)", "road (1)")),
        ({"0": "LABEL_0", "1": "LABEL_1"}, ()),
        ({"0": "a", "2": "b"}, ()),
        ({"0": "a", "1": 3}, ()),
        ({"0": "a", "1": " "}, ()),
        (["a", "b"], ()),
        ({"0": "a\x1b[2J"}, ("a\\x1b[2J",)),
        ({str(number): "x" for number in range(300)}, ()),
    ],
)
def test_names_of_classes(table: Any, names: tuple[str, ...]) -> None:
    assert class_names(Description({"id2label": table})) == names


def test_names_that_are_not_as_many_as_the_outputs_are_not_taken(tmp_path: Path) -> None:
    found = open_checkpoint(folder(tmp_path, classes=5))
    assert network(found).label_space(5) == "classes-5"
    assert label_space(network(open_checkpoint(folder(tmp_path / "x"))).label_space(3)).names == NAMES


USUAL = Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, USUAL),
        ({"image_mean": [1, 0, 0.5]}, Preprocessing((1.0, 0.0, 0.5), USUAL.std)),
        ({"image_std": [0, 1, 1]}, USUAL),
        ({"image_mean": "red"}, USUAL),
        ({"image_mean": [0.1, float("inf"), 0.1]}, USUAL),
        ({"do_normalize": False}, Preprocessing()),
        ({"do_rescale": False}, Preprocessing(USUAL.mean, USUAL.std, scale=255)),
        ({"do_flip_channel_order": True}, Preprocessing(order="BGR")),
        ({"rescale_factor": 1 / 255}, USUAL),
        (
            {"rescale_factor": 2 / 255, "image_mean": [1, 1, 1], "image_std": [2, 2, 2]},
            Preprocessing((0.5,) * 3, (1.0,) * 3),
        ),
    ],
)
def test_preprocessing(said: dict[str, Any], expected: Preprocessing) -> None:
    found = preprocessing_of(Description({}, said), USUAL)
    assert found.mean == pytest.approx(expected.mean) and found.std == pytest.approx(expected.std)
    assert (found.scale, found.order) == (expected.scale, expected.order)


def test_another_network_is_named(tmp_path: Path) -> None:
    config = {"model_type": "vit", "architectures": ["ViTForImageClassification"]}
    found = open_checkpoint(folder(tmp_path / "f", config))
    assert "ViTForImageClassification" in unknown_network([found]).got


@pytest.fixture(autouse=True)
def forgotten():
    before = set(ARCHITECTURES.names())
    yield
    for name in set(ARCHITECTURES.names()) - before:
        del ARCHITECTURES._items[name]
