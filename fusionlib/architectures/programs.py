"""Programs of torch.export and TorchScript, run because whoever starts the process names them with `--trust FILE`.

A program carries its own code. It is run as it was when the process started, by the SHA-256 of its bytes, on the
tensors of any checkpoint that has all of its own: those of a merge, say. Nothing in the browser can name one.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from fusionlib.architectures.declared import DECLARED, classes_of, head_of, output_of, preprocessing_of
from fusionlib.architectures.outputs import logits_of
from fusionlib.architectures.program_sizes import Sizes, side_of
from fusionlib.architectures.spaces import usual_space
from fusionlib.contracts import ARCHITECTURES, OwnClasses, Preprocessing
from fusionlib.errors import ArchitectureError, FusionError, UsageError
from fusionlib.plain_yaml import read_yaml
from fusionlib.quiet import quiet

_MOST_DECLARED = 64 << 10
_TRIED = (64, 256, 512)
"""Sides of the pictures that a program is tried on, as near to these as it takes them."""


class Program(nn.Module):
    """A program as a network: the same modules, tensors and names, and pictures in batches as it takes them.

    Raises `ArchitectureError` in place of whatever the program raises.
    """

    _program: Any

    def __init__(self, program: nn.Module, sizes: Sizes, title: str, exported: Any = None) -> None:
        super().__init__()
        for table in ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set"):
            self.__dict__[table] = getattr(program, table)  # so that a tensor put in here is the program's too
        self.__dict__["_program"] = program
        self.sizes, self.title, self._exported = sizes, title, exported

    def train(self, mode: bool = True) -> Program:
        """Programs are what they are: those of torch.export cannot change their mode."""
        return self

    def to(self, device: torch.device) -> Program:  # type: ignore[override]
        """The same on a device. Operations of torch.export name theirs, so such a program is made anew."""
        if torch.device(device).type == "cpu":
            return self
        if self._exported is None:
            return Program(self._program.to(device), self.sizes, self.title)
        from torch.export.passes import move_to_device_pass

        moved = move_to_device_pass(self._exported, str(device))
        return Program(moved.module(), self.sizes, self.title, moved)

    def forward(self, pictures: Tensor) -> Any:
        """What the program gives for pictures (N, 3, H, W)."""
        height, width = pictures.shape[-2:]
        if not self.sizes.takes(height, width):
            raise _wrong_size(self.title, f"{self.sizes} pixels", f"{width}x{height}")
        try:
            with _as_written():
                return self._in_batches(pictures)
        except FusionError:
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {error}".strip().splitlines()[-1][:200]
            raise _wrong_size(self.title, "pictures that it runs on", f"{width}x{height} ({said})") from error

    def _in_batches(self, pictures: Tensor) -> Any:
        count = self.sizes.batch.fixed
        if count is None or len(pictures) == count:
            return self._program(pictures)
        missing = -len(pictures) % count
        whole = torch.cat((pictures, pictures[-1:].expand(missing, -1, -1, -1))) if missing else pictures
        return _joined([self._program(part) for part in whole.split(count)], len(pictures))


class TrustedProgram:
    """The architecture of a program. `content` are the bytes of its file, which alone are run.

    Raises `UsageError` where it is no such program, takes other than pictures, or was exported in training mode.
    """

    citation = "your own program"

    def __init__(self, path: Path, content: bytes) -> None:
        declared, file = _declarations(path), path.name
        self.title, self.named = file, f"--trust {file}"
        self.fingerprint = hashlib.sha256(content).hexdigest()
        self.code = f"program {self.fingerprint}"
        """What decides the network beside its weights; answers of another program are kept apart by it."""
        self._content, self._exported = content, None
        if _is_script(content, file):
            self.sizes = Sizes()
        else:
            self._exported, self.sizes = _exported(content)
        self.head, self.output, self._space = head_of(declared), output_of(declared), classes_of(declared)
        self.preprocessing = _fitted(preprocessing_of(declared), declared, self.sizes, file)
        self.shapes_of = {name: tuple(tensor.shape) for name, tensor in self.build(0).state_dict().items()}
        self._outputs = self._tried()

    def recognise(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        """The class count when every tensor of the program is among `shapes`."""
        fits = self.shapes_of and all(
            shapes.get(name) == shape
            for name, shape in self.shapes_of.items()
            if not name.endswith("num_batches_tracked")
        )
        return self._outputs if fits else None

    def shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Shape by name of its tensors."""
        return dict(self.shapes_of)

    def build(self, classes: int) -> nn.Module:
        """A fresh network, with the program's own weights."""
        with torch.device("cpu"), quiet():
            if self._exported is not None:
                return Program(self._exported.module(), self.sizes, self.title, self._exported)
            script = torch.jit.load(io.BytesIO(self._content), map_location="cpu").eval()
            return Program(script, self.sizes, self.title)

    def label_space(self, classes: int) -> str | OwnClasses:
        """What is declared beside it, else by the class count."""
        return self._space or usual_space(classes)

    def _tried(self) -> int:
        """How many outputs it has. Raises `ArchitectureError` where running it changes it, or gives other numbers the
        second time: it was exported while it trained.
        """
        network = self.build(0)
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        picture, logits = self._first_answer(network)
        with torch.inference_mode(), quiet():
            again = logits_of(network(picture), self.output)
        changed = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])]
        if changed or not torch.equal(again, logits):
            raise ArchitectureError(
                f"{self.title} was made in training mode: "
                + (f"running it changes {changed[0]}" if changed else "it gives other numbers each time"),
                "a program of a network in evaluation mode",
                "Call net.eval() before torch.export.export, torch.jit.trace or torch.jit.script, and save it again",
            )
        return logits.shape[1]

    def _first_answer(self, network: nn.Module) -> tuple[Tensor, Tensor]:
        """A random picture that it runs on, and its logits."""
        sizes = list(dict.fromkeys(self.sizes.nearest(*self.preprocessing.seen(side, side)) for side in _TRIED))
        for number, size in enumerate(sizes):
            picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
            try:
                with torch.inference_mode(), quiet():
                    return picture, logits_of(network(picture), self.output)
            except ArchitectureError:
                if number == len(sizes) - 1:
                    raise
        raise AssertionError("no size was tried")


def trust_programs(paths: Sequence[Path]) -> tuple[str, ...]:
    """Load and register programs, in place of earlier ones of their names; these names.

    Runs them: only for files that the operator names. Raises `UsageError`.
    """
    names = [path.name for path in dict.fromkeys(path.absolute() for path in paths)]
    for path in paths:
        if names.count(path.name) > 1:
            raise UsageError(
                f"--trust {path}: another one is called {path.name} too", "a name of its own for each", "Rename one"
            )
    return tuple(_trust(path) for path in paths)


def with_fingerprints(paths: Sequence[Path]) -> tuple[tuple[str, str], ...]:
    """Programs that were registered, by the path of each and the SHA-256 of what was."""
    items: list[Any] = [ARCHITECTURES.get(path.name) for path in paths]
    return tuple((str(path.absolute()), item.fingerprint) for path, item in zip(paths, items, strict=True))


def trust_again(programs: Sequence[tuple[str, str]]) -> None:
    """Register, in another process, those that are not yet. Raises `UsageError` where a file holds other bytes."""
    for path, fingerprint in programs:
        name = Path(path).name
        known: Any = ARCHITECTURES.get(name) if name in ARCHITECTURES else None
        if getattr(known, "fingerprint", None) != fingerprint:
            _trust(Path(path), fingerprint)


def _trust(path: Path, fingerprint: str | None = None) -> str:
    try:
        content = path.read_bytes()
        if fingerprint not in (None, hashlib.sha256(content).hexdigest()):
            raise UsageError(
                f"--trust {path.name}: it holds other bytes than where it was named",
                "the same file on every machine",
                "Copy it there again",
            )
        ARCHITECTURES.put(path.name, TrustedProgram(path, content))
    except OSError as problem:
        raise UsageError(
            f"--trust {path}: {problem.strerror or problem}", "a program of torch.export or TorchScript", "Correct it"
        ) from problem
    except UsageError:
        raise
    except ArchitectureError as problem:
        raise UsageError(f"--trust {path.name}: {problem.got}", problem.needs, problem.do) from problem
    except Exception as problem:
        raise UsageError(
            f"--trust {path.name} failed: {type(problem).__name__}: {str(problem)[:200]}",
            "a program that this version of torch loads",
            "Export it again with this version, or give the network's code with --model FILE.py:FACTORY",
        ) from problem
    return path.name


def _is_script(content: bytes, file: str) -> bool:
    try:
        names = {name.rpartition("/")[2] for name in zipfile.ZipFile(io.BytesIO(content)).namelist()}
    except zipfile.BadZipFile:
        names = set()
    if {"constants.pkl", "data.pkl"} <= names:
        return True
    if names & {"serialized_exported_program.json", "model_weights_config.json", "archive_format"}:
        return False
    raise UsageError(
        f"--trust {file}: it is no program",
        "a file of torch.export.save, torch.jit.save or ScriptModule.save",
        "Name such a file, or give the network's code with --model FILE.py:FACTORY",
    )


def _exported(content: bytes) -> tuple[Any, Sizes]:
    """The program and the pictures that it takes. Raises `ArchitectureError` where it takes something else."""
    with torch.device("cpu"), quiet():
        program = torch.export.load(io.BytesIO(content))
    inputs = program.graph_signature.user_inputs
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    given = nodes[0].meta.get("val") if len(nodes) == len(inputs) == 1 else None
    if not isinstance(given, Tensor) or given.dim() != 4 or given.shape[1] != 3 or given.dtype != torch.float32:
        what = f"{len(inputs)} inputs" if given is None else f"{tuple(map(str, given.shape))} of {given.dtype}"
        raise ArchitectureError(
            f"it takes {what}", "one input of pictures, (N, 3, H, W) float32", "Export the network itself, in float32"
        )
    batch, _, height, width = given.shape
    ranges = program.range_constraints
    return program, Sizes(side_of(batch, ranges), side_of(height, ranges), side_of(width, ranges))


def _declarations(path: Path) -> ModuleType:
    """What is declared in `FILE.yaml` beside the program, by the names that a model file has."""
    beside = path.with_name(f"{path.name}.yaml")
    module = ModuleType(path.stem)
    module.__file__ = str(beside)
    if not beside.is_file():
        return module
    try:
        found = read_yaml(beside, _MOST_DECLARED)
    except (ValueError, OSError) as problem:
        raise UsageError(f"{beside.name}: {problem}", "YAML", "Correct it") from problem
    unknown = [] if isinstance(found, dict) else ["no table"]
    unknown += [str(name)[:60] for name in found if name not in DECLARED] if isinstance(found, dict) else []
    if unknown:
        raise UsageError(f"{beside.name} has {unknown[0]}", f"some of {', '.join(DECLARED)}", "Correct it")
    for name, value in found.items():
        setattr(module, name, value)
    return module


def _fitted(about: Preprocessing, declared: ModuleType, sizes: Sizes, file: str) -> Preprocessing:
    """What is declared, and what the program's sizes need where no size is. Raises `UsageError` where they differ."""
    if not any(hasattr(declared, name) for name in ("PAD", "RESIZE", "WINDOW")):
        kept = {name: getattr(about, name) for name in ("mean", "std", "scale", "order")}
        return Preprocessing(**kept, **sizes.fitted())
    if (wrong := sizes.refuses(about)) is not None:
        raise UsageError(
            f"{Path(declared.__file__ or '').name} makes pictures {wrong[1]}x{wrong[0]}",
            f"{sizes} pixels, as {file} takes them",
            "Correct RESIZE or WINDOW, or leave it out",
        )
    return about


@contextmanager
def _as_written() -> Iterator[None]:
    """TorchScript as it is written, in this thread: its optimiser fuses operations after the first runs, which moves
    numbers.
    """
    before = torch._C._get_graph_executor_optimize()
    torch._C._set_graph_executor_optimize(False)
    try:
        yield
    finally:
        torch._C._set_graph_executor_optimize(before)


def _joined(parts: list[Any], count: int) -> Any:
    """Answers for one batch after another as one for the first so many pictures; in what they lie stays."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts)[:count]
    if isinstance(first, Mapping):
        return {key: _joined([part[key] for part in parts], count) for key in first}
    if isinstance(first, tuple | list):
        return tuple(_joined(list(items), count) for items in zip(*parts, strict=True))
    return first


def _wrong_size(title: str, needs: str, got: str) -> ArchitectureError:
    return ArchitectureError(
        f"The program {title} cannot run on pictures of {got}",
        needs,
        f"Declare RESIZE, WINDOW or PAD in {title}.yaml beside it, or export it with sizes left open",
    )
