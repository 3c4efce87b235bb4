"""The app as a process of its own, a browser's side of it without a browser, and a proxy that cuts the beginning of an
address.
"""

from __future__ import annotations

import http.client
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers import Answer
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parents[1]


SMALL = ("streets:clear:3@val", "streets:rain:2")
"""Data of so few pictures that all is measured at once."""


@dataclass
class App:
    """A running server; `base` is what its addresses begin with."""

    port: int
    base: str
    process: subprocess.Popen
    log: Path

    @property
    def address(self) -> str:
        """Where its first page is."""
        return f"http://127.0.0.1:{self.port}{self.base}/"

    @property
    def home(self) -> Path:
        """Where it keeps what it finds out."""
        return self.log.parent / "home"

    def ask(
        self,
        path: str,
        host: str | None = None,
        method: str = "GET",
        body: object = None,
        to: str = "127.0.0.1",
        **headers: str,
    ) -> Answer:
        """One request; `host` is what the browser believes it talks to, `to` where it really goes."""
        connection = http.client.HTTPConnection(to, self.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, f"{self.base}{path}", body, {"Host": host or f"127.0.0.1:{self.port}", **named})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def websocket(self, host: str | None = None, origin: str | None = "", **headers: str) -> ClientConnection:
        """The handshake of a page; an origin of "" is the page's own. Raises `InvalidStatus` where it is refused."""
        host = host or f"127.0.0.1:{self.port}"
        with socket.socket() as free:
            free.connect(("127.0.0.1", self.port))
            return connect(
                f"ws://{host}{self.base}/_stcore/stream",
                sock=free.dup(),
                origin=f"http://{host}" if origin == "" else origin,
                subprotocols=["streamlit"],
                additional_headers=headers,
                max_size=None,
                open_timeout=30,
                close_timeout=1,
            )  # type: ignore[arg-type, list-item]

    def resident_mb(self, peak: bool = False) -> float:
        """Megabytes in memory, now or at most so far."""
        field = "VmHWM:" if peak else "VmRSS:"
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def session_of(socket: ClientConnection) -> str:
    """The session that a page gets: it asks for a first run of the script."""
    run = BackMsg()
    run.rerun_script.query_string = ""
    socket.send(run.SerializeToString())
    while True:
        message = ForwardMsg.FromString(socket.recv(timeout=60))  # type: ignore[arg-type]
        if message.WhichOneof("type") == "new_session":
            return message.new_session.initialize.session_id


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def outside_address() -> str | None:
    """The address of this machine under which others reach it; None where there is none."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent
        address = probe.getsockname()[0]
        return None if address.startswith("127.") else address
    return None


@contextmanager
def running_app(
    folder: Path,
    *arguments: str,
    server: tuple[str, ...] = (),
    base: str = "",
    environment: Mapping[str, str] | None = None,
    auto: bool = False,
) -> Iterator[App]:
    """The app as the README starts it, on an empty home folder; `server` are Streamlit's own options.

    Nothing is measured by itself unless `auto` is set.
    """
    port, log = free_port(), folder / "log"
    variables = {**os.environ, "FUSION_HOME": str(folder / "home"), "FUSION_TOUR": "0", **(environment or {})}
    variables.pop("FUSION_ARGS", None)
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "app.py",
        "--server.port",
        str(port),
        "--server.headless",
        "true",
        *(("--server.baseUrlPath", base) if base else ()),
        *server,
        "--",
        *(() if auto else ("--no-auto",)),
        *arguments,
    ]
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=out, stderr=subprocess.STDOUT)
        app = App(port, base, process, log)
        try:
            _wait_for(app)
            yield app
        finally:
            process.terminate()
            process.wait(20)
    assert "Traceback" not in log.read_text()


def _wait_for(app: App) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and app.process.poll() is None:
        with suppress(OSError):
            if app.ask("/_stcore/health").status == 200:
                return
        time.sleep(0.1)
    pytest.fail(f"the app did not start:\n{app.log.read_text()}")


@contextmanager
def cutting_proxy(port: int, prefix: str) -> Iterator[int]:
    """A reverse proxy before `port` that takes `prefix` off every path, websockets included. Yields its own port."""

    class Passing(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line, *head = iter(self.rfile.readline, b"\r\n")
            method, path, version = line.split()
            if not path.startswith(f"{prefix}/".encode()):
                self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            if not any(
                field.lower().startswith(b"upgrade:") for field in head
            ):  # one request a connection is enough here
                head = [
                    b"Connection: close\r\n",
                    *(field for field in head if not field.lower().startswith(b"connection:")),
                ]
            with socket.create_connection(("127.0.0.1", port)) as behind:
                behind.sendall(
                    b" ".join((method, path.removeprefix(prefix.encode()), version))
                    + b"\r\n"
                    + b"".join(head)
                    + b"\r\n"
                )
                threading.Thread(target=_pass_on, args=(self.rfile.read1, behind), daemon=True).start()
                _pass_on(behind.recv, self.connection)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Passing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def _pass_on(receive, target: socket.socket) -> None:
    with suppress(OSError, ValueError):
        while part := receive(1 << 16):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
