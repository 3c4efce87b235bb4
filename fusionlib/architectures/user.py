"""The user's own network, from a Python file named by whoever starts the process."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from fusionlib.architectures.declared import classes_of, head_of, output_of, preprocessing_of
from fusionlib.architectures.modules import methods_of_torch
from fusionlib.architectures.outputs import logits_of
from fusionlib.architectures.own_modules import OwnModules
from fusionlib.architectures.recognise import choose, on_request
from fusionlib.architectures.sources import content_of, imported_files
from fusionlib.architectures.spaces import usual_space
from fusionlib.architectures.staged import check_stages, trial_picture
from fusionlib.contracts import ARCHITECTURES, OwnClasses, Stage
from fusionlib.errors import ArchitectureError, FusionError, UsageError
from fusionlib.quiet import quiet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A model file as it was when it was run: its module, those of its folder that it imports, the files that it
    consists of, and a fingerprint of them.
    """

    module: ModuleType
    own: OwnModules
    files: tuple[Path, ...]
    fingerprint: str

    def is_current(self) -> bool:
        """Whether the files hold what was run. Where one is gone there is nothing newer to run."""
        try:
            return content_of(self.files[0].parent, self.files) == self.fingerprint
        except OSError:
            return True

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside the block its code finds what lies beside it, and what it warns of is not shown."""
        with self.own.active(), quiet():
            yield


class UserArchitecture:
    """A factory in the user's file. Called as `factory()` or, where it takes an argument, as `factory(classes)`.

    The file may declare how pictures become its input, what it returns, its head and its classes
    (`fusionlib.architectures.declared`), and may have a function `stages(module)`. Raises `UsageError` for a
    declaration that is wrong.
    """

    citation = "your own code"

    def __init__(self, loaded: Loaded, factory: str) -> None:
        module = loaded.module
        self.loaded, self._make = loaded, getattr(module, factory)
        self.code = f"{loaded.fingerprint}:{factory}"
        """What decides the network beside its weights; results of other code are kept apart by it."""
        file = Path(module.__file__ or "")
        self.title, self.named = f"{file.stem}:{factory}", f"--model {file.name}:{factory}"
        self.head, self.preprocessing, self.output = head_of(module), preprocessing_of(module), output_of(module)
        self._space = classes_of(module)
        self._stages: Callable[[nn.Module], Sequence[Stage]] | None = getattr(module, "stages", None)
        self._sound: bool | None = None
        self._shapes: dict[int, dict[str, tuple[int, ...]]] = {}
        self._refused: dict[int, Exception] = {}
        self._outputs: int | None = None
        self.problem: str | None = None
        """What the factory raised last, for whoever wonders why the network was not recognised."""
        kinds = {item.kind for item in inspect.signature(self._make).parameters.values()}
        self.takes_classes = bool(kinds & {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD})

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
        """Shape by name of the tensors that the factory makes; passes on what the factory raises. Found out once."""
        if classes in self._refused:
            raise self._refused[classes].with_traceback(None)
        if classes not in self._shapes:
            try:
                network = self._without_numbers(classes)
            except Exception as error:
                self._refused[classes] = error
                raise
            with methods_of_torch(network), quiet():
                self._shapes[classes] = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        return self._shapes[classes]

    def build(self, classes: int) -> nn.Module:
        """A fresh network."""
        return self._network(classes)

    def stages(self, module: nn.Module) -> tuple[Stage, ...]:
        """What the file's own `stages` gives; none without, or where a trial says that it is not the forward pass."""
        if self._stages is None:
            return ()
        with self.loaded.running():
            if self._sound is None:
                try:
                    trial = deepcopy(module)
                    check_stages(trial, self._stages(trial), self.preprocessing, self.output)
                    self._sound = True
                except Exception as error:  # noqa: BLE001 - the user's own code; nothing but time is lost without
                    log.warning(
                        "%s: passes always start at the picture, stages(module) is not used: %s", self.title, error
                    )
                    self._sound = False
            return tuple(self._stages(module)) if self._sound else ()

    def label_space(self, classes: int) -> str | OwnClasses:
        """What the file declares, else by the class count."""
        return self._space or usual_space(classes)

    def _without_numbers(self, classes: int) -> nn.Module:
        try:
            with torch.device("meta"):
                return self._network(classes)
        except ArchitectureError:
            raise
        except Exception:  # noqa: BLE001 - code that looks at values cannot run on tensors that have none
            return self._network(classes)

    def _network(self, classes: int) -> nn.Module:
        with self.loaded.running():
            network = self._make(classes) if self.takes_classes else self._make()
        if not isinstance(network, nn.Module):
            raise ArchitectureError(
                f"{self.title} returned {type(network).__name__}", "a torch.nn.Module", "Correct the factory"
            )
        return network

    def _output_channels(self) -> int:
        if self._outputs is None:
            network, picture = self._network(0), trial_picture(self.preprocessing, 64, 64)
            with methods_of_torch(network):
                network.eval()
            try:
                with torch.inference_mode(), quiet():
                    self._outputs = logits_of(network(picture), self.output).shape[1]
            except FusionError:
                raise
            except Exception as error:
                height, width = picture.shape[-2:]
                raise ArchitectureError(
                    f"{self.title} failed on a picture of {width}x{height}: {type(error).__name__}: {error}",
                    "a network that tells its classes by its output, or takes their number",
                    "Write PAD or RESIZE in the model file for pictures of certain sizes, or give the factory an"
                    " argument",
                ) from error
        return self._outputs


def register_user_models(specs: Sequence[str]) -> tuple[str, ...]:
    """Load and register several, choose those that name a built-in network; the names of those loaded.

    Raises `UsageError` as `register_user_model`, and where two would have one name.
    """
    choose(specs)
    names = {spec: _name_of(spec) for spec in _files_of(specs)}
    for spec, name in names.items():
        if list(names.values()).count(name) > 1:
            raise UsageError(
                f"--model {spec}: another one is called {name} too",
                "a name of its own for each file",
                "Rename one of them",
            )
    return tuple(register_user_model(spec) for spec in names)


def _files_of(specs: Sequence[str]) -> list[str]:
    built_in = on_request()
    return [spec for spec in specs if spec not in built_in]


def refresh_user_models(specs: Sequence[str]) -> bool:
    """Load those anew whose files have changed since they were loaded; whether there was any.

    Raises `UsageError` as they do.
    """
    files = _files_of(specs)
    stale = [spec for spec in files if (former := _loaded(_name_of(spec))) is None or not former.is_current()]
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
    name, loaded = _name_of(spec), _load(path.parent.resolve() / path.name, spec)
    if not callable(getattr(loaded.module, factory, None)):
        raise UsageError(
            f"{path.name} has no function {factory!r}", "a callable that returns the network", "Correct its name"
        )
    ARCHITECTURES.put(name, _checked(UserArchitecture(loaded, factory), spec))
    return name


def _parsed(spec: str) -> tuple[Path, str]:
    path_text, _, factory = spec.rpartition(":")
    if not path_text or not factory.isidentifier() or Path(path_text).suffix != ".py":
        raise UsageError(
            f"--model {spec}",
            f"path/to/file.py:factory, or one of {', '.join(on_request())}",
            "Name the file and the function in it; built-in networks are recognised without",
        )
    return Path(path_text), factory


def _name_of(spec: str) -> str:
    path, factory = _parsed(spec)
    return f"{path.stem}:{factory}"


def _load(path: Path, spec: str) -> Loaded:
    """Run the file, and what it imports from its folder, as they are now."""
    try:
        files = imported_files(path)
        before = content_of(path.parent, files)
        own = OwnModules(path)
        with quiet():
            module = own.run()
        files = tuple(dict.fromkeys((*files, *own.files)))
        fingerprint, unchanged = content_of(path.parent, files), content_of(path.parent, imported_files(path)) == before
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"--model {spec} failed: {type(error).__name__}: {error}", "a file that imports", "Correct it"
        ) from error
    if not unchanged:
        raise UsageError(
            f"--model {spec} was changed while it was loaded", "files that stay as they are", "Load it again"
        )
    return Loaded(module, own, files, fingerprint)


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
