"""How torch's threads wait: a forward pass alone and beside a busy process. `python tests/benchmarks/threads.py`.

CPU and wall milliseconds of one ENet pass of 512x256, medians of rounds in turn: with the library's setting
(`GOMP_SPINCOUNT`, set when `fusionlib` is imported before torch) and with torch's own.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
PASSES, ROUNDS = 20, 3


def measure() -> None:
    """One process: passes in turn, printed as (wall, CPU) milliseconds each."""
    if os.environ.get("AS_TORCH_DOES"):
        importlib.import_module("torch")  # before fusionlib, whose setting then comes too late
    sys.path.insert(0, str(ROOT))
    from fusionlib.contracts import ARCHITECTURES

    torch = importlib.import_module("torch")
    network, image = ARCHITECTURES.get("enet").build(19).eval(), torch.rand(1, 3, 256, 512)
    times = []
    with torch.inference_mode():
        for number in range(PASSES + 3):
            wall, cpu = time.perf_counter(), time.process_time()
            network(image)
            if number >= 3:
                times.append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
    print(json.dumps(times))


def busy() -> None:
    """Another process that wants one core."""
    while True:
        sum(range(10_000))


def run(as_torch_does: bool) -> list[tuple[float, float]]:
    """The passes of a fresh process."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    if as_torch_does:
        environment["AS_TORCH_DOES"] = "1"
    done = subprocess.run(
        [sys.executable, __file__, "--one"], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Both settings alone, then both beside a busy process."""
    print(f"one ENet pass of 512x256 on {os.cpu_count()} cores: wall ms median (largest), CPU ms median (largest)")
    for beside in (False, True):
        other = multiprocessing.Process(target=busy, daemon=True)
        if beside:
            other.start()
        times: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for _ in range(ROUNDS):
            for as_torch_does in (False, True):
                times[as_torch_does] += run(as_torch_does)
        for as_torch_does, found in times.items():
            walls, cpus = zip(*found, strict=True)
            print(
                f"{'beside a busy process' if beside else 'alone':22}"
                f" {'as torch does' if as_torch_does else 'as fusionlib does':18} wall {median(walls):6.0f}"
                f" ({max(walls):5.0f})   CPU {median(cpus):6.0f} ({max(cpus):5.0f})"
            )
        if beside:
            other.kill()


if __name__ == "__main__":
    measure() if "--one" in sys.argv else main()
