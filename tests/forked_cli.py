"""Command lines in processes of their own that share one start: `python forked_cli.py`, cases as JSON on standard
input.

A case has `arguments`, and may have `limit` (no file may grow beyond so many bytes, which fails as a full disk does)
and `stdout` (a device to print to). The answer is a list of `[exit status, standard output, standard error]`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from typing import Any

import torch
from helpers import tiny_registered

import fusionlib.cli.merge_recipes
import fusionlib.lab.loop
import fusionlib.studio  # noqa: F401 - what verbs load when they run: once here, and not in every child
from fusionlib import contracts
from fusionlib.cli import main
from fusionlib.registry import Registry
from fusionlib.runs import database


def child(case: dict[str, Any], out: int, err: int) -> int:
    """One command line; its exit status."""
    os.dup2(os.open(case["stdout"], os.O_WRONLY) if case.get("stdout") else out, 1)
    os.dup2(err, 2)
    if case.get("limit"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (case["limit"], case["limit"]))
    try:
        main(case["arguments"])
        sys.stdout.flush()
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - what a process would do with it
        traceback.print_exc()
        return 1
    return 0


def answer(case: dict[str, Any]) -> tuple[int, str, str]:
    """The same from outside."""
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os._exit(child(case, out_end, err_end))
    os.close(out_end), os.close(err_end)
    with os.fdopen(out) as stdout, os.fdopen(err) as stderr:
        printed, said = stdout.read(), stderr.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), printed, said


if __name__ == "__main__":
    torch.set_num_threads(1)  # threads do not survive a fork
    database.PATIENCE_S = 0.05
    with tiny_registered():
        for registry in vars(contracts).values():  # loaded here for the same reason
            if isinstance(registry, Registry):
                registry.names()
        print(json.dumps([answer(case) for case in json.load(sys.stdin)]))
