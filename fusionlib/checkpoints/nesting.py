"""How deep tuples of a pickle lie in one another, told without making them.

Python hashes a tuple by recursion in C, which nothing bounds: a key of a hundred thousand tuples in one another ends
the process with a stack overflow, and so would a file of as many bytes.
"""

from __future__ import annotations

import io
import pickletools

DEEPEST = 1000
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = -1


def refuse_deep_tuples(content: bytes, pickles: int = 1) -> None:
    """Raises `ValueError` where tuples lie deeper than `DEEPEST` in the first so many pickles of `content`."""
    if sum(content.count(code) for code in (b"\x85", b"\x86", b"\x87", b"t")) <= DEEPEST:
        return
    stream = io.BytesIO(content)
    for _ in range(pickles):
        if stream.tell() < len(content):
            _walk(stream)


def _walk(stream: io.BytesIO) -> None:
    """One pickle: its stack as the depths of what lies there, 0 for all that is no tuple."""
    stack: list[int] = []
    memo: dict[int, int] = {}
    for code, argument, _ in pickletools.genops(stream):
        name = code.name
        if name == "MARK":
            stack.append(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1] if stack else 0  # type: ignore[index]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo.get(argument, 0))  # type: ignore[arg-type]
        elif name == "DUP":
            stack.append(stack[-1] if stack else 0)
        else:
            inside = _popped(stack, code.stack_before)
            deep = 1 + max(inside, default=0) if name == "TUPLE" or name in _TUPLES else 0
            if deep > DEEPEST:
                raise ValueError(f"tuples in it lie more than {DEEPEST} deep in one another")
            stack += [deep] * len(code.stack_after)


def _popped(stack: list[int], before: list[pickletools.StackObject]) -> list[int]:
    """What an operation takes off the stack: all down to the last mark, and as many as it names below."""
    found: list[int] = []
    count = len(before)
    if pickletools.markobject in before:
        while stack and (top := stack.pop()) != _MARK:
            found.append(top)
        count = before.index(pickletools.markobject)
    rest = max(0, len(stack) - count)
    found += stack[rest:]
    del stack[rest:]
    return found
