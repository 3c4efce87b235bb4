"""Preflight: what fits, what does not, and the words for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import torch

from fusionlib.architectures.nearest import explanations
from fusionlib.architectures.recognise import recognise
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.compare import Preflight, preflight
from fusionlib.checkpoints.findings import FOREIGN, WAYS
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.contracts import METHODS, Architecture
from fusionlib.errors import LayoutError, UsageError
from fusionlib.registry import Registry


def tensors(classes: int = 19, seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        "stem.weight": torch.randn(4, 3, generator=draw),
        "bn.running_mean": torch.zeros(4),
        "bn.num_batches_tracked": torch.tensor(seed),
        "index": torch.arange(5),
        "head.weight": torch.randn(classes, 4, 1, 1, generator=draw),
        "head.bias": torch.zeros(classes),
    }


class Toy:
    def recognise(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        return shapes["head.weight"][0] if "head.weight" in shapes else None


@pytest.fixture
def registry() -> Registry[Architecture]:
    found: Registry[Architecture] = Registry("architecture", "json")
    found.register("toy")(Toy())  # type: ignore[arg-type]
    return found


@pytest.fixture
def compare(tmp_path: Path, registry: Registry[Architecture]):
    def run(*sets: dict[str, torch.Tensor]) -> Preflight:
        opened = []
        for letter, content in zip("ABCD", sets, strict=False):
            save_tensors(tmp_path / f"{letter}.safetensors", content)
            opened.append(open_checkpoint(tmp_path / f"{letter}.safetensors"))
        known = partial(recognise, architectures=registry)
        return preflight(opened, known, partial(explanations, architectures=registry))

    return run


def errors(report: Preflight) -> list[str]:
    return [item.title for item in report.findings if item.level == "error"]


def test_compatible_pair(compare) -> None:
    report = compare(tensors(), tensors(seed=1))
    assert report.compatible
    assert report.shared == tuple(tensors())
    assert report.dtypes == {"float32": (4, 4), "int64": (2, 2)}
    assert report.parameters == (12 + 76 + 19,) * 2
    assert report.architectures == (("toy", 19),) * 2
    assert errors(report) == []
    assert report.findings[-1].title == "All 2 checkpoints share 6 tensors of equal shape"


def test_other_class_count_is_said_in_words(compare) -> None:
    report = compare(tensors(), tensors(seed=1), tensors(classes=16))
    assert not report.compatible
    assert report.mismatched["head.weight"] == ((19, 4, 1, 1), (19, 4, 1, 1), (16, 4, 1, 1))
    assert errors(report) == ["2 tensors have other shapes: head.weight is (19, 4, 1, 1) in A and (16, 4, 1, 1) in C"]
    assert "same class count" in report.findings[0].do


def test_refusals_name_the_ways_that_the_tool_has(tmp_path: Path, compare) -> None:
    by_themselves = [name for name in METHODS.names() if getattr(METHODS.get(name), "takes_unlike", False)]
    assert by_themselves and all(name in WAYS for name in by_themselves)
    other = tensors(classes=16)
    lacking = {name: tensor for name, tensor in tensors().items() if name != "head.bias"}
    for name, content, do in (
        ("classes", other, WAYS),
        ("lacking", lacking, WAYS),
        ("foreign", {"w": torch.ones(1)}, FOREIGN),
    ):
        assert do in compare(tensors(), content).findings[0].do, name
        for file, table in (("a", tensors()), (name, content)):
            save_tensors(tmp_path / f"{file}.safetensors", table)
        with pytest.raises(LayoutError) as caught:
            Arena.pack([open_checkpoint(tmp_path / f"{file}.safetensors") for file in ("a", name)])
        assert caught.value.do.startswith(do)


def test_other_widths_are_not_called_classes(compare) -> None:
    wider = tensors(seed=1) | {"stem.weight": torch.ones(8, 3), "head.weight": torch.ones(16, 8, 1, 1)}
    assert "different size" in compare(tensors(), wider).findings[0].do


def test_missing_tensors_name_who_lacks_them(compare) -> None:
    content = tensors(seed=1)
    del content["head.bias"]
    report = compare(tensors(), content | {"extra": torch.ones(1)}, tensors(seed=2))
    assert report.missing == {"head.bias": ("B",), "extra": ("A", "C")}
    assert "head.bias" not in report.shared
    assert not report.compatible
    assert "B lacks 1 tensor that others have: head.bias" in errors(report)


def test_missing_and_mismatched_at_once(compare) -> None:
    other = tensors(classes=16)
    del other["head.bias"]
    report = compare(tensors(), other, tensors(classes=16, seed=2))
    assert report.mismatched["head.bias"] == ((19,), None, (16,))
    assert report.missing["head.bias"] == ("B",)


def test_nothing_in_common(compare) -> None:
    assert errors(compare(tensors(), {"x": torch.ones(1)})) == ["No tensor name is common to A, B"]


def test_fixed_integers_must_be_equal_and_step_counters_need_not(compare) -> None:
    changed = tensors(seed=1) | {"index": torch.arange(5) + 1}
    report = compare(tensors(), changed)
    assert report.integers == ("index",)
    assert not report.compatible
    assert "index" in errors(report)[0]


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint16, torch.uint64, torch.uint8])
def test_equal_integers_of_other_dtype_are_equal(compare, dtype: torch.dtype) -> None:
    assert compare(tensors(), tensors(seed=1) | {"index": torch.arange(5).to(dtype)}).compatible
    both = [tensors(seed=seed) | {"index": torch.arange(5).to(dtype)} for seed in (0, 1)]
    assert compare(*both).compatible


def test_float_against_integer(compare) -> None:
    report = compare(tensors(), tensors(seed=1) | {"index": torch.arange(5.0)})
    assert report.kinds == ("index",)
    assert not report.compatible
    assert len(errors(report)) == 1


def test_same_content_and_other_precision_are_warnings(compare) -> None:
    report = compare(tensors(), tensors(), tensors(seed=1) | {"stem.weight": torch.ones(4, 3).half()})
    assert report.compatible
    assert report.same_file == (("A", "B"),)
    assert [item.level for item in report.findings][:2] == ["warning", "warning"]
    assert "float16, float32" in report.findings[1].title


def test_unknown_architecture_is_a_remark(compare) -> None:
    report = compare({"x": torch.ones(2)}, {"x": torch.zeros(2)})
    assert report.compatible
    assert report.architectures == (None, None)
    assert "--model" in next(item for item in report.findings if "No architecture" in item.title).do


def test_single_checkpoint_and_none(compare) -> None:
    assert compare(tensors()).compatible
    with pytest.raises(UsageError):
        preflight([], recognise, explanations)


def test_json_contract(compare) -> None:
    report = json.loads(json.dumps(compare(tensors(), tensors(classes=16)).to_dict()))
    assert report["compatible"] is False
    first = report["checkpoints"][0]
    assert {"path", "fingerprint", "architecture", "parameters", "tensors"} <= set(first)
    assert first["architecture"] == "toy"
    assert first["tensors"] == 6
    assert len(first["fingerprint"]) == 64
    assert report["mismatched"][0] == {"name": "head.weight", "shapes": [[19, 4, 1, 1], [16, 4, 1, 1]]}
    assert report["missing"] == []
    assert report["findings"][0]["level"] == "error"


@pytest.mark.real
def test_real_pairs(real_data: Path) -> None:
    folder = real_data / "checkpoints"
    epochs = [open_checkpoint(folder / "enet-cityscapes" / f"epoch-0{epoch}.pth") for epoch in (30, 35)]
    other = open_checkpoint(folder / "enet-other-layout" / "enet_800epoch.pth")
    report = preflight(epochs, recognise, explanations)
    assert report.compatible
    assert len(report.shared) == 622
    assert report.architectures == (("enet", 20),) * 2
    assert recognise(other.shapes) is None
    assert not preflight([*epochs, other], recognise, explanations).compatible
