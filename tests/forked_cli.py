"""Command lines in processes of their own that share one start: `python forked_cli.py`, cases as JSON on standard
input.

A case has `arguments`, and may have `limit` (no file may grow beyond so many bytes, which fails as a full disk does)
and `stdout` (a device to print to). The answer is a list of `[exit status, standard output, standard error]`.

With `counter` a byte is added to that file for every forward pass, which takes `pause` seconds more; before pass number
`die_at` the process kills itself. With `after`, a file and a size, it waits until that file has so many bytes. `{id}`
among the arguments is the newest run of `--home`, its last argument. When it ended is written to `ended`. A list of
cases runs at the same time, and its answer is a list.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import sys
import time
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from helpers import tiny_registered

import fusionlib.cli.merge_recipes
import fusionlib.lab.loop
import fusionlib.studio  # noqa: F401 - what verbs load when they run: once here, and not in every child
from fusionlib import contracts
from fusionlib.cli import main
from fusionlib.engine.build import Member
from fusionlib.registry import Registry
from fusionlib.runs import database


def child(case: dict[str, Any], out: int, err: int) -> int:
    """One command line; its exit status."""
    os.dup2(os.open(case["stdout"], os.O_WRONLY) if case.get("stdout") else out, 1)
    os.dup2(err, 2)
    if case.get("limit"):
        sys.dont_write_bytecode = True  # Python leaves half a file where there is no room, and fails on it ever after
        resource.setrlimit(resource.RLIMIT_FSIZE, (case["limit"], case["limit"]))
    if case.get("counter"):
        watch(case["counter"], case.get("pause", 0.0), case.get("die_at", 0))
    try:
        if case.get("after"):
            wait_for(*case["after"])
        main([newest(case["arguments"][-1]) if part == "{id}" else part for part in case["arguments"]])
        sys.stdout.flush()
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - what a process would do with it
        traceback.print_exc()
        return 1
    finally:
        if case.get("ended"):
            Path(case["ended"]).write_text(str(time.monotonic()))
    return 0


def watch(counter: str, pause: float, die_at: int) -> None:
    """Count forward passes in a file that several processes may write."""
    real, file, own = Member.logits, os.open(counter, os.O_WRONLY | os.O_APPEND | os.O_CREAT), []

    def logits(self: Member, images: Any, size: Any = None) -> Any:
        own.append(1)
        if len(own) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(file, b"x")
        time.sleep(pause)
        return real(self, images, size)

    Member.logits = logits  # type: ignore[method-assign]


def wait_for(file: str, size: int) -> None:
    """Until a file has so many bytes."""
    end = time.monotonic() + 60
    while not (os.path.exists(file) and os.path.getsize(file) >= size):
        assert time.monotonic() < end, f"{file} never had {size} bytes"
        time.sleep(0.005)


def newest(home: str) -> str:
    """The id of the newest run of a home folder."""
    with closing(sqlite3.connect(Path(home) / "results.sqlite")) as table:
        return table.execute("SELECT id FROM runs ORDER BY created DESC LIMIT 1").fetchone()[0]


def answers(cases: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    """The same from outside, of cases that run at the same time."""
    begun = []
    for case in cases:
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            os._exit(child(case, out_end, err_end))
        os.close(out_end), os.close(err_end)
        begun.append((pid, out, err))
    found = []
    for pid, out, err in begun:
        with os.fdopen(out) as stdout, os.fdopen(err) as stderr:
            printed, said = stdout.read(), stderr.read()
        found.append((os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), printed, said))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)  # threads do not survive a fork
    database.PATIENCE_S = 0.05
    with tiny_registered():
        for registry in vars(contracts).values():  # loaded here for the same reason
            if isinstance(registry, Registry):
                registry.names()
        cases = json.load(sys.stdin)
        print(json.dumps([answers(case) if isinstance(case, list) else answers([case])[0] for case in cases]))
