"""Reading checkpoints: every format and nesting, and a clear error for everything hostile or broken."""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import importlib
import json
import os
import pickle
import random
import shutil
import struct
import subprocess
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fusionlib.checkpoints import pickled
from fusionlib.checkpoints.prefixes import strip_prefixes
from fusionlib.checkpoints.reader import check_finite, open_checkpoint, open_checkpoints
from fusionlib.checkpoints.unwrap import find_tensors
from fusionlib.errors import CheckpointError


def network(**extra: torch.Tensor) -> dict[str, torch.Tensor]:
    """Tensors in an order that is not alphabetical."""
    return {
        "stem.weight": torch.arange(12.0).reshape(3, 4),
        "bn.running_mean": torch.ones(3),
        "bn.bias": torch.zeros(3),
        "bn.num_batches_tracked": torch.tensor(7),
        **extra,
    }


def saved(folder: Path, content: Any, name: str = "a.pth", **options: Any) -> Path:
    torch.save(content, folder / name, **options)
    return folder / name


def raw_safetensors(folder: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "raw.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(begin: int, end: int, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


def refusal(path: Path, **options: Any) -> CheckpointError:
    """The error of opening `path`; it names the file and never the folder."""
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path, **options)
    assert path.name in str(caught.value)
    assert str(path.parent) not in str(caught.value)
    return caught.value


# --- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_file_keeps_order_values_and_dtypes(tmp_path: Path, zipped: bool) -> None:
    tensors = network(
        half=torch.ones(2).bfloat16(),
        fine=torch.ones(2).double(),
        f16=torch.ones(1).half(),
        mask=torch.tensor([True, False]),
        empty=torch.empty(0, 3),
        parameter=nn.Parameter(torch.ones(2)),
    )
    opened = open_checkpoint(saved(tmp_path, tensors, _use_new_zipfile_serialization=zipped))
    assert list(opened.tensors) == list(tensors)
    for name, tensor in tensors.items():
        read = opened.read(name)
        assert type(read) is torch.Tensor
        assert not read.requires_grad
        assert opened.tensors[name].shape == tensor.shape
        assert opened.tensors[name].dtype == read.dtype == tensor.dtype
        assert torch.equal(read, tensor)


def test_parameters_count_floats_without_running_statistics(tmp_path: Path) -> None:
    opened = open_checkpoint(saved(tmp_path, network()))
    assert opened.parameters == 12 + 3
    assert opened.size_bytes == opened.path.stat().st_size
    assert opened.name == "a"


def test_safetensors_keeps_header_order_and_metadata(tmp_path: Path) -> None:
    header = {"__metadata__": {"recipe": "text"}, "z": entry(4, 12), "a": entry(0, 4, shape=[])}
    opened = open_checkpoint(raw_safetensors(tmp_path, header, struct.pack("<3f", 1, 2, 3)))
    assert list(opened.tensors) == ["z", "a"]
    assert opened.read("z").tolist() == [2, 3]
    assert opened.read("a").item() == 1
    assert opened.metadata["recipe"] == "text"


def test_safetensors_of_the_safetensors_package_opens_and_says_that_it_is_sorted(tmp_path: Path) -> None:
    tensors = network(half=torch.ones(3).bfloat16())
    save_file(tensors, tmp_path / "a.safetensors")
    opened = open_checkpoint(tmp_path / "a.safetensors")
    assert all(torch.equal(opened.read(name), tensor) for name, tensor in tensors.items())
    assert any("not in the network's order" in note for note in opened.notes)


def test_unaligned_tensors_read_right_and_writing_to_a_view_leaves_the_file(tmp_path: Path) -> None:
    header = {"flag": entry(0, 1, [1], "BOOL"), "w": entry(1, 9)}
    path = raw_safetensors(tmp_path, header, b"\x01" + struct.pack("<2f", 5, 6))
    before = path.read_bytes()
    aligned = open_checkpoint(path).read("w")
    assert aligned.tolist() == [5, 6]
    assert aligned.data_ptr() % 4 == 0
    open_checkpoint(path).read("flag").fill_(False)
    assert path.read_bytes() == before


def test_shared_and_strided_tensors_read_contiguous(tmp_path: Path) -> None:
    base = torch.arange(24.0)
    tensors = {"a": base[:12].reshape(3, 4).t(), "b": base[6:18], "c": base[::2], "tied": base[6:18]}
    tensors["conv"] = torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last)
    opened = open_checkpoint(saved(tmp_path, tensors))
    for name, tensor in tensors.items():
        assert opened.read(name).is_contiguous()
        assert torch.equal(opened.read(name), tensor)


def test_cuda_tagged_tensors_open_on_the_cpu(tmp_path: Path) -> None:
    path = saved(tmp_path, network(), "plain.pth")
    tagged = tmp_path / "cuda.pth"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tagged, "w") as target:
        for item in source.infolist():
            content = source.read(item)
            if item.filename.endswith("data.pkl"):
                content = content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
                assert b"cuda:0" in content
            target.writestr(item.filename, content)
    opened = open_checkpoint(tagged)
    assert opened.read("stem.weight").device.type == "cpu"
    assert torch.equal(opened.read("stem.weight"), network()["stem.weight"])


# --- nesting and prefixes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "student", "net", "weights", "ema"])
def test_nested_tensors_are_found_and_the_rest_is_named(tmp_path: Path, key: str) -> None:
    content = {"epoch": 3, key: network(), "optimizer": {"state": {0: {"m": torch.ones(2)}}}, "best": torch.tensor(1.0)}
    opened = open_checkpoint(saved(tmp_path, content))
    assert list(opened.tensors) == list(network())
    assert opened.notes == (
        f"tensors found under '{key}'",
        "3 entries beside the tensors left out: epoch, optimizer, best",
    )


def test_flat_tensors_beside_an_optimizer(tmp_path: Path) -> None:
    content = {**network(), "epoch": 1, "optimizer": {"state": {"m": torch.ones(2)}}}
    opened = open_checkpoint(saved(tmp_path, content))
    assert list(opened.tensors) == list(network())
    assert "epoch, optimizer" in opened.notes[0]


def test_student_is_preferred_to_teacher_and_double_nesting_is_followed(tmp_path: Path) -> None:
    student, teacher = network(), {name: tensor + 1 for name, tensor in network().items()}
    opened = open_checkpoint(saved(tmp_path, {"teacher": teacher, "epoch": 3, "student": {"state_dict": student}}))
    assert torch.equal(opened.read("stem.weight"), student["stem.weight"])
    assert opened.notes == (
        "1 entry beside the tensors left out: epoch",
        "tensors found under 'student'; left out: 'teacher' (4 tensors)",
        "other groups: teacher; taken with --group (rule: the trained network before averages and teachers of it)",
    )


def test_a_single_unknown_key_is_taken_and_two_are_refused(tmp_path: Path) -> None:
    assert list(open_checkpoint(saved(tmp_path, {"segmenter": network(), "step": 1})).tensors) == list(network())
    assert "generator" in str(refusal(saved(tmp_path, {"generator": network(), "critic": network()})))


@pytest.mark.parametrize(
    ("names", "clean"),
    [
        (["module.a", "module.b"], ["a", "b"]),
        (["module._orig_mod.model.a", "module._orig_mod.model.b"], ["a", "b"]),
        (["module.module.a"], ["a"]),
        (["module.a", "b"], ["module.a", "b"]),
        (["module.", "module.a"], ["module.", "module.a"]),
        (["modules.a"], ["modules.a"]),
        (["n_averaged", "module.a"], ["a"]),
        (["model.head.w", "ema_model.head.w", "imnet_model.head.w"], ["head.w"]),
        (["module.model.module.a", "module.ema_model.module.a"], ["a"]),
        (["teacher.a", "student.a"], ["a"]),
        (["model.a", "decoder.a"], ["model.a", "decoder.a"]),
    ],
)
def test_prefixes(names: list[str], clean: list[str]) -> None:
    assert list(strip_prefixes(names)[0].values()) == clean


def test_student_is_split_from_teacher_by_names_and_said(tmp_path: Path) -> None:
    content = {
        f"{group}.{name}": tensor + offset
        for offset, group in enumerate(("ema_model", "model", "imnet_model"))
        for name, tensor in network().items()
    }
    opened = open_checkpoint(saved(tmp_path, {"state_dict": content}))
    assert torch.equal(opened.read("stem.weight"), network()["stem.weight"] + 1)
    assert (
        "the student 'model.*' taken; left out: 'ema_model.*' (4 tensors), 'imnet_model.*' (4 tensors)" in opened.notes
    )


# --- pickles that must not be trusted --------------------------------------------------------------------------------


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_named_and_not_run(tmp_path: Path, zipped: bool) -> None:
    path = saved(
        tmp_path, {"state_dict": network(), "extra": Trap(tmp_path / "ran")}, _use_new_zipfile_serialization=zipped
    )
    problem = refusal(path)
    assert "system" in problem.got
    assert "safetensors.torch.save_file" in problem.do
    assert not (tmp_path / "ran").exists()


class Settings:
    """A class that only its own module knows."""

    def __init__(self, **values: Any) -> None:
        self.__dict__ |= values


class Table(dict):
    """A mapping of a class of its own."""


def unknown_classes() -> dict[str, Any]:
    """What training scripts leave beside the tensors."""
    return {
        "args": argparse.Namespace(lr=0.1, out=Path("runs")),
        "history": Settings(values=np.ones(3), count=np.float64(2)),
        "meta": Table(a=1),
        "queue": collections.deque([1, 2]),
        "rows": collections.defaultdict(list, x=[1]),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_unknown_classes_beside_tensors_are_skipped_without_being_called(tmp_path: Path, zipped: bool) -> None:
    opened = open_checkpoint(
        saved(tmp_path, {"model": network(), **unknown_classes()}, _use_new_zipfile_serialization=zipped)
    )
    assert all(torch.equal(opened.read(name), tensor) for name, tensor in network().items())
    assert any(
        note.startswith("skipped without being called") and "argparse.Namespace" in note for note in opened.notes
    )


class Buffer(Settings):
    """Keeps methods of its class among its values, as mmengine's HistoryBuffer does: `getattr` in the file."""

    def mean(self) -> float:
        return 0.0


@pytest.mark.parametrize("zipped", [True, False])
def test_methods_that_a_skipped_object_names_are_skipped_with_it(tmp_path: Path, zipped: bool) -> None:
    content = {"state_dict": network(), "message_hub": {"loss": Buffer(rows=np.ones(3), methods={"mean": Buffer.mean})}}
    opened = open_checkpoint(saved(tmp_path, content, _use_new_zipfile_serialization=zipped))
    assert all(torch.equal(opened.read(name), tensor) for name, tensor in network().items())
    assert any("skipped without being called" in note for note in opened.notes)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("owner", [torch.Tensor, "x", torch.ones(1), Settings(a=1)])
def test_attributes_of_anything_else_are_refused(tmp_path: Path, owner: Any, zipped: bool) -> None:
    content = {"model": network(), "x": Effect(getattr, owner, "values")}
    problem = refusal(saved(tmp_path, content, _use_new_zipfile_serialization=zipped))
    assert "wants to run code: getattr" in problem.got


class Calls:
    """Calls a method of an unknown class when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Buffer.mean, (None,)


def test_what_a_name_of_a_method_stands_for_is_never_called(tmp_path: Path) -> None:
    refusal(saved(tmp_path, {"model": network(), "x": Calls()}))


def test_whole_pickled_networks_open_without_their_code(tmp_path: Path) -> None:
    inner = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))
    inner.register_buffer("passing", torch.ones(2), persistent=False)
    net = nn.Sequential(inner, nn.Linear(4, 2), inner)
    for content in (net, {"model": net, "epoch": 3}, {"state": nn.DataParallel(net)}):
        opened = open_checkpoint(saved(tmp_path, content))
        assert list(opened.tensors) == list(net.state_dict())
        assert all(torch.equal(opened.read(name), tensor) for name, tensor in net.state_dict().items())
        assert any("a whole pickled network" in note for note in opened.notes)


class Effect:
    """Calls a function of Python's library when it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


@pytest.mark.parametrize(
    "call", [os.system, subprocess.Popen, eval, exec, __import__, getattr, shutil.rmtree, importlib.import_module]
)
def test_names_that_can_act_are_refused_although_they_would_be_inert(tmp_path: Path, call: Any) -> None:
    problem = refusal(saved(tmp_path, {"model": network(), "x": Effect(call, "x")}))
    assert f"wants to run code: {'posix.' if call is os.system else ''}" in problem.got and call.__name__ in problem.got


def deep_modules() -> nn.Module:
    """2 ** 40 paths through 40 modules."""
    module = nn.Module()
    for _ in range(40):
        outer = nn.Module()
        outer.a = outer.b = module
        module = outer
    return module


def test_modules_that_refer_to_one_another_end_soon(tmp_path: Path) -> None:
    assert "without end" in refusal(saved(tmp_path, deep_modules())).got


REFUSED: dict[str, Callable[[Path], Any]] = {
    "code": lambda path: torch.save(
        {"model": network(), "x": Effect(str.upper, "x"), "y": Effect(getattr, "x", "upper")}, path
    ),
    "old whole network": lambda path: torch.save(nn.Linear(3, 2), path, _use_new_zipfile_serialization=False),
    "newer pickle protocol": lambda path: torch.save(
        {"model": network(), "args": argparse.Namespace(a=1)}, path, pickle_protocol=4
    ),
    "plain pickle": lambda path: path.write_bytes(pickle.dumps({"epoch": 1, "state_dict": network()}, protocol=4)),
    "deep": lambda path: torch.save({"runner": {"net": {"state_dict": network()}}, "x": Effect(str.upper, "x")}, path),
    "a network deep in it": lambda path: torch.save({"a": {"b": nn.Linear(3, 2)}, "x": Effect(str.upper, "x")}, path),
    "a list": lambda path: torch.save([1, network(), Effect(str.upper, "x")], path),
    "optimizer before it": lambda path: torch.save(
        {"optimizer": dict(enumerate(network().values())), "net": network(), "x": Effect(str.upper, "x")}, path
    ),
    "arrays": lambda path: path.write_bytes(
        pickle.dumps({"model": {name: tensor.numpy() for name, tensor in network().items()}, "by": "x"}, protocol=4)
    ),
    "flat plain pickle": lambda path: path.write_bytes(pickle.dumps(network(), protocol=2)),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_the_way_out_of_every_refusal_works_as_printed_and_on_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "a.pth"
    REFUSED[kind](path)
    problem = refusal(path)
    assert "it was refused and nothing was run" in problem.got
    lines = problem.do.splitlines()[1:-1]
    monkeypatch.chdir(tmp_path)
    for script in ("\n".join(line.strip() for line in lines), " ".join(line.strip() for line in lines)):
        exec(script, {})
        opened = open_checkpoint(tmp_path / "a.safetensors")
        expected = (
            {"weight": (2, 3), "bias": (2,)}
            if kind in ("old whole network", "a network deep in it")
            else {name: tuple(tensor.shape) for name, tensor in network().items()}
        )
        assert dict(opened.shapes) == expected
        (tmp_path / "a.safetensors").unlink()


def test_the_way_out_writes_no_empty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, {"history": [1, 2], "x": Effect(str.upper, "x")})
    monkeypatch.chdir(tmp_path)
    exec("\n".join(line.strip() for line in refusal(path).do.splitlines()[1:-1]), {})
    assert "no tensors" in capsys.readouterr().out and not path.with_suffix(".safetensors").exists()


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.ones(2, dtype=torch.complex64), "complex64"),
        (torch.ones(2, device="meta"), "no data"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_unsupported_tensors_are_named(tmp_path: Path, tensor: torch.Tensor, words: str) -> None:
    problem = refusal(saved(tmp_path, network(odd=tensor)))
    assert words in problem.got
    assert "'odd'" in problem.got


@pytest.mark.filterwarnings("ignore")
def test_quantised_tensor_is_refused(tmp_path: Path) -> None:
    assert (
        "quantised"
        in refusal(saved(tmp_path, {"w": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)})).got
    )


def test_tensor_larger_than_its_file_is_refused(tmp_path: Path) -> None:
    problem = refusal(saved(tmp_path, {"bomb": torch.zeros(1).expand(10**12)}))
    assert "'bomb'" in problem.got
    assert "larger than the file" in problem.got


def test_tied_weights_are_not_taken_for_a_bomb(tmp_path: Path) -> None:
    block = torch.zeros(200_000)
    assert len(open_checkpoint(saved(tmp_path, {f"t{index}": block for index in range(8)})).tensors) == 8


def test_many_views_of_one_storage_are_refused(tmp_path: Path) -> None:
    block = torch.zeros(100_000)
    assert "unfold" in refusal(saved(tmp_path, {f"t{index}": block for index in range(40)})).got


@pytest.mark.parametrize("values", [torch.zeros(10_000), torch.rand(100)])
def test_compressed_archive_is_refused(tmp_path: Path, values: torch.Tensor) -> None:
    path = saved(tmp_path, {"w": values}, "plain.pth")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.infolist():
            target.writestr(item.filename, source.read(item))
    assert "compressed" in refusal(tmp_path / "b.pth").got


def test_archive_that_names_the_same_bytes_often_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(saved(tmp_path, {"w": torch.rand(10_000)}), "a") as archive:
        biggest = max(archive.infolist(), key=lambda item: item.file_size)
        archive.writestr("a/end", b"")
        archive.filelist.extend([biggest] * 50)
    assert "overlaps itself" in refusal(tmp_path / "a.pth").got


@pytest.mark.parametrize("deep", [b"\x85" * 5000, b"".join(b"q\x00(h\x00Nt" for _ in range(5000))])
def test_a_key_of_tuples_that_would_end_the_process_is_refused(deep: bytes, tmp_path: Path) -> None:
    content = b"\x80\x02})" + deep + b"Ns."
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", content)
    (tmp_path / "b.pth").write_bytes(content)
    magic = [pickle.dumps(part, 2) for part in (torch.serialization.MAGIC_NUMBER, 1001, {})]
    (tmp_path / "c.pth").write_bytes(b"".join(magic) + content)
    for name in "abc":
        assert "deep in one another" in refusal(tmp_path / f"{name}.pth").got


def test_many_tuples_beside_one_another_are_no_harm(tmp_path: Path) -> None:
    parts = {"w": torch.ones(3), "sizes": [(one, (one, one)) for one in range(3000)], "by": {(1, (2, 3)): (4,)}}
    for zipped in (True, False):
        found = open_checkpoint(saved(tmp_path, parts, _use_new_zipfile_serialization=zipped))
        assert list(found.tensors) == ["w"]


def test_long_list_of_tensors_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "MAX_PICKLE_BYTES", 50)
    assert "longer than 50 bytes" in refusal(saved(tmp_path, network())).got


def test_a_program_whose_pickle_has_no_modules_has_no_tensors(tmp_path: Path) -> None:
    with zipfile.ZipFile(saved(tmp_path, network()), "a") as archive:
        archive.writestr("a/constants.pkl", b"x")
    assert "zero tensors" in refusal(tmp_path / "a.pth").got


# --- broken or other files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "a PNG picture"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_other_content_is_named_whatever_the_ending(tmp_path: Path, content: bytes, words: str, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    path.write_bytes(content)
    assert words in refusal(path).got


def test_a_plain_pickle_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    assert "cannot be read" in refusal(tmp_path / "x.pth").got


def test_text_is_no_checkpoint(tmp_path: Path) -> None:
    for name, words in (
        ("x.pth", "not a checkpoint"),
        ("x.safetensors", "announces a header"),
        ("x", "not a checkpoint"),
    ):
        (tmp_path / name).write_bytes(b"hello world, no checkpoint")
        assert words in refusal(tmp_path / name).got


def test_content_counts_more_than_the_ending(tmp_path: Path) -> None:
    save_file(network(), tmp_path / "a.pth")
    assert set(open_checkpoint(tmp_path / "a.pth").tensors) == set(network())
    assert "Rename it to b.pth" in refusal(saved(tmp_path, network(), "b.safetensors")).do


@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    """Random damage either goes unnoticed (it hit a number) or ends in a CheckpointError."""
    draw = random.Random(0)
    save_file(network(), tmp_path / "a.safetensors")
    for path in (
        saved(tmp_path, network()),
        tmp_path / "a.safetensors",
        saved(tmp_path, network(), "old.pth", _use_new_zipfile_serialization=False),
    ):
        whole = path.read_bytes()
        for _ in range(100):
            content = bytearray(whole)
            for _ in range(draw.randint(1, 4)):
                content[draw.randrange(len(content))] = draw.randrange(256)
            path.write_bytes(content)
            with contextlib.suppress(CheckpointError):
                opened = open_checkpoint(path)
                assert all(opened.read(name).shape == info.shape for name, info in opened.tensors.items())


def test_dictionaries_that_refer_to_one_another_end_soon() -> None:
    nested: dict[str, Any] = {}
    for _ in range(6):
        nested = {f"key{index}": nested for index in range(2000)}
    assert find_tensors(nested)[0] == {}
    cycle: dict[str, Any] = {}
    cycle["model"] = cycle
    assert find_tensors(cycle)[0] == {}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.999])
def test_truncated_torch_file(tmp_path: Path, zipped: bool, keep: float) -> None:
    path = saved(tmp_path, network(big=torch.randn(1000)), _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    assert "cannot be read" in refusal(path).got


def test_zip_that_is_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("letter.txt", "x")
    assert "zip archive" in refusal(tmp_path / "x.pth").got


@pytest.mark.parametrize(
    "content", [{}, {"state_dict": {}}, {"epoch": 1}, OrderedDict(), [torch.ones(2)], torch.ones(2), 5]
)
def test_nothing_to_merge(tmp_path: Path, content: Any) -> None:
    assert refusal(saved(tmp_path, content)).got.split(" has ")[1].startswith(("zero tensors", "no tensors"))


def test_zero_tensors_in_safetensors(tmp_path: Path) -> None:
    assert "zero tensors" in refusal(raw_safetensors(tmp_path, b"{}  ")).got


def test_missing_file_and_device(tmp_path: Path) -> None:
    assert "There is no" in refusal(tmp_path / "none.pth").got
    os.mkfifo(tmp_path / "pipe.pth")
    assert "regular file" in refusal(tmp_path / "pipe.pth").got


def test_limit_counts_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "big.pth"
    path.write_bytes(b"not even a checkpoint")
    assert "at most 20 bytes" in refusal(path, limit_bytes=20).needs
    assert open_checkpoint(saved(tmp_path, network()), limit_bytes=10_000)


FOUR = bytes(4)


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        ({"w": entry(0, 8)}, FOUR, "outside"),
        ({"w": entry(0, 4), "v": entry(0, 4)}, FOUR, "overlaps"),
        ({"w": entry(0, 4), "v": entry(8, 12)}, FOUR * 3, "gap"),
        ({"w": entry(0, 4)}, FOUR * 2, "belong to no tensor"),
        ({"w": entry(0, 4, [2])}, FOUR, "has 4 bytes"),
        ({"w": entry(0, 4, [-1, -1])}, FOUR, "not made of sizes"),
        ({"w": entry(0, 4, [True])}, FOUR, "not made of sizes"),
        ({"w": entry(0, 0, [0, 10**30])}, b"", "not made of sizes"),
        ({"w": entry(4, 0, [1])}, FOUR, "outside"),
        ({"w": entry(0, 4, [1], "F4")}, FOUR, "'F4'"),
        ({"w": entry(0, 4) | {"dtype": [1]}}, FOUR, "[1]"),
        ({"w": {"dtype": "F32"}}, b"", "lacks dtype"),
        ({"w": 5}, b"", "lacks dtype"),
        ({"__metadata__": {"a": 1}, "w": entry(0, 4)}, FOUR, "metadata"),
        (b'{"w":{},"w":{}}', b"", "twice"),
        (b'{"w":' + b"[" * 100_000, b"", "not valid JSON"),
        (b'{"w":' + b"9" * 5000 + b"}", b"", "not valid JSON"),
        (b'{"\xff":1}', b"", "not valid JSON"),
    ],
)
def test_malformed_safetensors_header(tmp_path: Path, header: Any, data: bytes, words: str) -> None:
    assert words in refusal(raw_safetensors(tmp_path, header, data)).got


@pytest.mark.parametrize(("length", "words"), [(2**63, "announces"), (1000, "truncated"), (40 * 2**20, "announces")])
def test_header_length_is_not_believed(tmp_path: Path, length: int, words: str) -> None:
    assert words in refusal(raw_safetensors(tmp_path, {"w": entry(0, 4)}, FOUR, length=length)).got


def test_nan_and_infinity_are_counted_by_tensor(tmp_path: Path) -> None:
    bad = torch.zeros(2_500_000)
    bad[[0, 1_200_000, 2_400_000]] = torch.tensor([float("nan"), float("inf"), float("-inf")])
    eight = torch.tensor([1.0, float("nan")]).to(torch.float8_e4m3fn)
    opened = open_checkpoint(saved(tmp_path, network(bad=bad, good=torch.ones(3).bfloat16(), eight=eight)))
    problems = check_finite(opened)
    assert [(item.name, item.nan, item.inf) for item in problems] == [("bad", 1, 2), ("eight", 1, 0)]
    assert "'bad' has 1 NaN and 2 infinite" in str(problems[0])


# --- shards ----------------------------------------------------------------------------------------------------------


def sharded(folder: Path, weight_map: dict[str, str] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({"module.a": torch.ones(2)}, folder / "one.safetensors")
    save_file({"module.b": torch.zeros(3)}, folder / "two.safetensors")
    weights = {"module.b": "two.safetensors", "module.a": "one.safetensors"} if weight_map is None else weight_map
    (folder / "m.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    return folder


def test_shards_open_by_folder_and_by_index(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "big")
    by_folder, by_index = open_checkpoint(folder), open_checkpoint(folder / "m.safetensors.index.json")
    assert by_folder.fingerprint == by_index.fingerprint
    assert list(by_folder.tensors) == ["a", "b"]
    assert by_folder.name == by_index.name == "big"
    assert by_folder.read("b").tolist() == [0, 0, 0]
    parts = "".join(
        f"{name}\0{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n"
        for name in ("one.safetensors", "two.safetensors")
    )
    assert by_folder.fingerprint == hashlib.sha256(parts.encode()).hexdigest()
    with pytest.raises(CheckpointError, match="at most 10 bytes"):
        open_checkpoint(folder, limit_bytes=10)


@pytest.mark.parametrize(
    "shard",
    [
        "../out.safetensors",
        "/etc/passwd",
        "sub/x.safetensors",
        "..",
        "",
        "a\\b.safetensors",
        "one.pth",
        "none.safetensors",
        "lost.safetensors",
    ],
)
def test_hostile_index(tmp_path: Path, shard: str) -> None:
    folder = sharded(tmp_path / "big", {"module.a": "one.safetensors", "module.b": shard})
    save_file({"module.b": torch.ones(1)}, tmp_path / "out.safetensors")
    (folder / "lost.safetensors").symlink_to(tmp_path / "nowhere.safetensors")
    assert repr(shard) in refusal(folder / "m.safetensors.index.json").got


def test_shards_of_a_download_cache_are_links_to_blobs(tmp_path: Path) -> None:
    plain, snapshot, blobs = sharded(tmp_path / "plain"), tmp_path / "snapshots" / "main", tmp_path / "blobs"
    for folder in (snapshot, blobs):
        folder.mkdir(parents=True)
    for number, file in enumerate(sorted(plain.iterdir())):
        (blobs / f"b{number}").write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path("..", "..", "blobs", f"b{number}"))
    by_folder, by_index = open_checkpoint(snapshot), open_checkpoint(snapshot / "m.safetensors.index.json")
    assert by_folder.fingerprint == by_index.fingerprint == open_checkpoint(plain).fingerprint
    assert by_folder.name == by_index.name == "main"
    assert by_folder.read("b").tolist() == [0, 0, 0]


def test_shard_reached_by_a_path_is_refused_even_inside_the_folder(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "big", {"module.a": "./one.safetensors", "module.b": "two.safetensors"})
    assert "no plain file name" in refusal(folder / "m.safetensors.index.json").got


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"module.a": "one.safetensors", "module.b": "one.safetensors"}, "none of that name"),
        ({"module.a": "one.safetensors", "x": "two.safetensors"}, "not in the index"),
        ({}, "zero tensors"),
    ],
)
def test_index_that_does_not_fit_its_shards(tmp_path: Path, weights: dict[str, str], words: str) -> None:
    assert words in refusal(sharded(tmp_path / "big", weights) / "m.safetensors.index.json").got


def test_one_tensor_in_two_shards(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "big")
    save_file({"module.a": torch.ones(2), "module.b": torch.zeros(3)}, folder / "two.safetensors")
    assert "two shards" in refusal(folder / "m.safetensors.index.json").got


def test_endings_count_in_any_case_and_hidden_files_do_not(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "big", {"module.a": "ONE.SafeTensors", "module.b": "two.safetensors"})
    (folder / "one.safetensors").rename(folder / "ONE.SafeTensors")
    (folder / "m.safetensors.index.json").rename(folder / "M.SAFETENSORS.INDEX.JSON")
    (folder / "._M.safetensors.index.json").write_bytes(b"what a Mac leaves beside it")
    by_folder, by_index = open_checkpoint(folder), open_checkpoint(folder / "M.SAFETENSORS.INDEX.JSON")
    assert list(by_folder.tensors) == list(by_index.tensors) == ["a", "b"]
    torch.save({"a": torch.ones(1)}, folder / "zip.SAFETENSORS")
    assert "written by torch.save" in refusal(folder / "zip.SAFETENSORS").got
    (folder / "text.SAFETENSORS").write_text("no header")
    assert "not a checkpoint" not in refusal(folder / "text.SAFETENSORS").got, "read as what it says it is"


def test_folder_without_index(tmp_path: Path) -> None:
    assert "has no *.index.json" in refusal(tmp_path).got and "no checkpoint file in it" in refusal(tmp_path).do
    save_file(network(), tmp_path / "lone.safetensors")
    assert f"as {tmp_path.name}/*.safetensors" in refusal(tmp_path).do
    (tmp_path / "old.pth").write_bytes(b"")
    assert f"as {tmp_path.name}/*.pth {tmp_path.name}/*.safetensors" in refusal(tmp_path).do
    for name in ("a", "b"):
        (tmp_path / f"{name}.index.json").write_text("{}")
    assert "2 indexes" in refusal(tmp_path).got


# --- names ---------------------------------------------------------------------------------------------------------


def test_equal_stems_become_different_names(tmp_path: Path) -> None:
    paths = []
    for folder in ("run1", "run2"):
        (tmp_path / folder).mkdir()
        paths.append(saved(tmp_path / folder, network()))
    names = [item.name for item in open_checkpoints([*paths, paths[0], saved(tmp_path, network(), "b.pth")])]
    assert names == ["run1/a", "run2/a", "run1/a (2)", "b"]


# --- real files ------------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "tensors", "first", "digest"),
    [
        ("enet-cityscapes/epoch-030.pth", 622, "initial_block.main_branch.weight", "2496484b8879"),
        ("enet-other-layout/enet_800epoch.pth", 430, "initial.conv.0.weight", "da8f51364299"),
    ],
)
def test_real_files(real_data: Path, file: str, tensors: int, first: str, digest: str) -> None:
    opened = open_checkpoint(real_data / "checkpoints" / file)
    assert len(opened.tensors) == tensors
    assert next(iter(opened.tensors)) == first
    assert opened.fingerprint.startswith(digest)
    assert check_finite(opened) == []
    assert all(opened.read(name).device.type == "cpu" for name in opened.tensors)
