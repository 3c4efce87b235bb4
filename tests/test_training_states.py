"""Folders of torch.distributed.checkpoint and of DeepSpeed: tensors are put together, nothing is run."""

from __future__ import annotations

import os
import pickle
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny_registered, tiny_tensors
from torch import Tensor
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.state_dict_saver import save
from training_states import dcp_folder, deepspeed_folder

from fusionlib.architectures.recognise import recognise
from fusionlib.checkpoints import distributed
from fusionlib.checkpoints.groups import Choice
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.checkpoints.stored import Assembled, Held, fills
from fusionlib.cli import main
from fusionlib.errors import CheckpointError
from fusionlib.studio import Options, Workspace


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    with tiny_registered():
        yield


def refusal(path: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    return caught.value


def assert_holds(found: Checkpoint, tensors: Mapping[str, Tensor]) -> None:
    assert list(found.tensors) == list(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(found.read(name), tensor) and found.tensors[name].dtype == tensor.dtype, name


# --- parts of tensors ------------------------------------------------------------------------------------------------


def test_any_piece_of_an_assembled_tensor_is_that_of_the_whole() -> None:
    whole = torch.arange(5 * 4 * 3.0).reshape(5, 4, 3)
    boxes = [((0, 0, 0), (2, 4, 3)), ((2, 0, 0), (3, 1, 3)), ((2, 1, 0), (3, 3, 1)), ((2, 1, 1), (3, 3, 2))]
    assert fills(whole.shape, boxes)
    reach = [tuple(slice(at, at + size) for at, size in zip(*box, strict=True)) for box in boxes]
    parts = tuple((box[0], Held(whole[place].clone())) for box, place in zip(boxes, reach, strict=True))
    found = Assembled(whole.dtype, (5, 4, 3), (5, 4, 3), parts)
    for start, stop in product(range(61), repeat=2):
        if start <= stop:
            assert torch.equal(found.piece(start, stop), whole.flatten()[start:stop])
    rows = found.rows(1, (3, 4, 3), alone=False)
    assert torch.equal(rows.piece(5, 30, torch.empty(25)), whole[1:4].flatten()[5:30])


def test_boxes_fill_a_grid_where_every_cell_is_in_one() -> None:
    draw = random.Random(0)
    for _ in range(300):
        grid = (draw.randint(1, 4), draw.randint(1, 4))
        boxes = []
        for _ in range(draw.randint(1, 4)):
            first = (draw.randint(0, 2), draw.randint(0, 2))
            boxes.append((first, (draw.randint(1, 4), draw.randint(1, 4))))
        if draw.random() < 0.5:
            cut = draw.randint(1, 3)
            boxes = [((0, 0), (cut, grid[1])), ((cut, 0), (grid[0] - cut, grid[1]))]
        count = np.zeros((9, 9), int)
        for (top, left), (height, width) in boxes:
            count[top : top + height, left : left + width] += 1
        inside = count[: grid[0], : grid[1]]
        expected = bool((inside == 1).all()) and count.sum() == inside.sum() and all(min(box[1]) > 0 for box in boxes)
        assert fills(grid, boxes) == expected, (grid, boxes)
    assert fills((), [((), ())]) and not fills((), [((), ())] * 2) and fills((0, 3), [])


# --- torch.distributed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_tensors_of_a_distributed_checkpoint_are_put_together(processes: int, tmp_path: Path) -> None:
    tensors = tiny_tensors(1)
    found = open_checkpoint(dcp_folder(tmp_path / "run", tensors, processes))
    assert recognise(found.shapes) == ("tiny", 3) and found.name == "run"
    assert_holds(found, tensors)
    assert any("nothing was run" in note for note in found.notes) and any(
        "optim, epoch" in note for note in found.notes
    )


def test_what_torch_itself_writes_is_read(tmp_path: Path) -> None:
    tensors = tiny_tensors(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save({"state_dict": tensors, "lr": 0.1}, checkpoint_id=tmp_path / "own")
        save(dict(tensors), checkpoint_id=tmp_path / "flat")
    assert_holds(open_checkpoint(tmp_path / "own"), tensors)
    assert_holds(open_checkpoint(tmp_path / "flat"), tensors)


def test_training_states_merge_with_files(tmp_path: Path) -> None:
    torch.save(tiny_tensors(1), tmp_path / "a.pth")
    paths = [
        tmp_path / "a.pth",
        dcp_folder(tmp_path / "b", tiny_tensors(1), 2),
        deepspeed_folder(tmp_path / "c", tiny_tensors(1), 2),
        deepspeed_folder(tmp_path / "d", tiny_tensors(1), 3, 2),
    ]
    weights = ["--weights", "0.25,0.25,0.25,0.25"]
    main(["merge", *map(str, paths), *weights, "--out", str(tmp_path / "m.safetensors")])
    merged = open_checkpoint(tmp_path / "m.safetensors")
    for name, tensor in tiny_tensors(1).items():
        torch.testing.assert_close(merged.read(name), tensor)
    items = Workspace(Options(checkpoints=tuple(paths), demo=False, home=tmp_path / "home")).items
    assert [item.known for item in items] == [("tiny", 3)] * 4


def altered(folder: Path, change: Callable[[Metadata], None]) -> Path:
    """The same folder with another list."""
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    change(metadata)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    return folder


def of_body(field: str, value: Any) -> Callable[[Metadata], None]:
    """Another field of the first part of `body.weight` (3, 4, 3, 3), or of the tensor."""

    def change(metadata: Metadata) -> None:
        about: Any = metadata.state_dict_metadata["model.body.weight"]
        if field in ("offsets", "sizes"):
            setattr(about.chunks[0], field, torch.Size(value))
        else:
            setattr(about, field, value(about) if callable(value) else value)

    return change


def of_place(**fields: Any) -> Callable[[Metadata], None]:
    def change(metadata: Metadata) -> None:
        for index, place in metadata.storage_data.items():
            if index.fqn == "model.body.weight":
                values = {**vars(place), **fields}
                metadata.storage_data[index] = _StorageInfo(**values)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (of_body("chunks", lambda about: about.chunks[:1]), "leave gaps"),
        (of_body("chunks", lambda about: about.chunks * 2), "overlap"),
        (of_body("chunks", lambda about: [about.chunks[0]] * 2), "overlap"),
        (of_body("chunks", []), "leave gaps"),
        (of_body("offsets", (1, 0, 0, 0)), "reach beyond"),
        (of_body("offsets", (-1, 0, 0, 0)), "reach beyond"),
        (of_body("sizes", (10**9,) * 4), "reach beyond"),
        (of_body("sizes", (1,)), "other dimensions"),
        (of_body("size", torch.Size((10**12,) * 4)), "larger than any file"),
        (of_body("size", torch.Size((10**9, 4, 3, 3))), "leave gaps"),
        (of_body("size", "all"), "other dimensions"),
        (of_body("properties", None), "none of torch.distributed"),
        (of_place(relative_path="../../etc/passwd"), "no file"),
        (of_place(relative_path="__9_0.distcp"), "does not exist"),
        (of_place(relative_path=".metadata"), "no file"),
        (of_place(offset=10**9), "are to lie at"),
        (of_place(length=-1), "are to lie at"),
        (of_place(length=10), "truncated or damaged"),
        (of_place(offset=0, length=1577), "of another size"),
        (of_place(offset="first"), "without a place"),
        (of_place(transform_descriptors=["zstd"]), "were changed when they were written"),
        (lambda metadata: metadata.storage_data.clear(), "does not say where"),
        (lambda metadata: metadata.planner_data.update({"epoch": ((),)}), "without a path"),
        (lambda metadata: setattr(metadata, "state_dict_metadata", []), "none of torch.distributed"),
    ],
)
def test_a_list_that_lies_is_refused(change: Callable[[Metadata], None], said: str, tmp_path: Path) -> None:
    assert said in str(refusal(altered(dcp_folder(tmp_path / "run", tiny_tensors(1), 2), change)))


def test_a_list_that_tells_no_nesting_has_names_alone(tmp_path: Path) -> None:
    folder = dcp_folder(tmp_path / "run", tiny_tensors(1), 2, planner_data=None)
    assert_holds(open_checkpoint(folder, choice=Choice(("model",))), tiny_tensors(1))


class Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_the_list_runs_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    for field in ("state_dict_metadata", "storage_data", "planner_data", "storage_meta"):
        folder = dcp_folder(tmp_path / field, tiny_tensors(1), 1, **{field: Runs(trap)})
        problem = refusal(folder)
        assert "mkdir" in problem.got and "nothing was run" in problem.got and "dcp_to_torch" in problem.do
    assert not trap.exists()


def test_a_part_runs_nothing(tmp_path: Path) -> None:
    folder, trap = dcp_folder(tmp_path / "run", {"w": torch.ones(3)}), tmp_path / "ran"
    torch.save(Runs(trap), folder / "__0_0.distcp")
    size = (folder / "__0_0.distcp").stat().st_size

    def change(metadata: Metadata) -> None:
        for index in metadata.storage_data:
            metadata.storage_data[index] = _StorageInfo("__0_0.distcp", 0, size)

    assert "mkdir" in refusal(altered(folder, change)).got and not trap.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"\x80\x04N.",
        b"\x80\x04}.",
        b"\x80\x02})" + b"\x85" * 5000 + b"Ns.",
        b"\x80\x04\x96" + b"\xff" * 8 + b".",
        b"\x80\x04\x8e" + b"\xff" * 7 + b"\x00.",
        b"(i__builtin__\neval\n.",
        b"\x80\x04cbuiltins\neval\n\x8c\x011\x85R.",
        b"\x80\x04cbuiltins\ngetattr\n.",
        b"\x80\x04ctorch\nload\n.",
    ],
)
def test_a_list_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    folder = dcp_folder(tmp_path / "run", {"w": torch.ones(3)})
    (folder / ".metadata").write_bytes(content)
    assert refusal(folder)


def test_a_cut_or_long_list_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = dcp_folder(tmp_path / "run", {"w": torch.ones(3)})
    whole = (folder / ".metadata").read_bytes()
    for length in range(0, len(whole), 17):
        (folder / ".metadata").write_bytes(whole[:length])
        assert refusal(folder)
    (folder / ".metadata").write_bytes(whole)
    assert open_checkpoint(folder)
    data = (folder / "__0_0.distcp").read_bytes()
    for length in (0, 9, len(data) // 3):
        (folder / "__0_0.distcp").write_bytes(data[:length])
        assert "__0_0.distcp" in refusal(folder).got or "more numbers" in refusal(folder).got
    monkeypatch.setattr(distributed, "MOST_LIST_BYTES", len(whole) - 1)
    assert "longer than" in refusal(folder).got


def test_a_list_whose_parts_are_gone_is_no_empty_folder(tmp_path: Path) -> None:
    run = dcp_folder(tmp_path / "run", tiny_tensors(1), 2)
    for part in run.glob("*.distcp"):
        part.unlink()
    assert "points to '__0_0.distcp', which does not exist" in refusal(run).got
    (item,) = Workspace(Options(checkpoints=(tmp_path,), demo=False, home=tmp_path / "home")).items
    assert item.name == "run" and "does not exist" in str(item.problem)


def test_limits_hold_before_parts_are_read(tmp_path: Path) -> None:
    folder = dcp_folder(tmp_path / "run", tiny_tensors(1), 2)
    for part in folder.glob("*.distcp"):
        part.write_bytes(b"\0" * part.stat().st_size)
    with pytest.raises(CheckpointError, match="at most 100 bytes"):
        open_checkpoint(folder, limit_bytes=100)


def test_a_folder_rewritten_since_is_another_checkpoint(tmp_path: Path) -> None:
    first = open_checkpoint(dcp_folder(tmp_path / "run", tiny_tensors(1), 2))
    print_ = first.fingerprint
    assert first.is_current()
    again = open_checkpoint(dcp_folder(tmp_path / "run", tiny_tensors(2), 2))
    assert not first.is_current() and again.fingerprint != print_


# --- DeepSpeed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_the_network_of_lower_stages_is_in_one_file(stage: int, tmp_path: Path) -> None:
    tensors = tiny_tensors(1)
    found = open_checkpoint(deepspeed_folder(tmp_path / "run", tensors, stage, 2))
    assert recognise(found.shapes) == ("tiny", 3)
    assert_holds(found, tensors)
    assert not any("masters" in note for note in found.notes)


def test_weights_in_half_precision_say_where_the_masters_are(tmp_path: Path) -> None:
    tensors = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tiny_tensors(1).items()
    }
    found = open_checkpoint(deepspeed_folder(tmp_path / "run", tensors, 2, 3))
    assert_holds(found, tensors)
    assert any("float16" in note and "masters" in note and "3 files" in note for note in found.notes)


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_parts_of_stage_3_are_put_together(processes: int, tmp_path: Path) -> None:
    tensors = tiny_tensors(1) | {"head.twin": tiny_tensors(1)["body.weight"]}
    frozen, shared = ("stem.weight", "head.bias"), {"head.twin": "body.weight"}
    folder = deepspeed_folder(tmp_path / "run", tensors, 3, processes, frozen, shared)
    for place in (folder, folder / "global_step3"):
        found = open_checkpoint(place)
        assert_holds(found, tensors)
        assert any("stage 3" in note and f"{processes} process" in note for note in found.notes)


def spoilt(step: Path, file: str, change: Callable[[Any], None]) -> None:
    saved = torch.load(step / file, weights_only=False)
    change(saved)
    torch.save(saved, step / file)


STATES, OPTIMIZER = "zero_pp_rank_0_mp_rank_00_model_states.pt", "zero_pp_rank_1_mp_rank_00_optim_states.pt"


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (STATES, lambda saved: saved["param_shapes"][0].popitem(), "needs"),
        (STATES, lambda saved: saved["param_shapes"][0].update({"body.weight": torch.Size((10**9,))}), "beyond"),
        (STATES, lambda saved: saved["param_shapes"][0].update({"body.weight": (-4, 2)}), "a shape"),
        (STATES, lambda saved: saved["param_shapes"][0].update({"body.weight": "all"}), "a shape"),
        (STATES, lambda saved: saved.pop("param_shapes"), "param_shapes"),
        (STATES, lambda saved: saved["module"].update({"lost": torch.empty(0)}), "'lost'"),
        (STATES, lambda saved: saved.update({"module": None}), "not as they should be"),
        (STATES, lambda saved: saved["frozen_param_fragments"].clear(), "stem.weight"),
        (STATES, lambda saved: saved["frozen_param_shapes"].update({"stem.weight": (9,)}), "another size"),
    ],
)
def test_states_of_stage_3_that_do_not_fit_say_the_way_out(
    file: str, change: Callable[[Any], None], said: str, tmp_path: Path
) -> None:
    folder = deepspeed_folder(tmp_path / "run", tiny_tensors(1), 3, 2, ("stem.weight",))
    spoilt(folder / "global_step3", file, change)
    problem = refusal(folder)
    assert said in problem.got and "zero_to_fp32.py" in problem.do


def test_a_part_that_is_missing_or_damaged_is_an_error(tmp_path: Path) -> None:
    for name, touch, said in (
        ("gone", lambda path: path.unlink(), "1 of the optimizer"),
        ("cut", lambda path: path.write_bytes(path.read_bytes()[:-99]), "truncated or damaged"),
        ("text", lambda path: path.write_text("no archive"), "no archive of torch.save"),
        ("empty", lambda path: path.write_bytes(b""), "no archive of torch.save"),
    ):
        folder = deepspeed_folder(tmp_path / name, tiny_tensors(1), 3, 2)
        touch(folder / "global_step3" / OPTIMIZER)
        assert said in refusal(folder).got


def test_a_state_of_deepspeed_runs_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    for file in (STATES, OPTIMIZER.replace("_1_", "_0_")):
        folder = deepspeed_folder(tmp_path / file[-20:], tiny_tensors(1), 3)
        torch.save({"module": {}, "x": Runs(trap)}, folder / "global_step3" / file)
        assert "mkdir" in refusal(folder).got
    assert not trap.exists()


@pytest.mark.parametrize(
    "name",
    ["mp_rank_01_model_states.pt", "layer_00-model_00-model_states.pt", "layer_0_expert_1_mp_rank_00_model_states.pt"],
)
def test_networks_split_in_other_ways_are_refused(name: str, tmp_path: Path) -> None:
    folder = deepspeed_folder(tmp_path / "run", tiny_tensors(1), 1)
    (folder / "global_step3" / name).write_bytes(b"x")
    assert "split by layers, experts or inside" in refusal(folder).got


@pytest.mark.parametrize("tag", ["", "..", "global_step4", "../run/global_step3", "x" * 300])
def test_a_step_that_nobody_names_is_told_apart_or_asked_for(tag: str, tmp_path: Path) -> None:
    folder = deepspeed_folder(tmp_path / "run", tiny_tensors(1), 1)
    (folder / "latest").write_text(tag)
    assert_holds(open_checkpoint(folder), tiny_tensors(1))
    (folder / "global_step2").mkdir()
    assert "global_step2, global_step3" in refusal(folder).do


def test_a_newer_step_makes_it_another_checkpoint(tmp_path: Path) -> None:
    folder = deepspeed_folder(tmp_path / "run", tiny_tensors(1), 1)
    first = open_checkpoint(folder)
    (folder / "global_step3").rename(folder / "global_step9")
    (folder / "latest").write_text("global_step9")
    assert not first.is_current()


def test_earlier_steps_lie_beside_the_newest(tmp_path: Path) -> None:
    """The folder itself is its newest step, which is not listed a second time."""
    folder = deepspeed_folder(tmp_path / "run", tiny_tensors(1), 1)
    (folder / "global_step3").rename(folder / "global_step2")
    deepspeed_folder(tmp_path / "run", tiny_tensors(2), 3, 2)
    items = Workspace(Options(checkpoints=(folder,), demo=False, home=tmp_path / "home")).items
    assert [(item.name, item.known) for item in items] == [("run", ("tiny", 3)), ("global_step2", ("tiny", 3))]


def test_a_part_alone_is_no_checkpoint(tmp_path: Path) -> None:
    folder = dcp_folder(tmp_path / "run", tiny_tensors(1))
    assert "torch.distributed" in refusal(folder / "__0_0.distcp").got


def test_what_a_trainer_says_of_the_network_is_read_too(tmp_path: Path) -> None:
    for made in (dcp_folder(tmp_path / "a", tiny_tensors(1)), deepspeed_folder(tmp_path / "b", tiny_tensors(1), 3)):
        (made / "config.json").write_text('{"model_type": "segformer"}')
        found = open_checkpoint(made)
        assert found.description is not None and found.description.model_type == "segformer"
