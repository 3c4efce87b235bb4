"""Files of `torch.save`, read without ever running code from them.

`torch.load(weights_only=True)` refuses every name outside a short list of harmless ones; nothing is ever added to that
list here. What it lets through is still checked: compressed archives (a small file can unfold into gigabytes), tensors
larger than the file that holds them, and kinds of tensor that cannot be merged.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fusionlib.checkpoints.safetensors_format import DTYPE_NAMES
from fusionlib.checkpoints.unwrap import find_tensors
from fusionlib.errors import CheckpointError

# A remark about files of other tools that nobody here can act on; it would stand in the middle of a one-line error.
warnings.filterwarnings("ignore", message="Detected pickle protocol")

ZIP_MAGIC = b"PK\x03\x04"
PICKLE_MAGIC = b"\x80"
MAX_PICKLE_BYTES = 64 * 2**20
"""The pickle inside an archive holds names and shapes only; numbers lie beside it."""

_SHARING = 16
"""How often, on average, tensors may share one storage: tied weights do, bombs do more."""

_SLACK_BYTES = 2**20


def load_pickled(path: Path) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Named tensors of a `.pth`, `.pt`, `.bin` or `.ckpt` and notes on how they were found.

    Archives are memory-mapped; the older format without an archive is read into memory.

    Raises: `CheckpointError` for code, damage, other content, or tensors of an unsupported kind.
    """
    with open(path, "rb") as stream:
        archive = stream.read(4) == ZIP_MAGIC
    if archive:
        _check_archive(path)
    saved = _load(path, archive)
    if isinstance(saved, torch.Tensor):
        raise _no_names(path.name, "it holds a single tensor without a name")
    try:
        found, notes = find_tensors(saved)
    except (TypeError, ValueError) as problem:
        raise _no_names(path.name, str(problem)) from problem
    tensors = {name: _plain(value, name, path.name) for name, value in found.items()}
    _check_sizes(tensors, path)
    return tensors, notes if archive else (*notes, "older format without an archive: read into memory")


def _load(path: Path, archive: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except Exception as problem:  # noqa: BLE001 - torch raises a dozen kinds here, KeyError and AttributeError among them
        text = str(problem)
        wanted = re.search(r"(?:GLOBAL|class|function) ([\w.]+\.\w+)", text)
        if wanted:
            raise _wants_code(path.name, wanted.group(1)) from None
        raise _damaged(path.name, _reason(problem)) from None


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as problem:
        raise _damaged(path.name, f"the archive in it is truncated or damaged ({problem})") from problem
    names = [member.filename.rpartition("/")[2] for member in members]
    if "constants.pkl" in names:
        raise CheckpointError(f"{path.name} is a TorchScript program, not a checkpoint", "tensors by name, without code",
                              "Save the state dict of the network it was made from")
    if "data.pkl" not in names:
        raise _damaged(path.name, "it is a zip archive that torch.save did not write")
    sizes = [member.file_size for member in members]
    if any(member.compress_type != zipfile.ZIP_STORED for member in members) or sum(sizes) > path.stat().st_size:
        raise _damaged(path.name, "its archive is compressed or overlaps itself, which torch.save never does")
    if sizes[names.index("data.pkl")] > MAX_PICKLE_BYTES:
        raise _damaged(path.name, f"the list of tensors in it is longer than {MAX_PICKLE_BYTES} bytes")


def _plain(value: torch.Tensor, name: str, file: str) -> torch.Tensor:
    """The bare tensor: without gradient, hooks or attributes that a file may attach to it."""
    tensor = torch.Tensor.detach(value)
    kind = None
    if type(tensor) is not torch.Tensor:
        kind = f"is a {type(tensor).__name__}"
    elif tensor.is_quantized:
        kind = "is quantised"
    elif tensor.layout != torch.strided:
        kind = f"is sparse ({str(tensor.layout).removeprefix('torch.')})"
    elif tensor.device.type != "cpu":
        kind = f"has no data ({tensor.device.type} device)"
    elif tensor.dtype not in DTYPE_NAMES:
        kind = f"has the dtype {str(tensor.dtype).removeprefix('torch.')}"
    if kind:
        raise CheckpointError(f"{file}: tensor {name!r} {kind}", "dense tensors of real numbers",
                              "Convert the tensor to a dense float tensor where the file was made, and save again")
    return tensor


def _check_sizes(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    size = path.stat().st_size
    for name, tensor in tensors.items():
        if tensor.numel() * tensor.itemsize > size:
            raise _damaged(path.name, f"tensor {name!r} of shape {tuple(tensor.shape)} is larger than the file")
    total = sum(tensor.numel() * tensor.itemsize for tensor in tensors.values())
    if total > _SHARING * size + _SLACK_BYTES:
        raise _damaged(path.name, f"its tensors unfold to {total} bytes out of a file of {size}")


def _wants_code(file: str, wanted: str) -> CheckpointError:
    whole = wanted.startswith("torch.nn.modules.")
    got = f"{file} is a whole pickled network ({wanted})" if whole else f"{file} wants to run code: {wanted}"
    tensors = "saved.state_dict()" if whole else "saved.get('state_dict', saved)"
    target = file.rpartition(".")[0] or file
    return CheckpointError(
        f"{got}; it was refused and nothing was run", "a file of tensors alone",
        "If you trust it, convert it in the environment that made it:\n"
        f"    import torch, safetensors.torch; saved = torch.load({file!r}, map_location='cpu', weights_only=False);\n"
        f"    safetensors.torch.save_file({{k: v.contiguous().clone() for k, v in {tensors}.items()"
        f" if isinstance(v, torch.Tensor)}}, {target + '.safetensors'!r})\n"
        "and open the new file")


def _no_names(file: str, reason: str) -> CheckpointError:
    return CheckpointError(f"{file} has no tensors by name: {reason}", "a state dict (a dict of tensors)",
                           "Save model.state_dict() where the file was made")


def _damaged(file: str, reason: str) -> CheckpointError:
    return CheckpointError(f"{file} cannot be read as a checkpoint: {reason}", "a complete file of torch.save",
                           "Copy or download it again, or save it again with a current PyTorch")


def _reason(problem: Exception) -> str:
    first = re.sub(r"\x1b\[[0-9;]*m", "", str(problem)).strip().split("\n")[0].split(". ")[0]
    if first.startswith("Weights only load failed"):
        return "its pickle is no state dict"
    return first[:160] if " " in first else "it is truncated or damaged"
