"""Networks of transformers, made from folders: the same logits, and nothing that a config could order is done."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CPU, folder_data
from safetensors.torch import load_file, save_file

from fusionlib.architectures import transformers_networks
from fusionlib.architectures.nearest import unknown_network
from fusionlib.architectures.recognise import network_of
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES
from fusionlib.engine.network import BoundNetwork

try:
    import transformers
except ImportError:
    transformers = None

needs_it = pytest.mark.skipif(transformers is None, reason="needs the extra [hf]: pip install 'fusionlib[hf]'")
LABELS = {"id2label": {0: "road", 1: "car", 2: "sky"}}


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    before = set(ARCHITECTURES.names())
    yield
    for name in set(ARCHITECTURES.names()) - before:
        del ARCHITECTURES._items[name]


def swin() -> Any:
    return transformers.SwinConfig(
        embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_size=4, out_indices=[1, 2, 3, 4]
    )


def convnext() -> Any:
    return transformers.ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], out_indices=[1, 2, 3, 4])


VIT = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 16}
SMALL: dict[str, Callable[[], Any]] = {
    "UperNetForSemanticSegmentation": lambda: transformers.UperNetConfig(
        backbone_config=convnext(), hidden_size=16, auxiliary_channels=8, auxiliary_in_channels=16, **LABELS
    ),
    "Mask2FormerForUniversalSegmentation": lambda: transformers.Mask2FormerConfig(
        backbone_config=swin(),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        encoder_layers=1,
        decoder_layers=2,
        dim_feedforward=16,
        num_attention_heads=2,
        num_queries=5,
        **LABELS,
    ),
    "MobileViTForSemanticSegmentation": lambda: transformers.MobileViTConfig(
        hidden_sizes=[16, 16, 16],
        neck_hidden_sizes=[8, 8, 8, 8, 16, 16, 16],
        num_attention_heads=2,
        aspp_out_channels=8,
        image_size=64,
        **LABELS,
    ),
    "DPTForSemanticSegmentation": lambda: transformers.DPTConfig(
        **VIT,
        image_size=64,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        auxiliary_loss_weight=0.1,
        **LABELS,
    ),
    "BeitForSemanticSegmentation": lambda: transformers.BeitConfig(
        **VIT, image_size=64, out_indices=[0, 1, 2, 3], use_relative_position_bias=True, **LABELS
    ),
}


def folder(path: Path, kind: str, seed: int = 0) -> Any:
    """Random weights of a small network, as save_pretrained writes them; the model."""
    torch.manual_seed(seed)
    model = getattr(transformers, kind)(SMALL[kind]()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    model.save_pretrained(path)
    return model


def bound(checkpoint: Checkpoint) -> BoundNetwork:
    known = network_of(checkpoint.shapes)
    assert known is not None, unknown_network([checkpoint])
    arena = Arena.pack([checkpoint])
    network = BoundNetwork(*known, arena.layout, arena.integers[0], device=CPU)
    network.load(arena.weights[0])
    return network


@needs_it
@pytest.mark.parametrize("kind", SMALL)
def test_logits_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    model = folder(tmp_path / "f", kind)
    network = bound(open_checkpoint(tmp_path / "f"))
    assert network.space.names == ("road", "car", "sky")
    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        theirs, ours = model(picture), network.module(picture)
        if "Mask2Former" in kind:
            classes = theirs.class_queries_logits.softmax(-1)[..., :3]
            scores = torch.stack(
                [(c.T @ m.flatten(1).sigmoid()) for c, m in zip(classes, theirs.masks_queries_logits, strict=True)]
            )
            expected = (scores / scores.sum(1, keepdim=True)).unflatten(2, ours.shape[2:]).log()
        else:
            expected = theirs.logits
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@needs_it
@pytest.mark.parametrize("kind", ["Mask2FormerForUniversalSegmentation", "UperNetForSemanticSegmentation"])
def test_a_merge_is_exported_measured_and_opened_by_transformers(kind: str, tmp_path: Path, capsys: Any) -> None:
    for seed, name in enumerate("ab"):
        folder(tmp_path / name, kind, seed)
    files = [str(tmp_path / "a"), str(tmp_path / "b")]
    main(["merge", *files, "--alpha", "0.5", "--export", "hf", "--out", str(tmp_path / "m")])
    merged = load_file(tmp_path / "m" / "model.safetensors")
    assert set(merged) == set(load_file(tmp_path / "a" / "model.safetensors"))
    theirs = getattr(transformers, kind).from_pretrained(tmp_path / "m", local_files_only=True).eval()
    picture = torch.rand(1, 3, 64, 64)
    module = bound(open_checkpoint(tmp_path / "m")).module
    with torch.inference_mode():
        mine, found = module(picture), theirs(picture)
        if "Mask2Former" in kind:
            again = transformers_networks._Logits(theirs, queries=True)(picture)
            torch.testing.assert_close(mine, again, rtol=1e-5, atol=1e-5)
        else:
            torch.testing.assert_close(mine, found.logits, rtol=1e-5, atol=1e-5)
    data = folder_data(tmp_path / "data", 2)
    capsys.readouterr()
    main(["evaluate", str(tmp_path / "m"), "--data", f"folder:{data}", "--json", "--home", str(tmp_path / "home")])
    assert 0 <= json.loads(capsys.readouterr().out)["miou"] <= 1


@needs_it
@pytest.mark.parametrize(
    "changed",
    [
        {"auto_map": {"AutoModel": "evil--code.Model"}, "trust_remote_code": True},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"_attn_implementation": "kernels-community/evil"},
        {"use_pretrained_backbone": True},
    ],
)
def test_orders_in_a_config_are_not_followed(changed: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    def fetched(*arguments: Any, **options: Any) -> None:
        raise AssertionError(f"fetches {arguments}")

    monkeypatch.setattr("socket.socket.connect", fetched)
    kind = "UperNetForSemanticSegmentation"
    folder(tmp_path, kind)
    config = json.loads((tmp_path / "config.json").read_text())
    config["backbone_config"] |= changed
    (tmp_path / "config.json").write_text(json.dumps({**config, **changed}))
    assert bound(open_checkpoint(tmp_path)).space.count == 3


@needs_it
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"backbone": "someone/else", "backbone_config": None}, "to be fetched"),
        ({"use_timm_backbone": True}, "timm"),
        ({"architectures": ["UperNetModel"]}, "UperNetForSemanticSegmentation"),
        ({"model_type": "oneformer", "architectures": ["OneFormerForUniversalSegmentation"]}, "more than pictures"),
        ({"model_type": "vit", "architectures": ["ViTForImageClassification"]}, "no such network"),
        ({"hidden_size": "large"}, "config"),
        ({"hidden_size": 32}, r"decode_head\..* is \(.*\) and not \(.*32"),
        ({"backbone_config": {"model_type": "convnext", "depths": [10**9, 1, 1, 1]}}, "depths"),
    ],
)
def test_what_cannot_be_made_says_why(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder(tmp_path / "f", "UperNetForSemanticSegmentation")
    config = json.loads((tmp_path / "f" / "config.json").read_text())
    (tmp_path / "f" / "config.json").write_text(json.dumps({**config, **changed}))
    found = open_checkpoint(tmp_path / "f")
    assert network_of(found.shapes) is None
    problem = unknown_network([found])
    assert re.search(said, f"{problem.got} {problem.do}"), problem


def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(transformers_networks.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(transformers_networks, "_MADE", {})
    config = {"model_type": "mask2former", "architectures": ["Mask2FormerForUniversalSegmentation"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"model.level_embed.weight": torch.zeros(3, 4)}, tmp_path / "model.safetensors")
    problem = unknown_network([open_checkpoint(tmp_path)])
    assert "Mask2FormerForUniversalSegmentation" in problem.got and "fusionlib[hf]" in problem.do
