"""Programs of torch.export and TorchScript, arrays of numpy: tensors are read, nothing is run, or a way out is said."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import TinyNet, tiny_registered, tiny_tensors
from torch import Tensor, nn

from fusionlib.architectures.recognise import recognise
from fusionlib.checkpoints import stand_ins
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.cli import main
from fusionlib.errors import CheckpointError
from fusionlib.studio import Options, Workspace

Saved = Callable[[Path, nn.Module], Path]


def exported(folder: Path, network: nn.Module) -> Path:
    program = torch.export.export(network, (torch.rand(1, 3, 16, 16),))
    torch.export.save(program, folder / "a.pt2")
    return folder / "a.pt2"


def scripted(folder: Path, network: nn.Module) -> Path:
    torch.jit.script(network).save(str(folder / "scripted.pt"))
    return folder / "scripted.pt"


def traced(folder: Path, network: nn.Module) -> Path:
    torch.jit.trace(network, torch.rand(1, 3, 16, 16)).save(str(folder / "traced.pt"))
    return folder / "traced.pt"


def arrays(folder: Path, network: nn.Module) -> Path:
    np.savez(folder / "a.npz", **{name: tensor.numpy() for name, tensor in network.state_dict().items()})  # type: ignore[arg-type]
    return folder / "a.npz"


def compressed(folder: Path, network: nn.Module) -> Path:
    found = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    np.savez_compressed(folder / "c.npz", **found)  # type: ignore[arg-type]
    return folder / "c.npz"


def older(folder: Path, network: nn.Module) -> Path:
    """As torch.export wrote programs up to torch 2.7: files of `torch.save` in an archive."""
    from torch._export.serde.serialize import serialize  # 2 s, for this file alone

    parts = serialize(torch.export.export(network, (torch.rand(1, 3, 16, 16),)))
    with zipfile.ZipFile(folder / "older.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", parts.exported_program)
        archive.writestr("serialized_state_dict.pt", parts.state_dict)
        archive.writestr("serialized_constants.pt", parts.constants)
        archive.writestr("version", "7.3")
    return folder / "older.pt2"


FORMATS: tuple[Saved, ...] = (exported, older, scripted, traced, arrays, compressed)


def network() -> nn.Module:
    made = TinyNet(3).eval()
    made.load_state_dict(tiny_tensors(1))
    return made


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    with tiny_registered():
        yield


def refusal(path: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    return caught.value


@pytest.mark.parametrize("save", FORMATS)
def test_tensors_are_those_that_were_saved(save: Saved, tmp_path: Path) -> None:
    expected = network().state_dict()
    found = open_checkpoint(save(tmp_path, network()))
    assert recognise(found.shapes) == ("tiny", 3)
    for name, tensor in expected.items():
        assert found.tensors[name].dtype == tensor.dtype and torch.equal(found.read(name), tensor), name
    if save not in (arrays, compressed):
        assert any("nothing was run" in note for note in found.notes)
    modules = [name.partition(".")[0] for name in found.tensors if "." in name]
    assert list(dict.fromkeys(modules)) == ["stem", "norm", "body", "norm2", "head"], "in the order of the network"


def test_all_of_them_merge_with_one_another(tmp_path: Path) -> None:
    paths = [str(save(tmp_path, network())) for save in FORMATS]
    main(["merge", *paths, "--weights", "0.25,0.25,0.125,0.125,0.125,0.125", "--out", str(tmp_path / "m.safetensors")])
    merged = open_checkpoint(tmp_path / "m.safetensors")
    for name, tensor in network().state_dict().items():
        torch.testing.assert_close(merged.read(name), tensor)


def test_a_folder_lists_them(tmp_path: Path) -> None:
    for save in FORMATS:
        save(tmp_path, network())
    items = Workspace(Options(checkpoints=(tmp_path,), demo=False, home=tmp_path / "home")).items
    assert sorted(item.known or ("", 0) for item in items) == [("tiny", 3)] * len(FORMATS)


def test_strided_transposed_and_narrow_tensors_keep_their_numbers(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    found: dict[str, Any] = {
        "turned": whole.T.numpy(),
        "half": whole.half().numpy(),
        "none": np.zeros((0, 3), np.float32),
    }
    found |= {"one": np.array(7, np.int64), "other": whole.numpy().astype(">f4"), "deep/name": whole.numpy() > 3}
    np.savez(tmp_path / "a.npz", **found)
    opened = open_checkpoint(tmp_path / "a.npz")
    for name, array in found.items():
        assert np.array_equal(opened.read(name).numpy(), array), name
    assert torch.equal(opened.piece("turned", 3, 9), whole.T.flatten()[3:9])

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(whole.T)

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight.sum()

    for save in (exported, traced):
        assert torch.equal(open_checkpoint(save(tmp_path, Turned())).read("weight"), whole.T)


def test_a_program_of_more_classes_than_a_pickle_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand_ins, "_MOST_NAMES", 3)
    deep = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1)) for _ in range(9))).eval()
    found = open_checkpoint(traced(tmp_path, deep))
    assert torch.equal(found.read("8.0.weight"), deep.state_dict()["8.0.weight"])


# --- hostile and odd files -------------------------------------------------------------------------------------------


class Runs:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


def rewritten(path: Path, changed: dict[str, Callable[[bytes], bytes]]) -> Path:
    """The same archive with other members."""
    target = path.with_name(f"odd{path.suffix}")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as out:
        for name in source.namelist():
            change = next((change for end, change in changed.items() if name.endswith(end)), bytes)
            out.writestr(name, change(source.read(name)))
    return target


def described(**changed: Any) -> Callable[[bytes], bytes]:
    """The table of torch.export with another tensor_meta or entry of `body.weight`."""

    def change(content: bytes) -> bytes:
        table = json.loads(content)
        entry = table["config"]["body.weight"]
        for name, value in changed.items():
            (entry if name in entry else entry["tensor_meta"])[name] = value
        return json.dumps(table).encode()

    return change


@pytest.mark.parametrize(
    "changed",
    [
        {"sizes": [{"as_int": 10**9}] * 4},
        {"sizes": [{"as_int": -1}] * 4},
        {"sizes": "all"},
        {"strides": [{"as_int": 10**6}] * 4},
        {"strides": [{"as_int": 1}]},
        {"storage_offset": {"as_int": 10**9}},
        {"dtype": 9},
        {"dtype": [7]},
        {"path_name": "../../../../etc/passwd"},
        {"path_name": 3},
        {"use_pickle": True},
        {"tensor_meta": None},
    ],
)
def test_a_table_of_an_export_that_lies_is_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    path = rewritten(exported(tmp_path, network()), {"model_weights_config.json": described(**changed)})
    assert "body.weight" in refusal(path).got


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"config": []}', b"{" * 10**5])
def test_a_table_of_an_export_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    assert refusal(rewritten(exported(tmp_path, network()), {"model_weights_config.json": lambda _: content}))


@pytest.mark.parametrize("odd", [None, b"", b"PK\x03\x04", b"\x80\x02N.", "compressed", "hostile"])
def test_an_older_export_is_read_or_says_the_way_out(odd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if odd == "hostile":
        stream = io.BytesIO()
        torch.save({"stem.weight": Runs()}, stream)
        content = stream.getvalue()
    else:
        content = odd if isinstance(odd, bytes) else b"PK" * 99
    packed = zipfile.ZIP_DEFLATED if odd == "compressed" else zipfile.ZIP_STORED
    with zipfile.ZipFile(tmp_path / "old.pt2", "w", packed) as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        if odd is not None:
            archive.writestr("serialized_state_dict.pt", content)
    problem = refusal(tmp_path / "old.pt2")
    assert ("torch.export.load" in problem.do) == (odd in (None, b"", "compressed"))
    assert not Path("ran").exists()


def test_the_pickle_of_a_program_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = scripted(tmp_path, network())
    for content in (pickle.dumps(Runs(), protocol=2), b"", b"c__torch__ N\n.", b"\x80\x02c__torch__\nN\n)\x81."):
        try:
            found = open_checkpoint(rewritten(program, {"/data.pkl": lambda _, content=content: content}))
        except CheckpointError:
            continue
        raise AssertionError(found)
    assert not Path("ran").exists()


def test_arrays_that_are_pickles_or_no_numbers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    odd: dict[str, Any] = {
        "objects": np.array([Runs()], dtype=object),
        "text": np.array(["road"]),
        "complex": np.zeros(3, np.complex64),
        "fields": np.zeros(2, [("a", "f4")]),
    }
    for name, array in odd.items():
        for save in (np.savez, np.savez_compressed):
            save(tmp_path / f"{name}.npz", w=array)
            assert "'w'" in refusal(tmp_path / f"{name}.npz").got
    assert not Path("ran").exists()


def test_arrays_that_unfold_to_many_times_the_file_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", w=np.zeros(10**7, np.float32))
    assert "unfold" in refusal(tmp_path / "bomb.npz").got


@pytest.mark.parametrize("header", [b"", b"\x93NUMPY\x01\x00\xff\xff", b"\x93NUMPY\x01\x00\x10\x00__import__('os')"])
def test_an_array_whose_header_lies_is_refused(header: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("w.npy", header)
    assert "'w'" in refusal(tmp_path / "a.npz").got
    stream = io.BytesIO()
    np.save(stream, np.zeros(10, np.float32))
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("w.npy", stream.getvalue()[:-4])
    assert "number of bytes" in refusal(tmp_path / "b.npz").got
