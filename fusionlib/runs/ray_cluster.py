"""Being part of a Ray cluster: a running one, or one of this machine alone. Nothing of Ray is loaded before."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fusionlib.errors import UsageError, clipped, shown

CONNECT_S = 10.0
"""How long a cluster may take to answer."""

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
_THIS_MACHINE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # named after systems where it is so anyway: listen on the loopback alone
    "RAY_AUTH_MODE": "token",
}
_lock = threading.Lock()
_joined: list[str | None] = []


def need_ray() -> None:
    """Raises `UsageError` where Ray is not installed."""
    spec = find_spec("ray")
    if spec is None or spec.origin is None:  # a folder of that name is no package
        raise UsageError(
            "--engine ray without Ray",
            "the package ray",
            'Install it with `pip install -r requirements.txt -e ".[ray]"`, or leave --engine out',
        )


def ray() -> Any:
    """The package, loaded when it is asked for."""
    return import_module("ray")


def join(address: str | None, gpus: int) -> None:
    """Be part of the cluster at `address`; of None start one of this machine alone, that nobody else reaches.

    Raises `UsageError` where none answers, and for another one than before: a process is in one as long as it lives.
    """
    with _lock:
        if _joined:
            if _joined != [address]:
                raise UsageError(
                    f"--address {shown(address)} in a process that is part of {shown(_joined[0])}",
                    "one cluster for all of a process",
                    "Use another process",
                )
            return
        loaded = sys.modules.get("ray")
        if loaded is not None and loaded.is_initialized():  # by whoever uses this as a library
            return
        os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
        if address is None and loaded is not None:
            raise UsageError(
                "Ray was loaded by this process before it was asked for",
                "to be the first to load it: a cluster then listens to this machine alone",
                "Import ray later, or call ray.init() before",
            )
        logging.getLogger("ray").setLevel(logging.CRITICAL)  # what it warns of stands beside answers of one line
        if address is None:
            _start(gpus)
        else:
            _enter(address)
        _joined.append(address)


def room(gpu: bool, threads: int) -> int:
    """Workers of one GPU, or of so many cores, that the machines of the cluster have room for."""
    each = [node["Resources"] for node in ray().nodes() if node["Alive"]]
    if gpu:
        return sum(int(one.get("GPU", 0)) for one in each)
    return sum(int(one.get("CPU", 0)) // threads for one in each)


def _enter(address: str) -> None:
    try:
        if address != "auto":
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()  # Ray waits for minutes
        ray().init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        raise UsageError(
            f"No Ray cluster answers at {shown(address)}: {clipped(str(error), 200)}",
            "the address of a running cluster as host:port, or auto",
            "Start one with `ray start --head`, or leave --address out",
        ) from error


def _start(gpus: int) -> None:
    """Sockets and logs lie in a folder that goes with the process."""
    os.environ.update(_THIS_MACHINE)
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray leaves one in the user's folder
    package = ray()
    short = "/tmp" if os.name == "posix" else None  # the path of a socket has a hundred characters
    folder = tempfile.mkdtemp(prefix="fusion-ray-", dir=short)

    def end() -> None:
        package.shutdown()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)  # runs before Ray's own, which was registered earlier
    how = {"num_gpus": gpus, "include_dashboard": False, "log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        _by_a_lasting_thread(lambda: package.init(address="local", _temp_dir=folder, **how))
    except Exception as error:
        raise UsageError(
            f"Ray cannot start: {type(error).__name__}: {clipped(str(error), 200)}",
            "a machine that runs Ray",
            "Leave --engine out",
        ) from error


def _by_a_lasting_thread(call: Callable[[], Any]) -> None:
    """Call it in a thread that lives as long as the process: Linux ends Ray's processes with the thread that started
    them, not with its process.
    """
    called: Future[None] = Future()

    def stay() -> None:
        try:
            call()
            called.set_result(None)
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            called.set_exception(error)
        else:
            threading.Event().wait()

    threading.Thread(target=stay, name="ray-cluster", daemon=True).start()
    called.result()
