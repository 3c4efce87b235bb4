"""The user's own network, from a Python file named by whoever starts the process."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from fusionlib.architectures.outputs import logits_of
from fusionlib.architectures.sources import content_of, forget_modules, imported_files, loaded_files
from fusionlib.architectures.staged import check_stages
from fusionlib.contracts import ARCHITECTURES, Preprocessing, Stage
from fusionlib.errors import ArchitectureError, UsageError

log = logging.getLogger(__name__)

_SPACES = {11: "camvid", 19: "cityscapes", 20: "cityscapes-void"}


@dataclass(frozen=True)
class Loaded:
    """A model file as it was when it was run: its module, the files of its folder that it consists of, and a
    fingerprint of them.
    """

    module: ModuleType
    files: tuple[Path, ...]
    fingerprint: str

    def is_current(self) -> bool:
        """Whether the files hold what was run. Where one is gone there is nothing newer to run."""
        try:
            return content_of(self.files[0].parent, self.files) == self.fingerprint
        except OSError:
            return True


class UserArchitecture:
    """A factory in the user's file. Called as `factory()` or, where it takes an argument, as `factory(classes)`.

    The file may set MEAN, STD (three numbers each, for `(rgb / 255 - mean) / std`), HEAD (name prefixes of the head)
    and LABEL_SPACE (`cityscapes`, `cityscapes-void`, `camvid` or `classes-N`), and may have a function
    `stages(module)`.
    """

    citation = "your own code"

    def __init__(self, loaded: Loaded, factory: str) -> None:
        module = loaded.module
        self.loaded, self._make = loaded, getattr(module, factory)
        self.code = f"{loaded.fingerprint}:{factory}"
        """What decides the network beside its weights; results of other code are kept apart by it."""
        self.title = f"{Path(module.__file__ or '').stem}:{factory}"
        self.head: tuple[str, ...] = tuple(getattr(module, "HEAD", ()))
        self.preprocessing = Preprocessing(_triple(module, "MEAN", 0.0), _triple(module, "STD", 1.0))
        self._space = getattr(module, "LABEL_SPACE", None)
        self._stages: Callable[[nn.Module], Sequence[Stage]] | None = getattr(module, "stages", None)
        self._sound: bool | None = None
        self.problem: str | None = None
        """What the factory raised last, for whoever wonders why the network was not recognised."""
        self.takes_classes = bool(inspect.signature(self._make).parameters)

    def recognise(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        """The class count when every tensor of the network is among `shapes`; counts are tried from the tensors' own
        sizes.
        """
        counts = sorted(
            {shape[axis] for shape in shapes.values() for axis in (0, 1) if len(shape) > axis and shape[axis] <= 255}
        )
        for classes in counts if self.takes_classes else (0,):
            try:
                own = self.shapes(classes)
            except ArchitectureError:
                raise
            except Exception as error:  # noqa: BLE001 - a count that the factory refuses, in whichever way, is not the one
                log.debug("%s(%d): %s", self.title, classes, error)
                self.problem = f"{self.title}({classes or ''}) raised {type(error).__name__}: {error}"
                continue
            if own and all(
                shapes.get(name) == shape for name, shape in own.items() if not name.endswith("num_batches_tracked")
            ):
                return classes or self._output_channels()
        return None

    def shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Shape by name of the tensors that the factory makes; passes on what the factory raises."""
        try:
            with torch.device("meta"):
                network = self._network(classes)
        except ArchitectureError:
            raise
        except Exception:  # noqa: BLE001 - code that looks at values cannot run on tensors that have none
            network = self._network(classes)
        return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}

    def build(self, classes: int) -> nn.Module:
        """A fresh network."""
        return self._network(classes)

    def stages(self, module: nn.Module) -> tuple[Stage, ...]:
        """What the file's own `stages` gives; none without, or where a trial says that it is not the forward pass."""
        if self._stages is None:
            return ()
        if self._sound is None:
            try:
                check_stages(trial := deepcopy(module), self._stages(trial))
                self._sound = True
            except Exception as error:  # noqa: BLE001 - the user's own code; nothing but time is lost without
                log.warning("%s: passes always start at the picture, stages(module) is not used: %s", self.title, error)
                self._sound = False
        return tuple(self._stages(module)) if self._sound else ()

    def label_space(self, classes: int) -> str:
        """LABEL_SPACE of the file, else by the class count."""
        return self._space or _SPACES.get(classes, f"classes-{classes}")

    def _network(self, classes: int) -> nn.Module:
        network = self._make(classes) if self.takes_classes else self._make()
        if not isinstance(network, nn.Module):
            raise ArchitectureError(
                f"{self.title} returned {type(network).__name__}", "a torch.nn.Module", "Correct the factory"
            )
        return network

    def _output_channels(self) -> int:
        with torch.inference_mode():
            return logits_of(self._network(0).eval()(torch.zeros(1, 3, 64, 64))).shape[1]


def _triple(module: ModuleType, name: str, default: float) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(value) for value in getattr(module, name, (default,) * 3))
    except (TypeError, ValueError):
        raise UsageError(
            f"{name} of the model file is {getattr(module, name)!r}", "three numbers", f"Correct {name}"
        ) from None
    return red, green, blue


def register_user_models(specs: Sequence[str]) -> tuple[str, ...]:
    """Load and register several; their names.

    Raises `UsageError` as `register_user_model`, and where two would have one name.
    """
    names = {spec: _name_of(spec) for spec in specs}
    for spec, name in names.items():
        if list(names.values()).count(name) > 1:
            raise UsageError(
                f"--model {spec}: another one is called {name} too",
                "a name of its own for each file",
                "Rename one of them",
            )
    return tuple(register_user_model(spec) for spec in names)


def refresh_user_models(specs: Sequence[str]) -> bool:
    """Load those anew whose files have changed since they were loaded; whether there was any.

    Raises `UsageError` as they do.
    """
    stale = [spec for spec in specs if (former := _loaded(_name_of(spec))) is None or not former.is_current()]
    for spec in stale:
        register_user_model(spec)
    return bool(stale)


def _loaded(name: str) -> Loaded | None:
    architecture = ARCHITECTURES.get(name) if name in ARCHITECTURES else None
    return architecture.loaded if isinstance(architecture, UserArchitecture) else None


def register_user_model(spec: str) -> str:
    """Load `path/to/file.py:factory` and register it, in place of an earlier one of its name; returns the name.

    Runs the file: only for specs of the operator. Raises `UsageError` where the file or the factory is not there.
    """
    path, factory = _parsed(spec)
    if not path.is_file():
        raise UsageError(f"--model {spec}: {path.name} is not there", "a Python file", "Correct the path")
    name, former = _name_of(spec), _loaded(_name_of(spec))
    loaded = _load(path.parent.resolve() / path.name, spec, former.files if former else ())
    if not callable(getattr(loaded.module, factory, None)):
        raise UsageError(
            f"{path.name} has no function {factory!r}", "a callable that returns the network", "Correct its name"
        )
    ARCHITECTURES.put(name, _checked(UserArchitecture(loaded, factory), spec))
    return name


def _parsed(spec: str) -> tuple[Path, str]:
    path_text, _, factory = spec.rpartition(":")
    if not path_text or not factory.isidentifier() or Path(path_text).suffix != ".py":
        raise UsageError(f"--model {spec}", "path/to/file.py:factory", "Name the file and the function in it")
    return Path(path_text), factory


def _name_of(spec: str) -> str:
    path, factory = _parsed(spec)
    return f"{path.stem}:{factory}"


def _load(path: Path, spec: str, former: Sequence[Path]) -> Loaded:
    """Run the file, and what it imports from its folder, as they are now: no import of `former` files and no bytecode
    stands for them.
    """
    loader_spec = importlib.util.spec_from_file_location(f"fusion_user_{path.stem}", path)
    assert loader_spec is not None
    module, files = importlib.util.module_from_spec(loader_spec), imported_files(path)
    forget_modules((*files, *former))
    importlib.invalidate_caches()
    known = set(sys.modules)
    writes, sys.dont_write_bytecode = (
        sys.dont_write_bytecode,
        True,
    )  # bytecode knows a source by its second and size alone
    try:
        before = content_of(path.parent, files)
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
        files = tuple(dict.fromkeys((*files, *loaded_files(path.parent, known))))
        fingerprint, unchanged = content_of(path.parent, files), content_of(path.parent, imported_files(path)) == before
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"--model {spec} failed: {type(error).__name__}: {error}", "a file that imports", "Correct it"
        ) from error
    finally:
        sys.dont_write_bytecode = writes
    if not unchanged:
        raise UsageError(
            f"--model {spec} was changed while it was loaded", "files that stay as they are", "Load it again"
        )
    return Loaded(module, files, fingerprint)


def _checked(architecture: UserArchitecture, spec: str) -> UserArchitecture:
    """Raises `UsageError` at the start where a factory without arguments fails: no checkpoint could make it work."""
    try:
        if not architecture.takes_classes:
            architecture.shapes(0)
    except ArchitectureError:
        raise
    except Exception as error:
        raise UsageError(
            f"--model {spec} failed: {type(error).__name__}: {error}", "a factory that builds the network", "Correct it"
        ) from error
    return architecture
