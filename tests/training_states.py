"""Folders as trainings over several processes leave them: torch.distributed.checkpoint and DeepSpeed."""

from __future__ import annotations

import io
import pickle
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)


def dcp_folder(folder: Path, tensors: Mapping[str, Tensor], processes: int = 1, **odd: Any) -> Path:
    """The tensors under `model`, each split over the processes along its longest axis, and an optimizer beside them.

    `odd` replaces fields of the list.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = [b""] * processes
    metadata = Metadata({}, {}, {}, version="1.0.0")
    saved = {("model", name): tensor for name, tensor in tensors.items()} | {("optim", "step"): torch.tensor(7)}
    for path, tensor in saved.items():
        key, chunks = ".".join(path), []
        for rank, (offset, part) in enumerate(_split(tensor, processes)):
            stream = io.BytesIO()
            torch.save(part, stream)
            chunks.append(ChunkStorageMetadata(torch.Size(offset), part.shape))
            place = _StorageInfo(f"__{rank}_0.distcp", len(content[rank]), len(stream.getvalue()))
            metadata.storage_data[MetadataIndex(key, offset, rank)] = place
            content[rank] += stream.getvalue()
        about = TensorStorageMetadata(TensorProperties(tensor.dtype), tensor.shape, chunks)
        metadata.state_dict_metadata[key], metadata.planner_data[key] = about, path
    metadata.state_dict_metadata["epoch"], metadata.planner_data["epoch"] = BytesStorageMetadata(), ("epoch",)
    for name, value in odd.items():
        setattr(metadata, name, value)
    for rank, data in enumerate(content):
        (folder / f"__{rank}_0.distcp").write_bytes(data)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    return folder


def _split(tensor: Tensor, processes: int) -> list[tuple[tuple[int, ...], Tensor]]:
    if processes == 1 or not tensor.dim() or max(tensor.shape) == 1:
        return [((0,) * tensor.dim(), tensor)]
    axis = max(range(tensor.dim()), key=lambda item: tensor.shape[item])
    parts, at, found = tensor.tensor_split(processes, axis), 0, []
    for part in parts:
        offset = tuple(at if number == axis else 0 for number in range(tensor.dim()))
        found.append((offset, part.clone()))
        at += part.shape[axis]
    return [one for one in found if one[1].numel()]


@contextmanager
def _deepspeed() -> Iterator[type]:
    """A class as DeepSpeed's optimizer states hold one, of a package that is gone when they are read."""
    name = "deepspeed"
    made = type("LossScaler", (), {"__module__": name})
    sys.modules[name] = module = ModuleType(name)
    module.LossScaler = made  # type: ignore[attr-defined]
    try:
        yield made
    finally:
        del sys.modules[name]


def deepspeed_folder(
    folder: Path,
    tensors: Mapping[str, Tensor],
    stage: int,
    processes: int = 1,
    frozen: tuple[str, ...] = (),
    shared: Mapping[str, str] | None = None,
) -> Path:
    """One step of a training; `frozen` tensors have no part in the optimizer, `shared` are the same as others."""
    shared = shared or {}
    buffers = [name for name, item in tensors.items() if "running" in name or not item.is_floating_point()]
    trained = [name for name in tensors if name not in {*buffers, *frozen, *shared}]
    groups = [
        [name for name in trained if tensors[name].dim() > 1],
        [name for name in trained if tensors[name].dim() < 2],
    ]
    step = folder / "global_step3"
    step.mkdir(parents=True, exist_ok=True)
    (folder / "latest").write_text("global_step3")
    with _deepspeed() as scaler:
        for rank in range(processes):
            module = {name: tensors[name] if stage < 3 or name in buffers else torch.empty(0) for name in tensors}
            state = {
                "module": OrderedDict(module),
                "buffer_names": buffers,
                "optimizer": None,
                "param_shapes": [OrderedDict((name, tensors[name].shape) for name in group) for group in groups],
                "frozen_param_shapes": OrderedDict((name, tensors[name].shape) for name in frozen),
                "frozen_param_fragments": {name: _part(tensors[name], rank, processes) for name in frozen},
                "shared_params": shared if rank == 0 else {},
                "ds_config": {"zero_optimization": {"stage": stage}},
                "dp_world_size": processes,
            }
            flat = [torch.cat([_part(tensors[name], rank, processes) for name in group]) for group in groups if group]
            key = "fp32_flat_groups" if stage == 3 else "single_partition_of_fp32_groups"
            own = {"optimizer_state_dict": {key: flat, "loss_scaler": scaler(), "zero_stage": stage}}
            if stage == 3 or rank == 0:
                prefix = f"zero_pp_rank_{rank}_" if stage == 3 else ""
                torch.save(state, step / f"{prefix}mp_rank_00_model_states.pt")
            if stage:
                torch.save(own, step / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    return folder


def _part(tensor: Tensor, rank: int, processes: int) -> Tensor:
    """What a process of stage 3 has of a tensor: as many of its flat values as every other, zeros behind the last."""
    each = -(-tensor.numel() // processes)
    padded = torch.cat([tensor.float().flatten(), torch.zeros(each * processes - tensor.numel())])
    return padded[rank * each : (rank + 1) * each].clone()
