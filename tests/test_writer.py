"""Writing safetensors: right bytes, in order, atomically, tensor by tensor."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.checkpoints.writer import SafetensorsWriter, save_tensors
from fusionlib.errors import CheckpointError, FusionError, WriteError

TENSORS = {
    "z.half": torch.tensor([1.5, -2.0, 3.0]).bfloat16(),
    "flag": torch.tensor([True, False, True]),
    "count": torch.tensor(7),
    "empty": torch.empty(0, 4),
    "a.weight": torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last),
    "fine": torch.randn(3).double(),
    "byte": torch.arange(5, dtype=torch.uint8),
    "f16": torch.ones(1).half(),
    "eight": torch.ones(3).to(torch.float8_e4m3fn),
    "wide": torch.arange(6).reshape(2, 3).t(),
}
ONE = [("w", torch.float32, (4,))]


def leftovers(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(".tmp")]


def test_every_dtype_reads_back_by_the_safetensors_package_and_by_us(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_tensors(path, TENSORS, {"recipe": "line\nü"})
    theirs, ours = load_file(path), open_checkpoint(path)
    assert set(theirs) == set(TENSORS)
    assert list(ours.tensors) == list(TENSORS)
    for name, tensor in TENSORS.items():
        for read in (theirs[name], ours.read(name)):
            assert read.dtype == tensor.dtype
            assert read.shape == tensor.shape
            assert torch.equal(read.double(), tensor.double())
    with safe_open(path, "pt") as opened:
        assert opened.metadata() == {"recipe": "line\nü"}


def test_header_and_every_tensor_are_aligned(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_tensors(path, TENSORS)
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0
    from fusionlib.checkpoints.safetensors_format import SafetensorsFile
    from fusionlib.checkpoints.snapshot import Snapshot

    assert all(entry.begin % entry.dtype.itemsize == 0 for entry in SafetensorsFile(Snapshot(path)).entries.values())


def test_same_tensors_same_bytes_and_ordinary_rights(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a.safetensors", TENSORS, {"k": "v"})
    save_tensors(tmp_path / "b.safetensors", TENSORS, {"k": "v"})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_chunks_give_the_same_file_as_whole_tensors(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(10, 10),
        "none": torch.empty(0),
        "b": torch.randn(7).bfloat16(),
        "end": torch.empty(2, 0),
    }
    save_tensors(tmp_path / "whole.safetensors", tensors)
    entries = [(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()]
    with SafetensorsWriter(tmp_path / "chunks.safetensors", entries) as writer:
        for tensor in tensors.values():
            for chunk in tensor.reshape(-1).split(33):
                writer.append(chunk)
    assert (tmp_path / "chunks.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_old_file_stays_after_an_exception(tmp_path: Path, interruption: type[BaseException]) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(interruption), SafetensorsWriter(path, [*ONE, ("v", torch.float32, (1,))]) as writer:
        writer.write("w", torch.ones(4))
        assert leftovers(tmp_path)
        raise interruption
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_old_file_stays_until_the_new_one_is_complete_and_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    with SafetensorsWriter(path, ONE) as writer:
        writer.write("w", torch.ones(4))
        assert path.read_bytes() == b"old"
    assert calls == ["fsync", "replace", "fsync"]
    assert load_file(path)["w"].tolist() == [1] * 4


def test_full_disk_is_reported_and_cleaned_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, pwrite = tmp_path / "m.safetensors", os.pwrite

    def full(fd: int, data: memoryview, offset: int) -> int:
        if offset > 8:
            raise OSError(28, "No space left on device")
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(WriteError, match="No space left"), SafetensorsWriter(path, ONE) as writer:
        writer.write("w", torch.ones(4))
    assert os.listdir(tmp_path) == []


def test_partial_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:3], offset))
    save_tensors(tmp_path / "m.safetensors", TENSORS)
    monkeypatch.undo()
    assert torch.equal(load_file(tmp_path / "m.safetensors")["fine"], TENSORS["fine"])


def test_too_little_room_is_refused_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(WriteError, match="10 bytes free"):
        SafetensorsWriter(tmp_path / "m.safetensors", ONE)


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("v", torch.ones(4), "declared order"),
        ("w", torch.ones(5), "shape"),
        ("w", torch.ones(2, 2), "shape"),
        ("w", torch.ones(4).double(), "Cast it"),
    ],
)
def test_undeclared_tensors_are_refused(tmp_path: Path, name: str, tensor: torch.Tensor, words: str) -> None:
    with pytest.raises(CheckpointError, match=words), SafetensorsWriter(tmp_path / "m.safetensors", ONE) as writer:
        writer.write(name, tensor)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("chunks", "words"), [([3], "complete"), ([3, 3], "6 elements"), ([4, 1], "after the last"), ([], "complete")]
)
def test_wrong_number_of_elements(tmp_path: Path, chunks: list[int], words: str) -> None:
    with pytest.raises(CheckpointError, match=words), SafetensorsWriter(tmp_path / "m.safetensors", ONE) as writer:
        for size in chunks:
            writer.append(torch.ones(size))
    assert os.listdir(tmp_path) == []


def test_whole_tensor_in_the_middle_of_another_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError, match="rest of tensor"),
        SafetensorsWriter(tmp_path / "m.safetensors", ONE) as writer,
    ):
        writer.append(torch.ones(1))
        writer.write("w", torch.ones(4))


def test_bad_targets_and_entries(tmp_path: Path) -> None:
    target = tmp_path / "m.safetensors"
    for path, entries, metadata in [
        (tmp_path, ONE, None),
        (tmp_path / "none" / "m.safetensors", ONE, None),
        (target, ONE * 2, None),
        (target, [], None),
        (target, [("__metadata__", torch.float32, (1,))], None),
        (target, [("c", torch.complex64, (1,))], None),
        (target, ONE, {"k": 5}),
    ]:
        with pytest.raises(FusionError, match="cannot be written"):
            SafetensorsWriter(path, entries, metadata)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="with block"):
        SafetensorsWriter(target, ONE).write("w", torch.ones(4))
    assert os.listdir(tmp_path) == []


def test_memory_stays_constant(tmp_path: Path) -> None:
    """Copying 160 MB from file to file leaves anonymous memory within 60 MB of where it was."""
    save_tensors(tmp_path / "a.safetensors", {f"t{index}": torch.ones(5_000_000) for index in range(8)})
    script = """
import sys
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.checkpoints.writer import SafetensorsWriter
def anonymous():
    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('RssAnon'))
opened = open_checkpoint(sys.argv[1])
before, peak = anonymous(), 0
with SafetensorsWriter(sys.argv[2], [(i.name, i.dtype, i.shape) for i in opened.tensors.values()]) as writer:
    for name in opened.tensors:
        writer.write(name, opened.read(name))
        peak = max(peak, anonymous())
print((peak - before) // 1024)
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc to measure memory")
    command = [sys.executable, "-c", script, str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert int(done.stdout) < 60
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "a.safetensors").read_bytes()
