"""Speeds as ratios within one run: `python tests/benchmarks/run.py [lerp sweep frame layers file calibration]`. Not
part of the tests.

Absolute times depend on the machine and on what else it does; a ratio of two things measured in turn depends on them
less.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from layer_profiles import bench_layers  # noqa: E402

from fusionlib.checkpoints.writer import save_tensors  # noqa: E402
from fusionlib.studio import Options, Selection, Studio  # noqa: E402


def paired(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Median seconds of both, measured in turn, and the median of the ratios pair by pair."""
    seconds: list[tuple[float, float]] = []
    for call in (ours, theirs):
        call()
    for _ in range(rounds):
        pair = []
        for call in (ours, theirs):
            start = time.perf_counter()
            call()
            pair.append(time.perf_counter() - start)
        seconds.append((pair[0], pair[1]))
    return median(a for a, _ in seconds), median(b for _, b in seconds), median(a / b for a, b in seconds)


def bench_lerp(elements: int = 61_000_000) -> None:
    """Merging two flat buffers against copying one of them, and against reading both and writing one (three
    streams).
    """
    a, b, out = torch.randn(elements), torch.randn(elements), torch.zeros(elements)
    ours, copy, ratio = paired(lambda: torch.lerp(a, b, 0.3, out=out), lambda: out.copy_(a), 15)
    print(
        f"lerp   {elements / 1e6:.0f} M float32: {1000 * ours:.1f} ms, plain copy {1000 * copy:.1f} ms: {ratio:.2f} x"
        " the copy (aim 1.2)"
    )
    _, _, floor = paired(lambda: torch.lerp(a, b, 0.3, out=out), lambda: torch.add(a, b, out=out), 15)
    print(f"       {floor:.2f} x a plain addition of both, the cheapest pass that reads two buffers and writes one")


def demo_studio(home: str) -> tuple[Studio, Selection]:
    """A studio with the bundled demo and its recommended pair."""
    studio = Studio(Options(home=Path(home)))
    pair = studio.workspace.demo_pair()
    if pair is None:
        sys.exit("the bundled demo is missing: assets/demo")
    return studio, Selection(pair[0], pair[1], "streets clear", "val")


def bench_sweep(pictures: int = 8, points: int = 21) -> None:
    """A sweep with all its metrics against as many bare forward passes of the same network on the same pictures."""
    with tempfile.TemporaryDirectory() as home:
        studio, selection = demo_studio(home)
        a, b = (studio.workspace.get(name).checkpoint.path for name in (selection.a, selection.b))  # type: ignore[union-attr]
        cache = studio.workspace.open_pictures(f"streets:clear:{pictures}", "val")
        images = [cache.load(index).image[None] for index in range(pictures)]
        network = studio.views.sweep_files(a, b, lambda: cache, "average").view.new_blend().network
        extra = 2  # A and B alone are two more points of every sweep
        ratios = []
        for _ in range(3):
            start = time.perf_counter()
            studio.worker.run(lambda: [network.logits(image) for _ in range(points + extra) for image in images])
            bare = time.perf_counter() - start
            start = time.perf_counter()
            studio.views.sweep_files(a, b, lambda: cache, "average").measure(1 / (points - 1), fresh=True)
            ratios.append((time.perf_counter() - start) / bare)
        print(
            f"sweep  {points} points and both ends on {pictures} pictures of 512x256: {median(ratios):.2f} x the bare"
            f" forward passes (aim 1.10), each of {1000 * bare / (points + extra) / pictures:.1f} ms"
        )


def bench_frame(frames: int = 40) -> None:
    """A frame over HTTP (merge, forward, masks, figures, PNG, transfer) against the bare forward pass."""
    import uvicorn
    from starlette.applications import Starlette

    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"FUSION_HOME": home, "FUSION_ARGS": ""}
        from pages.widgets.routes import live_routes
        from pages.widgets.server import studio as shared

        studio = shared()
        pair = studio.workspace.demo_pair()
        assert pair is not None
        view = studio.view(Selection(pair[0], pair[1], "streets clear", "val"))
        session = studio.live.open()
        key = session.key
        studio.live.grant(session, view)
        server = uvicorn.Server(uvicorn.Config(Starlette(routes=live_routes()), port=8677, log_level="error"))
        threading.Thread(target=server.run, daemon=True).start()
        while not server.started:
            time.sleep(0.05)
        connection = http.client.HTTPConnection("127.0.0.1", 8677)
        alphas = iter(np.linspace(0.001, 0.999, frames + 1))
        assert view.pictures is not None
        image, network = view.pictures.load(0).image[None], view.new_blend().network

        def frame() -> None:
            connection.request(
                "GET", f"/live/{key}/{view.id}/frame/0?alpha={next(alphas):.4f}&gen={time.time_ns() // 1000}"
            )
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, body

        ours, bare, _ = paired(frame, lambda: studio.worker.run(lambda: network.logits(image)), frames)
        print(
            f"frame  over the route {1000 * ours:.1f} ms, bare forward {1000 * bare:.1f} ms: forward +"
            f" {1000 * (ours - bare):.1f} ms (aim + 40), {1 / ours:.1f} frames a second"
        )
        server.should_exit = True


def bench_calibration(rounds: int = 40) -> None:
    """What calibration adds to confusion and loss, and all three to a forward pass, on one thread and on all, for the
    demo's networks; passes with and without it take turns.
    """
    from fusionlib.contracts import MEASURES
    from fusionlib.measures.observation import Observation

    with tempfile.TemporaryDirectory() as home:
        studio, selection = demo_studio(home)
        view = studio.view(selection)
        network, sample = view.new_blend().network, view.need_pictures().load(0)
        assert sample.truth is not None
        truth, classes = torch.from_numpy(sample.truth)[None], view.space.count
        names = ("confusion", "loss", "calibration")
        states = {name: MEASURES.get(name).init(classes, studio.device) for name in names}
        threads = torch.get_num_threads()
        for count in sorted({1, threads}):
            torch.set_num_threads(count)
            spans: dict[int, list[float]] = {0: [], 2: [], 3: []}
            with torch.inference_mode():
                for turn in range(2 * rounds + 6):
                    clock = [time.perf_counter()]
                    observation = Observation(network.logits(sample.image[None]), truth)
                    clock.append(time.perf_counter())
                    asked = 2 + turn % 2
                    for name in names[:asked]:
                        MEASURES.get(name).update(states[name], observation)
                    clock.append(time.perf_counter())
                    spans[0].append(clock[1] - clock[0])
                    spans[asked].append(clock[2] - clock[1])
            forward, two, three = (1000 * median(spans[number][3:]) for number in (0, 2, 3))
            print(
                f"calibration  {count} thread(s), {classes} classes at {sample.image.shape[1]}x{sample.image.shape[0]}:"
                f" forward {forward:.1f} ms, confusion and loss {two:.1f} ms, with calibration {three:.1f} ms:"
                f" {(three - two) / forward:.1%} of the forward pass for it (aim below 5 %)"
            )
        torch.set_num_threads(threads)


_NAIVE = """
import sys, torch
from safetensors.torch import load_file, save_file
a, b = load_file(sys.argv[1]), load_file(sys.argv[2])
save_file({name: 0.25 * a[name] + 0.75 * b[name] for name in a}, sys.argv[3])
"""
_OURS = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from fusionlib.checkpoints.reader import open_checkpoints
from fusionlib.merging.stream import stream_merge
stream_merge(open_checkpoints(sys.argv[1:3]), (0.25, 0.75), "average", Path(sys.argv[3]), {{}})
"""


def bench_file(megabytes: int = 900) -> None:
    """Merging two large files against loading both, adding and saving; peak anonymous memory of both processes."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_TMP")) as folder:
        paths = [Path(folder) / f"{name}.safetensors" for name in ("a", "b", "naive", "ours")]
        for seed, path in enumerate(paths[:2]):
            torch.manual_seed(seed)
            save_tensors(
                path, {f"layer{index:02d}.weight": torch.randn(megabytes * 250_000 // 18) for index in range(18)}, {}
            )
        results: dict[str, list[tuple[float, float]]] = {"naive": [], "ours": []}
        for _ in range(3):
            for name, code, out in (("naive", _NAIVE, paths[2]), ("ours", _OURS.format(root=str(ROOT)), paths[3])):
                out.unlink(missing_ok=True)
                results[name].append(_run_watched([sys.executable, "-c", code, *map(str, paths[:2]), str(out)]))
        ratio = median(ours[0] / naive[0] for ours, naive in zip(results["ours"], results["naive"], strict=True))
        for name, rows in results.items():
            seconds, peak = median(row[0] for row in rows), max(row[1] for row in rows)
            print(f"file   {name}: {seconds:.1f} s, peak anonymous memory {peak:.0f} MB")
        print(f"       two files of {megabytes} MB: {ratio:.2f} x loading, adding and saving (aim below 1 and 300 MB)")


def _run_watched(command: list[str]) -> tuple[float, float]:
    start, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command)
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = max(
                peak, next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) / 1024
            )
        except (OSError, StopIteration):
            pass
        time.sleep(0.005)
    if process.returncode:
        sys.exit(f"{command[:2]} failed")
    return time.perf_counter() - start, peak


def resnet_like(elements: int, tensors: int) -> dict[str, torch.Tensor]:
    """A table of many tensors of uneven sizes, small ones among them, as real networks have."""
    sizes = np.random.default_rng(0).lognormal(0, 1.8, tensors)
    sizes = np.maximum(1, sizes / sizes.sum() * elements).astype(int)
    return {f"layer{number:03d}.weight": torch.randn(int(size)) * 0.02 for number, size in enumerate(sizes)}


def bench_cosine(elements: int = 61_000_000, tensors: int = 320) -> None:
    """Whole-network and per-layer cosine of two files against reading their bytes once; and the snippet of the paper's
    listing.
    """
    from fusionlib.checkpoints.reader import open_checkpoints
    from fusionlib.diagnostics.survey import survey

    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_TMP")) as folder:
        paths = [Path(folder) / f"{name}.safetensors" for name in "ab"]
        for path in paths:
            save_tensors(path, resnet_like(elements, tensors), {})

        def ours() -> None:
            found = survey(open_checkpoints(paths))
            found.pair(0, 1)
            for numbers in found.members.values():
                found.pair(0, 1, tensors=numbers)

        block = bytearray(1 << 20)

        def read() -> None:
            for path in paths:
                with path.open("rb", buffering=0) as stream:
                    while stream.readinto(block):
                        pass

        mine, bytes_once, ratio = paired(ours, read, 7)
        print(
            f"cosine {elements / 1e6:.0f} M parameters in {tensors} tensors, twice: {1000 * mine:.0f} ms for all and"
            f" every layer, reading the bytes once {1000 * bytes_once:.0f} ms: {ratio:.2f} x (aim 2)"
        )
    small, count = elements // 20, tensors // 4
    a, b = resnet_like(small, count), resnet_like(small, count)
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_TMP")) as folder:
        paths = [Path(folder) / f"{name}.safetensors" for name in "ab"]
        for path, table in zip(paths, (a, b), strict=True):
            save_tensors(path, table, {})
        mine, listing, ratio = paired(lambda: survey(open_checkpoints(paths)), lambda: listing_cosine(a, b), 3)
    print(
        f"       a twentieth of it in {count} tensors: {1000 * mine:.1f} ms, files included; the listing's way"
        f" {1000 * listing:.0f} ms: {1 / ratio:.0f} times as long"
    )


def listing_cosine(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> torch.Tensor:
    """The way of Weight Fusion's Listing 3: both vectors grow tensor by tensor, and the cosine is formed each time."""
    grown = [torch.empty(0), torch.empty(0)]
    similarity = torch.zeros(())
    for name in a:
        grown = [torch.cat([vector, table[name].flatten()]) for vector, table in zip(grown, (a, b), strict=True)]
        similarity = torch.nn.functional.cosine_similarity(*grown, dim=0)
    return similarity


BENCHMARKS = {
    "lerp": bench_lerp,
    "cosine": bench_cosine,
    "sweep": bench_sweep,
    "frame": bench_frame,
    "layers": lambda: bench_layers(paired),
    "file": bench_file,
    "calibration": bench_calibration,
}

if __name__ == "__main__":
    for chosen in sys.argv[1:] or BENCHMARKS:
        BENCHMARKS[chosen]()
