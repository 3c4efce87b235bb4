"""Folders of DeepSpeed: one folder a step, named in `latest`, with the network's state and that of the optimizer.

Up to ZeRO stage 2 every process has all weights, and the first one's file holds them. In stage 3 each process has a
part of every tensor: element `rank * n` to `(rank + 1) * n` of its flat values, `n = ceil(numel / processes)`, one
tensor after another in the order of `param_shapes`. There the parts in float32 that the optimizer works on are put
together. Everything is read as `torch.save` files are, without running anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fusionlib.checkpoints.pickled import check_unfolded, load_pickled, saved_in, stored_tensor
from fusionlib.checkpoints.snapshot import Snapshot
from fusionlib.checkpoints.stored import Assembled, Held, Kept, Stored
from fusionlib.errors import CheckpointError
from fusionlib.listing import DEEPSPEED_LATEST, DEEPSPEED_PARTS, DEEPSPEED_STATES

_STATES = re.compile(r"zero_pp_rank_(\d+)_mp_rank_00_model_states\.pt")
_OPTIMIZER = re.compile(r"(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_00_optim_states\.pt")
_SPLIT = re.compile(
    r".*mp_rank_0*[1-9]\d*_model_states\.pt|layer_\d+-.*model_states\.pt|.*expert_\d+.*_model_states\.pt"
)
_MOST_TAG_BYTES = 256


@dataclass(frozen=True)
class DeepSpeedStep:
    """The files of one step: `states` of the network and, in stage 3, `optimizer` with a part of it each, by rank.

    `masters` is how many further files hold float32 copies, in lower stages.
    """

    folder: Path
    states: tuple[Path, ...]
    optimizer: tuple[Path, ...] = ()
    masters: int = 0

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is read."""
        return (*self.states, *self.optimizer)

    def stored(self, files: Sequence[Snapshot]) -> tuple[dict[str, Kept], tuple[str, ...]]:
        """Tensors by name, and notes. Raises `CheckpointError`."""
        if not self.optimizer:
            found, notes = load_pickled(files[0])
            return dict(found), (self._note(found.values()), *notes)
        count = len(self.states)
        saved = [saved_in(file) for file in files]
        try:
            whole = _Partitioned(self.folder.name, files, saved[:count], saved[count:]).tensors()
            check_unfolded(whole.values(), sum(file.size for file in files), self.folder.name)
        except CheckpointError:
            raise
        except Exception as problem:  # of whatever a state may hold in place of what it should
            raise _not_whole(
                self.folder.name, f"its states are not as they should be ({str(problem)[:100]})"
            ) from problem
        return whole, (
            f"DeepSpeed, {self.folder.name}, ZeRO stage 3: the optimizer's float32 weights, put together from the parts"
            f" of {count} process{'es' if count > 1 else ''}",
        )

    def _note(self, tensors: Iterator[Kept] | Any) -> str:
        narrow = {one.dtype for one in tensors if one.dtype.is_floating_point and one.dtype.itemsize < 4}
        text = f"DeepSpeed, {self.folder.name}"
        if not narrow or not self.masters:
            return text
        kinds = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in narrow))
        return (
            f"{text}: the network's weights in {kinds}; float32 masters lie beside them in {self.masters}"
            f" file{'s' if self.masters > 1 else ''} of the optimizer, zero_to_fp32.py converts these"
        )


def find_step(folder: Path) -> tuple[DeepSpeedStep, Path | None]:
    """The newest step of a folder, or the folder as a step, and the file that names it.

    Raises: `CheckpointError` where none can be told, or the network is split over processes in another way.
    """
    inner, latest = _step_folder(folder)
    names = sorted(path.name for path in inner.iterdir() if path.is_file())
    split = next((name for name in names if _SPLIT.fullmatch(name)), None)
    if split:
        raise CheckpointError(
            f"{inner.name} holds a network that was split by layers, experts or inside of them ({split[:80]})",
            "whole tensors, or the parts of ZeRO stage 3",
            "Gather it where it was trained, and save its state_dict",
        )
    optimizer = _by_rank(inner, names, _OPTIMIZER)
    if DEEPSPEED_STATES in names:
        return DeepSpeedStep(inner, (inner / DEEPSPEED_STATES,), masters=len(optimizer)), latest
    states = _by_rank(inner, names, _STATES)
    if not states or len(states) != len(optimizer):
        raise _not_whole(
            inner.name, f"it has {len(states)} states of the network and {len(optimizer)} of the optimizer"
        )
    return DeepSpeedStep(inner, states, optimizer), latest


def newest_step(folder: Path) -> Path | None:
    """The folder in it that its `latest` names; None without."""
    latest = folder / DEEPSPEED_LATEST
    if not latest.is_file() or latest.stat().st_size > _MOST_TAG_BYTES:
        return None
    tag = latest.read_text(encoding="utf-8", errors="replace").strip()
    plain = tag and tag not in (".", "..") and not any(sign in tag for sign in "/\\\0")
    return folder / tag if plain and (folder / tag).is_dir() else None


def _step_folder(folder: Path) -> tuple[Path, Path | None]:
    if any((folder / name).is_file() for name in (DEEPSPEED_STATES, DEEPSPEED_PARTS)):
        return folder, None
    if (newest := newest_step(folder)) is not None:
        return newest, folder / DEEPSPEED_LATEST
    steps = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name.startswith("global_step"))
    if len(steps) == 1:
        return folder / steps[0], None
    raise CheckpointError(
        f"{folder.name} is a checkpoint of DeepSpeed, and its file {DEEPSPEED_LATEST} names no folder in it",
        "the folder of one step",
        f"Name it: {', '.join(steps[:3]) or 'global_step...'}",
    )


def _by_rank(folder: Path, names: Sequence[str], pattern: re.Pattern[str]) -> tuple[Path, ...]:
    found = {int(match.group(1)): folder / name for name in names if (match := pattern.fullmatch(name))}
    if sorted(found) != list(range(len(found))):
        raise _not_whole(folder.name, f"of its parts only those of the processes {sorted(found)[:8]} are there")
    return tuple(found[rank] for rank in range(len(found)))


class _Partitioned:
    """The network of stage 3, from what each process saved: its `states`, and what its `optimizer` works on."""

    def __init__(self, folder: str, files: Sequence[Snapshot], states: list[Any], optimizer: list[Any]) -> None:
        self.folder, self.states = folder, states
        self.files = files[: len(states)]
        self.groups = [
            [
                stored_tensor(flat, "fp32_flat_groups", file)
                for flat in saved["optimizer_state_dict"]["fp32_flat_groups"]
            ]
            for file, saved in zip(files[len(states) :], optimizer, strict=True)
        ]
        if any(len(flat.shape) != 1 or flat.strides for flats in self.groups for flat in flats):
            raise ValueError("groups that are not flat")

    def tensors(self) -> dict[str, Kept]:
        """Whole tensors in the order of the network."""
        module, buffers = self.states[0]["module"], set(self.states[0]["buffer_names"])
        trained = dict(self._trained()) | dict(self._frozen())
        shared = dict(self.states[0].get("shared_params") or {})
        found: dict[str, Kept] = {}
        for name, tensor in module.items():
            if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
                continue
            source = shared.get(name, name)
            if source in trained:
                found[name] = trained[source]
            elif name in buffers or tensor.numel():
                found[name] = stored_tensor(tensor, name, self.files[0])
            else:
                raise _not_whole(self.folder, f"it does not say where the parts of {str(name)[:80]!r} lie")
        return found

    def _trained(self) -> Iterator[tuple[str, Kept]]:
        processes, at = len(self.groups), 0
        for group in self.states[0]["param_shapes"]:
            for name, shape in group.items():
                each = -(-_numel(shape) // processes)
                yield name, _joined(tuple(shape), [_flat(flats, at, each) for flats in self.groups])
                at += each
        if any(sum(flat.numel for flat in flats) != at for flats in self.groups):
            raise _not_whole(self.folder, f"its list of tensors needs {at} numbers of each process, which have others")

    def _frozen(self) -> Iterator[tuple[str, Kept]]:
        for name, shape in (self.states[0].get("frozen_param_shapes") or {}).items():
            parts = [
                stored_tensor(saved["frozen_param_fragments"][name], name, file)
                for saved, file in zip(self.states, self.files, strict=True)
            ]
            if any(part.strides or part.numel != -(-_numel(shape) // len(parts)) for part in parts):
                raise ValueError("parts of another size than their tensor's")
            yield name, _joined(tuple(shape), [[part.rows(0, (part.numel,), alone=True)] for part in parts])


def _numel(shape: Any) -> int:
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("a shape that is none")
    return math.prod(shape)


def _flat(flats: Sequence[Stored], begin: int, size: int) -> list[Stored]:
    """Elements `begin` to `begin + size` of flat tensors that follow one another. Raises `ValueError` beyond them."""
    found, at = [], 0
    for flat in flats:
        low, high = max(begin, at), min(begin + size, at + flat.numel)
        if low < high:
            found.append(flat.rows(low - at, (high - low,), alone=False))
        at += flat.numel
    if begin + size > at:
        raise ValueError("tensors reach beyond the parts")
    return found


def _joined(shape: tuple[int, ...], parts: Sequence[Sequence[Stored]]) -> Kept:
    """The first elements of flat parts one behind the other, as many as `shape` has: the rest is padding."""
    numel, at, boxes = math.prod(shape), 0, []
    for part in (part for of_process in parts for part in of_process):
        size = min(part.numel, numel - at)
        if size > 0:
            boxes.append(((at,), part.rows(0, (size,), alone=False)))
            at += size
    if not boxes:
        return Held(torch.empty(shape, dtype=torch.float32))
    if len({part.dtype for _, part in boxes}) > 1:
        raise ValueError("parts of one tensor in several dtypes")
    return Assembled(boxes[0][1].dtype, shape, (numel,), tuple(boxes))


def _not_whole(folder: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{folder} is a checkpoint of DeepSpeed whose weights cannot be put together: {reason}",
        "the states of all processes, as DeepSpeed writes them",
        "Convert it with the script beside it: python zero_to_fp32.py . weights.pth",
    )
