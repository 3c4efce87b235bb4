"""A checkpoint is what its file held when it was opened, or an error, whatever happens to the file meanwhile."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers import World, saved, tiny_file, tiny_tensors, tiny_world
from torch import Tensor

from fusionlib.checkpoints import snapshot
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import check_finite, open_checkpoint
from fusionlib.checkpoints.snapshot import Snapshot
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.errors import CheckpointError, FusionError
from fusionlib.merging.stream import stream_merge


def _write_sharded(folder: Path, tensors: dict[str, Tensor]) -> Path:
    """Two shards; what is changed in the tests is the first."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(tensors)
    parts = {"one.safetensors": names[:9], "two.safetensors": names[9:]}
    for file, listed in parts.items():
        save_tensors(folder / file, {name: tensors[name] for name in listed})
    table = ", ".join(f'"{name}": "{file}"' for file, listed in parts.items() for name in listed)
    (folder / "model.safetensors.index.json").write_text(f'{{"weight_map": {{{table}}}}}')
    return folder


def _write(kind: str, folder: Path, seed: int) -> tuple[Path, Path]:
    """What is opened, and the file in it that is going to change."""
    tensors = tiny_tensors(seed)
    if kind == "sharded":
        path = _write_sharded(folder / "sharded", tensors)
        return path, path / "one.safetensors"
    if kind == "safetensors":
        save_tensors(folder / "a.safetensors", tensors)
        return folder / "a.safetensors", folder / "a.safetensors"
    torch.save(tensors, folder / "a.pth", _use_new_zipfile_serialization=kind == "pth")
    return folder / "a.pth", folder / "a.pth"


def _other_bytes(kind: str, folder: Path) -> bytes:
    """A file of the same names and the same size with other numbers."""
    (folder / "other").mkdir()
    return _write(kind, folder / "other", 5)[1].read_bytes()


def _overwrite(path: Path, content: bytes) -> None:
    with open(path, "r+b") as stream:
        stream.write(content)


def _restore_time(path: Path, content: bytes) -> None:
    before = path.stat()
    _overwrite(path, content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace(path: Path, content: bytes) -> None:
    path.with_suffix(".new").write_bytes(content)
    os.replace(path.with_suffix(".new"), path)


HARMFUL: dict[str, Callable[[Path, bytes], object]] = {
    "truncated": lambda path, _: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path, _: open(path, "wb").close(),
    "same size": _overwrite,
    "same size and time": _restore_time,
    "longer": lambda path, content: path.write_bytes(content + b"more"),
    "rewritten by another tool": lambda path, content: path.write_bytes(content[:-100]),
}
HARMLESS: dict[str, Callable[[Path, bytes], object]] = {
    "deleted": lambda path, _: path.unlink(),
    "renamed": lambda path, _: path.rename(path.with_suffix(".old")),
    "replaced by rename": _replace,
    "touched": lambda path, _: os.utime(path),
    "rights": lambda path, _: path.chmod(0o600),
    "same bytes again": lambda path, _: path.write_bytes(path.read_bytes()),
}
KINDS = ("pth", "safetensors", "sharded")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", HARMFUL)
def test_what_was_written_over_is_an_error_at_every_later_read(tmp_path: Path, kind: str, change: str) -> None:
    path, file = _write(kind, tmp_path, 1)
    opened, other = open_checkpoint(path), _other_bytes(kind, tmp_path)
    before = opened.fingerprint
    HARMFUL[change](file, other)
    for use in (
        lambda: opened.read("stem.weight"),
        lambda: opened.piece("stem.weight", 3, 9),
        lambda: check_finite(opened),
        lambda: Arena.pack([opened]),
        opened.verify,
    ):
        with pytest.raises(
            CheckpointError,
            match=rf"{file.name} was changed after it was opened, last at \d\d:\d\d.*Look at the folders",
        ):
            use()
    assert opened.fingerprint == before
    assert not opened.is_current()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", HARMFUL)
def test_changed_between_opening_and_hashing_is_an_error_or_wholly_the_new_content(
    tmp_path: Path, kind: str, change: str
) -> None:
    path, file = _write(kind, tmp_path, 1)
    opened, other = open_checkpoint(path), _other_bytes(kind, tmp_path)
    HARMFUL[change](file, other)
    try:
        values = opened.read("stem.weight")
    except CheckpointError:
        return
    # The same header, another content, a time that was set back: nothing but the header had been read.
    assert change == "same size and time"
    assert torch.equal(values, tiny_tensors(5)["stem.weight"])
    if kind != "sharded":
        assert opened.fingerprint == hashlib.sha256(other).hexdigest()


NEW_TIME = ("touched", "same bytes again")
"""Harmless once the file was hashed: without a hash to compare with, a new time is a change."""


@pytest.mark.parametrize(
    ("change", "hashed"),
    [*((change, True) for change in HARMLESS), *((change, False) for change in HARMLESS if change not in NEW_TIME)],
)
@pytest.mark.parametrize("kind", KINDS)
def test_deletion_renaming_and_touching_are_harmless(tmp_path: Path, kind: str, change: str, hashed: bool) -> None:
    path, file = _write(kind, tmp_path, 1)
    opened, content, other = open_checkpoint(path), file.read_bytes(), _other_bytes(kind, tmp_path)
    if hashed:
        _ = opened.fingerprint
    HARMLESS[change](file, other)
    for name, tensor in tiny_tensors(1).items():
        assert torch.equal(opened.read(name), tensor)
    if kind != "sharded":
        assert opened.fingerprint == hashlib.sha256(content).hexdigest()
    opened.verify()


@pytest.mark.parametrize("change", [*HARMFUL, *HARMLESS])
def test_the_old_format_is_in_memory_and_nothing_changes_it(tmp_path: Path, change: str) -> None:
    path, file = _write("old", tmp_path, 1)
    opened, content = open_checkpoint(path), file.read_bytes()
    (HARMFUL | HARMLESS)[change](file, _other_bytes("old", tmp_path))
    for name, tensor in tiny_tensors(1).items():
        assert torch.equal(opened.read(name), tensor)
    assert opened.fingerprint == hashlib.sha256(content).hexdigest()


def test_a_fingerprint_is_the_files_sha256(tmp_path: Path) -> None:
    path = tiny_file(tmp_path, "a", 1)
    assert Snapshot(path).fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    _restore_time(path, tiny_file(tmp_path / "other", "a", 2).read_bytes())
    assert Snapshot(path).fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "empty").touch()
    assert Snapshot(tmp_path / "empty").fingerprint == hashlib.sha256().hexdigest()


def test_a_file_is_hashed_once_in_a_process_and_not_for_being_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_file(tmp_path, "a", 1)
    first = open_checkpoint(path).fingerprint
    monkeypatch.setattr(Snapshot, "_hash", lambda _: pytest.fail("hashed"))
    assert open_checkpoint(path).fingerprint == first
    assert len(open_checkpoint(tiny_file(tmp_path, "b", 2)).tensors) == len(tiny_tensors(2))


def test_opening_waits_until_a_later_write_is_sure_to_be_stamped_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, slept = tiny_file(tmp_path, "a", 1), []
    now = path.stat().st_ctime_ns / 1e9 + 0.001
    monkeypatch.setattr(snapshot.time, "time", lambda: now + sum(slept))
    monkeypatch.setattr(snapshot.time, "sleep", slept.append)
    Snapshot(path)
    assert 0.01 <= sum(slept) < 0.02
    slept.clear()
    fine = snapshot._identity  # a file system of whole seconds
    monkeypatch.setattr(snapshot, "_identity", lambda file: (*fine(file)[:4], fine(file)[4] // 10**9 * 10**9))
    Snapshot(path)
    assert 1 <= sum(slept) <= 2


def test_a_write_while_a_piece_is_read_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_file(tmp_path, "a", 1)
    opened, fill = open_checkpoint(path), Snapshot._fill
    _ = opened.fingerprint

    def slowly(self: Snapshot, piece: memoryview, offset: int) -> None:
        fill(self, piece, offset)
        monkeypatch.setattr(Snapshot, "_fill", fill)
        _overwrite(path, bytes(path.stat().st_size))

    monkeypatch.setattr(Snapshot, "_fill", slowly)
    with pytest.raises(CheckpointError, match="was changed after it was opened"):
        opened.read("stem.weight")


def test_where_tensors_lie_is_what_torch_loads(tmp_path: Path) -> None:
    """Views, ties, strides, signs, every dtype: read in place as torch reads them whole."""
    base = torch.randn(4, 6)
    tensors = {
        "whole": base,
        "view": base[1:3, 2:],
        "turned": base.T,
        "tied": base,
        "repeated": torch.randn(1).expand(7),
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "conv": torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last),
        "negative": torch._neg_view(torch.randn(5)),
        "parameter": torch.nn.Parameter(torch.randn(3)),
        **{
            str(dtype): torch.randn(5).to(dtype)
            for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2)
        },
        **{
            str(dtype): torch.arange(6).to(dtype)
            for dtype in (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.bool)
        },
    }
    path = tmp_path / "all.pth"
    torch.save({"state_dict": tensors, "optimizer": {"step": torch.tensor(2)}}, path)
    opened, loaded = open_checkpoint(path), torch.load(path, weights_only=True)["state_dict"]
    assert list(opened.tensors) == list(loaded)
    for name, tensor in loaded.items():
        values = opened.read(name)
        assert values.is_contiguous() and values.dtype == tensor.dtype and values.shape == tensor.shape
        raw = [one.detach().resolve_neg().contiguous().reshape(-1).view(torch.uint8) for one in (values, tensor)]
        assert torch.equal(*raw), name
        half = tensor.numel() // 2
        out = torch.full((half,), -1.0)
        opened.piece(name, tensor.numel() - half, tensor.numel(), out)
        assert torch.equal(out, tensor.detach().reshape(-1)[tensor.numel() - half :].float()), name


# --- whoever uses checkpoints ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", HARMFUL)
def test_a_streamed_merge_of_a_file_that_changes_leaves_nothing(tmp_path: Path, change: str) -> None:
    tensors = {f"layer{number}.weight": torch.randn(1000) for number in range(40)}
    first, second = saved(tmp_path / "a.safetensors", tensors), saved(tmp_path / "b.safetensors", tensors)
    other = tmp_path / "other.safetensors"
    save_tensors(other, {name: tensor + 1 for name, tensor in tensors.items()})

    def progress(done: int, total: int) -> None:
        if done == total // 2:
            HARMFUL[change](second.path, other.read_bytes())

    with pytest.raises(CheckpointError, match=r"b\.safetensors was changed"):
        stream_merge([first, second], (0.5, 0.5), "average", tmp_path / "out.safetensors", {}, progress)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors", "other.safetensors"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with tiny_world(tmp_path) as made:
        yield made


def _change_a(world: World, change: str) -> None:
    path = world.folder / "files" / "a.pth"
    HARMFUL[change](path, tiny_file(world.folder / "elsewhere", "a", 5).read_bytes())


@pytest.mark.parametrize("change", HARMFUL)
def test_the_app_goes_on_with_what_it_has_and_says_what_it_cannot_do(world: World, change: str) -> None:
    view = world.view()
    _change_a(world, change)
    assert world.view() is view, "what is in memory is what the fingerprint says"
    assert view.frame(0, 0.25).png
    with pytest.raises(FusionError, match="was changed"):
        world.view("gaussian")
    with pytest.raises(FusionError, match="was changed"):
        world.studio.export(view, 0.5)
    assert not list((world.folder / "home" / "exports").glob("*.safetensors"))
    world.studio.workspace.refresh()
    shown = {item.name: item.problem for item in world.studio.workspace.items}
    if shown["a"] is None:  # it is a checkpoint again, another one
        assert world.view().id != view.id
        with pytest.raises(FusionError, match="was changed since this view was opened"):
            world.studio.export(view, 0.5)


def test_figures_are_never_kept_under_the_hash_of_another_content(world: World) -> None:
    """Overwritten after it was opened and hashed: what is measured then is of the old content, or nothing is."""
    studio = world.studio
    pictures = studio.workspace.pictures(world.source, None)
    opened = studio.workspace.get("a").checkpoint
    assert opened is not None
    right = studio.evaluate(opened, pictures)["miou"]
    kept = world.folder / "kept"
    shutil.copytree(world.folder / "files", kept)
    _change_a(world, "same size and time")
    assert studio.evaluate(opened, pictures, fresh=True)["miou"] == right, "packed before it was overwritten"
    studio.runner.builder.merger.forget()
    with pytest.raises(CheckpointError, match="was changed"):
        studio.evaluate(opened, pictures, fresh=True)
    assert studio.evaluate(open_checkpoint(kept / "a.pth"), pictures)["miou"] == right
    other = studio.evaluate(open_checkpoint(world.folder / "files" / "a.pth"), pictures)["miou"]
    assert other == studio.evaluate(open_checkpoint(tiny_file(kept, "c", 5)), pictures, fresh=True)["miou"] != right


def test_a_sweep_measures_what_was_opened(world: World) -> None:
    sweep = world.studio.sweep(world.view())
    right = sweep.measure(0.5, fresh=True)
    _change_a(world, "emptied")
    assert world.studio.sweep(world.view()).measure(0.5, fresh=True)["points"] == right["points"]


def test_a_diagnosis_of_a_changed_file_stops_with_the_reason(world: World) -> None:
    diagnosis = world.studio.diagnosis(["a", "b"], "", None)
    _change_a(world, "truncated")
    with pytest.raises(CheckpointError, match="was changed"):
        diagnosis.weights()


def test_a_shard_rewritten_in_its_folder_is_opened_anew(tmp_path: Path) -> None:
    _write_sharded(tmp_path / "files" / "shards", tiny_tensors(1))
    with tiny_world(tmp_path) as world:
        before = world.studio.workspace.get("shards").checkpoint
        assert before is not None and before.is_current()
        _write_sharded(tmp_path / "files" / "shards", tiny_tensors(5))
        world.studio.workspace.refresh()
        after = world.studio.workspace.get("shards").checkpoint
        assert after is not None and after.fingerprint != before.fingerprint
        assert torch.equal(after.read("stem.weight"), tiny_tensors(5)["stem.weight"])


# --- pictures --------------------------------------------------------------------------------------------------------


def test_figures_of_pictures_that_change_meanwhile_are_not_kept(world: World) -> None:
    """The key of an evaluation names the pictures as they were when the pass began."""
    studio, masks = world.studio, world.folder / "data" / "masks"
    opened, pictures = studio.workspace.get("a").checkpoint, studio.workspace.pictures(world.source, None)
    assert opened is not None
    right = studio.evaluate(opened, pictures)["miou"]
    content, before = (masks / "p3.png").read_bytes(), (masks / "p3.png").stat()

    def progress(done: int, total: int) -> None:
        if done == total // 2:
            shutil.copy(masks / "p0.png", masks / "p3.png")
            os.utime(masks / "p3.png", ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(FusionError, match="were changed after they were opened"):
        studio.evaluate(opened, pictures, fresh=True, progress=progress)
    after = studio.workspace.pictures(world.source, None)
    assert after is not pictures and after.fingerprint() != pictures.fingerprint(), "opened anew, because files changed"
    assert studio.evaluate(opened, after)["miou"] != right
    (masks / "p3.png").write_bytes(content)
    assert studio.evaluate(opened, studio.workspace.pictures(world.source, None))["miou"] == right
