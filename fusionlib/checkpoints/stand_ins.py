"""Inert stand-ins for unknown classes in a pickle: what lies beside the tensors need not be understood to be skipped.

`torch.load(weights_only=True)` refuses every name outside a short list. A name that is a plain class of data, or of
another package, becomes a stand-in here: it takes whatever the pickle does to it, does nothing, and nothing of that
package is imported or called. Names of Python's own library that are no plain data (`eval`, `subprocess.Popen`) are
refused as before: no training script leaves them behind. So are torch's own functions: the tensors themselves may be
made by them.
"""

from __future__ import annotations

import re
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pickle import UnpicklingError
from threading import RLock
from typing import Any

import torch

PLAIN_DATA = frozenset(
    {
        "argparse.Namespace",
        "types.SimpleNamespace",
        "collections.defaultdict",
        "collections.deque",
        "collections.Counter",
        "datetime.datetime",
        "datetime.date",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
        "fractions.Fraction",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "pathlib.PurePosixPath",
        "pathlib.PureWindowsPath",
        "uuid.UUID",
        "functools.partial",
        "random.Random",
        "copyreg._reconstructor",
        "_codecs.encode",
        "enum.Enum",
        "enum.IntEnum",
        *(
            f"builtins.{name}"
            for name in (
                "object",
                "set",
                "frozenset",
                "slice",
                "range",
                "complex",
                "bytes",
                "bytearray",
                "tuple",
                "list",
                "dict",
                "int",
                "float",
                "str",
                "bool",
            )
        ),
    }
)
"""Names of Python's library under which scripts keep settings and records."""

_MOST_NAMES = 500
_MOST_MODULES = 100_000
_lock = RLock()


class StandIn:
    """An object of an unknown class: keeps the state that the file gives it, in `state`."""

    path = ""
    container: type | None = None
    state: Any = None

    def __new__(cls, *_: Any) -> Any:
        """An object, or the plain container that the pickle goes on to fill."""
        return cls.container() if cls.container else object.__new__(cls)

    def __init__(self, *_: Any) -> None:
        """Whatever the class would have wanted."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Attribute(StandIn):
    """`getattr` on a stand-in: files name methods so (mmengine's HistoryBuffer). Nothing is looked up.

    On anything else it is refused by its name, as other functions that act are.
    """

    path = "builtins.getattr"

    def __new__(cls, *arguments: Any) -> Any:
        """An object that does nothing. Raises `UnpicklingError` where the first argument is no unknown class."""
        owner = arguments[0] if arguments else None
        if not (isinstance(owner, type) and issubclass(owner, StandIn)):
            raise UnpicklingError("It calls the function getattr on what is no unknown class")
        return object.__new__(cls)


def load_with_stand_ins(load: Callable[[], Any], known: Iterable[str] = ()) -> tuple[Any, tuple[str, ...]]:
    """What `load` returns, and the names that became stand-ins. Those of `known` are such from the first: a program's
    own classes, of which there are many.

    `load` is called again for every name that it finds unknown, so it reads names and shapes alone. Raises what it
    raises for the others.
    """
    made = {path: _stand_in(number, path) for number, path in enumerate(known)}
    most = len(made) + _MOST_NAMES
    with _lock:  # torch's list of allowed names belongs to the whole process
        while True:
            try:
                with torch.serialization.safe_globals([(made[path], path) for path in made]):
                    return load(), tuple(made)
            except Exception as problem:
                if not _learn(str(problem), made, most):
                    raise


def _learn(text: str, made: dict[str, type[StandIn]], most: int) -> bool:
    """Add or change the stand-in that the message of a failed load asks for; False where there is none to be had."""
    unknown = re.search(r"Unsupported global: GLOBAL (\S+) was not", text)
    if unknown:
        path = unknown.group(1) if "." in unknown.group(1) else f"builtins.{unknown.group(1)}"
        if path in made or len(made) >= most or not (path == Attribute.path or is_plain(path)):
            return False
        if path == Attribute.path:
            made[path] = Attribute
            return True
        made[path] = _stand_in(len(made), path)
        return True
    wanted = re.search(r"Can only (SETITEM|append|extend).* but got .*", text)
    stuck = next((path for path, kind in made.items() if wanted and repr(kind) in wanted.group(0)), None)
    if wanted is None or stuck is None or made[stuck].container:
        return False
    container = OrderedDict if wanted.group(1) == "SETITEM" else list
    made[stuck] = type(made[stuck].__name__, (StandIn,), {"path": stuck, "container": container})
    return True


def _stand_in(number: int, path: str) -> type[StandIn]:
    return type(f"StandIn{number}", (StandIn,), {"path": path})


def is_plain(path: str) -> bool:
    module, _, name = path.rpartition(".")
    module, name = NAME_MAPPING.get(
        (module, name), (IMPORT_MAPPING.get(module, module), name)
    )  # pickles use names of Python 2
    package = module.partition(".")[0]
    if package == "torch":
        return name[:1].isupper()
    return f"{module}.{name}" in PLAIN_DATA or package not in sys.stdlib_module_names


def without_stand_ins(value: Any, depth: int = 0) -> Any:
    """`value` with whole pickled networks in it, at the top or in dictionaries, as the mapping that their `state_dict`
    would be.
    """
    if isinstance(value, StandIn):
        return dict(_tensors_of(value)) if is_network(value) else value
    if type(value) in (dict, OrderedDict) and depth < 4:
        return {
            key: without_stand_ins(item, depth + 1) if isinstance(item, StandIn | Mapping) else item
            for key, item in value.items()
        }
    return value


def is_network(value: Any) -> bool:
    """Whether `value` stands for a whole pickled network."""
    state = value.state if isinstance(value, StandIn) else None
    return isinstance(state, dict) and all(
        isinstance(state.get(key), dict) for key in ("_parameters", "_buffers", "_modules")
    )


def _tensors_of(network: StandIn) -> Iterator[tuple[str, Any]]:
    """What a network's `state_dict` would have, in its order: parameters, lasting buffers, then the modules in it."""
    stack, seen = [("", network)], 0
    while stack:
        prefix, module = stack.pop()
        seen += 1
        if seen > _MOST_MODULES:
            raise ValueError("its modules refer to one another without end")
        state, passing = module.state, module.state.get("_non_persistent_buffers_set")
        lasting = {
            name: tensor
            for name, tensor in state["_buffers"].items()
            if not isinstance(passing, set) or name not in passing
        }
        yield from (
            (f"{prefix}{name}", tensor)
            for table in (state["_parameters"], lasting)
            for name, tensor in table.items()
            if tensor is not None
        )
        stack += [
            (f"{prefix}{name}.", child) for name, child in reversed(state["_modules"].items()) if is_network(child)
        ]
