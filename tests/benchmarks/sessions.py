"""Many sessions that scrub at once: `python tests/benchmarks/sessions.py [--sessions 20] [--seconds 120]`.

Starts the app as the README does, opens sessions as a browser does and has each drag alpha, always with the next wish
on its way. One session alone comes first, so that everything can be read as a ratio within one run. Afterwards every
frame is made again here, without a server, and compared.
"""

from __future__ import annotations

import argparse
import http.client
import io
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
from PIL import Image
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from fusionlib.studio import Options, Selection, Studio  # noqa: E402

SOURCE, SPLIT, PICTURES = "streets clear", "val", 24
_SEEDS = itertools.count()
_BASE = re.compile(rb"live/[\w-]{32}/[0-9a-f]{24}")


@dataclass
class Server:
    """The app in a process of its own."""

    port: int
    process: subprocess.Popen

    @property
    def megabytes(self) -> float:
        """What it keeps in memory."""
        return self._memory("VmRSS")

    @property
    def peak(self) -> float:
        """The most that it has kept."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    @contextmanager
    def session(self, query: str = "") -> Iterator[str]:
        """Open the Merge page over its websocket; the address of the live routes that this session was granted."""
        address = f"127.0.0.1:{self.port}"
        with connect(
            f"ws://{address}/_stcore/stream",
            subprotocols=["streamlit"],
            origin=f"http://{address}",
            max_size=None,
            ping_interval=None,
            close_timeout=0.1,
        ) as page:  # it has not read all that it was sent
            wish = BackMsg()
            wish.rerun_script.query_string = query
            page.send(wish.SerializeToString())
            while not (found := _BASE.search(page.recv(timeout=120))):  # type: ignore[arg-type]
                pass
            yield "/" + found[0].decode()  # pages name it relative to where they are


@contextmanager
def serving(home: Path, arguments: Sequence[str] = ()) -> Iterator[Server]:
    """`streamlit run app.py` on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
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
        "--",
        "--home",
        str(home),
        "--device",
        "cpu",
        *arguments,
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FUSION_")}
    with (home.parent / f"{home.name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(f"http://127.0.0.1:{port}/_stcore/health", process)
            yield Server(port, process)
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(url: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the app did not start")


@dataclass
class Scrubber:
    """One session: it drags alpha over a picture, then over the next one.

    `frames` are (picture, alpha, seconds, PNG).
    """

    port: int
    base: str
    number: int
    frames: list[tuple[int, float, float, bytes]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def run(self, until: float, pictures: int = PICTURES, stroke: int = 12) -> None:
        """Ask for one frame after the other until the clock says so.

        No two wishes are the same, or the server would know the answer.
        """
        draw = np.random.default_rng(next(_SEEDS))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        while time.monotonic() < until:
            alpha, index = float(round(draw.random(), 6)), (self.number + len(self.frames) // stroke) % pictures
            begun = time.monotonic()
            connection.request("GET", f"{self.base}/frame/{index}?alpha={alpha}&gen={time.time_ns() // 1000}")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                self.problems.append(f"status {answer.status}: {body[:100]!r}")
                continue
            if json.loads(answer.headers["X-Fusion"])["alpha"] != alpha:
                self.problems.append(f"a frame that says it is of another alpha than {alpha}")
            self.frames.append((index, alpha, time.monotonic() - begun, body))
        connection.close()


@dataclass
class Run:
    """What sessions got within some seconds; `memory` are megabytes of the server, once a second."""

    scrubbers: list[Scrubber]
    seconds: float
    memory: list[float]

    @property
    def waits(self) -> list[float]:
        """Seconds of every frame."""
        return [seconds for one in self.scrubbers for _, _, seconds, _ in one.frames]

    @property
    def counts(self) -> list[int]:
        """Frames of each session."""
        return [len(one.frames) for one in self.scrubbers]

    @property
    def p95(self) -> float:
        """Seconds that 95 of 100 frames keep to."""
        return quantiles(self.waits, n=20)[-1]

    @property
    def pace(self) -> float:
        """Frames a second of all sessions."""
        return sum(self.counts) / self.seconds

    def line(self, what: str) -> str:
        """In words."""
        return (
            f"{what}: {self.pace:.1f} frames a second, p50 {median(self.waits):.3f} s, p95 {self.p95:.3f} s "
            f"({self.p95 / median(self.waits):.2f} x), longest {max(self.waits):.2f} s, frames a session "
            f"{min(self.counts)} to {max(self.counts)}"
        )


def scrub(server: Server, bases: Sequence[str], seconds: float) -> Run:
    """All sessions at once for so long."""
    begun = time.monotonic()
    scrubbers = [Scrubber(server.port, base, number) for number, base in enumerate(bases)]
    threads = [threading.Thread(target=one.run, args=(begun + seconds,)) for one in scrubbers]
    for thread in threads:
        thread.start()
    memory = []
    while any(thread.is_alive() for thread in threads):
        memory.append(server.megabytes)
        next(thread for thread in threads if thread.is_alive() or thread is threads[-1]).join(1)
    return Run(scrubbers, time.monotonic() - begun, memory)


def wrong_frames(runs: Sequence[Run], home: Path) -> list[str]:
    """Frames that show something else than the same view gives without a server, one after the other."""
    studio = Studio(Options(home=home, device="cpu"))
    view = studio.view(Selection(*studio.workspace.demo_pair(), SOURCE, SPLIT))  # type: ignore[misc]
    wrong = []
    for one in (one for run in runs for one in run.scrubbers):
        for index, alpha, _, png in one.frames:
            expected = view.frame(index, alpha).png
            if png != expected and _share_of_unlike(png, expected) > 1e-4:  # sums of another order may turn a tie
                wrong.append(f"session {one.number}: picture {index} at alpha {alpha}")
    studio.store.close()
    return wrong


def _share_of_unlike(one: bytes, other: bytes) -> float:
    first, second = (np.asarray(Image.open(io.BytesIO(png)))[..., 0] for png in (one, other))
    return 1.0 if first.shape != second.shape else float((first != second).mean())


def growth(memory: Sequence[float]) -> tuple[float, float]:
    """Megabytes in the middle and at the end of a run, each the median of a tenth of it."""
    tenth = max(1, len(memory) // 10)
    middle = len(memory) // 2
    return median(memory[middle : middle + tenth]), median(memory[-tenth:])


def main(arguments: Any = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "home") as server, ExitStack() as pages:
        bases = [pages.enter_context(server.session()) for _ in range(given.sessions)]
        scrub(server, bases[:1], 2)  # the first frames load what later ones find loaded
        alone = scrub(server, bases[:1], min(20, given.seconds))
        many = scrub(server, bases, given.seconds)
        print(alone.line("one session"))
        print(many.line(f"{given.sessions} sessions"))
        print(f"throughput {many.pace / alone.pace:.2f} x one session's")
        middle, end = growth(many.memory)
        print(
            f"memory {middle:.0f} MB in the middle, {end:.0f} MB at the end of the run"
            f" ({100 * (end / middle - 1):+.1f} %)"
        )
        problems = [problem for run in (alone, many) for one in run.scrubbers for problem in one.problems]
        wrong = wrong_frames([alone, many], Path(folder) / "reference")
        print(f"{len(alone.waits) + len(many.waits)} frames, {len(wrong)} wrong, {len(problems)} refused")
        print(*wrong[:5], *problems[:5], sep="\n", end="")


if __name__ == "__main__":
    main()
