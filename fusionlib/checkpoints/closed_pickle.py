"""A pickle of records, read without any class of its own: for lists of tensors that are pickles of a later protocol.

`torch.load(weights_only=True)` reads the operations of protocol 2 alone. Here a few more are known, no others, and
every name in the file is an inert stand-in (`fusionlib.checkpoints.stand_ins`) or a dtype: nothing is imported, and
nothing but stand-ins is called.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import torch

from fusionlib.checkpoints.stand_ins import StandIn, is_plain

_KNOWN = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE"
    " EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS BINPUT LONG_BINPUT"
    " BINGET LONG_BINGET MEMOIZE GLOBAL STACK_GLOBAL NEWOBJ REDUCE BUILD"
)
_DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}


class Size(StandIn):
    """In place of `torch.Size`: a plain tuple."""

    def __new__(cls, *arguments: Any) -> Any:
        """The tuple that it would be. Raises `ValueError` for what is no sequence of whole numbers."""
        values = arguments[0] if len(arguments) == 1 else ()
        if not isinstance(values, tuple | list) or not all(type(one) is int for one in values):
            raise ValueError("a size that is no sequence of whole numbers")
        return tuple(values)


def load_closed(content: bytes, allowed: Callable[[str], bool]) -> Any:
    """The records in `content`; their classes are those names that `allowed` says, and plain classes of data.

    Raises: `pickle.UnpicklingError` that says `GLOBAL module.name` for another name, and a dozen kinds for what is no
    such pickle.
    """
    return _Unpickler(content, allowed).load()


class _Unpickler(pickle._Unpickler):
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    dispatch: dict[int, Any] = {  # noqa: RUF012 - of the class, as in the one above
        getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]] for name in _KNOWN.split()
    }

    def __init__(self, content: bytes, allowed: Callable[[str], bool]) -> None:
        super().__init__(io.BytesIO(content))
        self._allowed = allowed
        self._made: dict[str, Any] = {"torch.Size": type("OwnSize", (Size,), {"path": "torch.Size"}), **_DTYPES}

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        if path not in self._made:
            if not self._allowed(path) and not is_plain(path):
                raise pickle.UnpicklingError(f"GLOBAL {path} is no record of tensors")
            self._made[path] = type("Record", (StandIn,), {"path": path})
        return self._made[path]

    def _construct(self) -> None:
        arguments = self.stack.pop()
        kind = self.stack.pop()
        if not (isinstance(kind, type) and issubclass(kind, StandIn) and isinstance(arguments, tuple)):
            raise pickle.UnpicklingError("what it calls is no record")
        self.stack.append(kind(*arguments))

    def _put(self) -> None:
        value, key, table = self.stack.pop(), self.stack.pop(), self.stack[-1]
        self._enter(table, [(key, value)])

    def _put_all(self) -> None:
        items = self.pop_mark()
        self._enter(self.stack[-1], list(zip(items[::2], items[1::2], strict=True)))

    @staticmethod
    def _enter(table: Any, items: list[tuple[Any, Any]]) -> None:
        # The hash of a deep tuple would overflow the stack; stand-ins have that of their identity.
        if type(table) is not dict or not all(isinstance(key, str | int | StandIn) for key, _ in items):
            raise pickle.UnpicklingError("a table with keys that are neither texts nor records")
        table.update(items)

    def _build(self) -> None:
        state, record = self.stack.pop(), self.stack[-1]
        if not isinstance(record, StandIn):
            raise pickle.UnpicklingError("a state of what is no record")
        record.state = state

    dispatch |= {
        pickle.NEWOBJ[0]: _construct,
        pickle.REDUCE[0]: _construct,
        pickle.SETITEM[0]: _put,
        pickle.SETITEMS[0]: _put_all,
        pickle.BUILD[0]: _build,
    }
