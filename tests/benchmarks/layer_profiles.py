"""Dragging on the Layers page: frames per second, what recomputing only the changed slices and starting there save."""

from __future__ import annotations

import http.client
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from statistics import median

import torch

Paired = Callable[[Callable[[], object], Callable[[], object], int], tuple[float, float, float]]


def bench_layers(paired: Paired, frames: int = 40) -> None:
    """A frame while one block is dragged against a frame while alpha is; then the merge alone, on 61 M parameters."""
    import uvicorn
    from starlette.applications import Starlette

    from fusionlib.studio import Selection

    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"FUSION_HOME": home, "FUSION_ARGS": ""}
        from pages.widgets.routes import live_routes
        from pages.widgets.server import studio as shared

        studio = shared()
        pair = studio.workspace.demo_pair() or sys.exit("the bundled demo is missing: assets/demo")
        view = studio.view(Selection(pair[0], pair[1], "streets clear", "val"))
        session = studio.live.open()
        key = session.key
        studio.live.grant(session, view)
        server = uvicorn.Server(uvicorn.Config(Starlette(routes=live_routes()), port=8678, log_level="error"))
        threading.Thread(target=server.run, daemon=True).start()
        while not server.started:
            time.sleep(0.05)
        connection = http.client.HTTPConnection("127.0.0.1", 8678)
        count = len(view.units["levels"]["block"]["names"])
        merges: list[float] = []
        steps = iter(range(1, 10_000))

        def ask(method: str, query: str, body: str | None = None) -> None:
            connection.request(method, f"/live/{key}/{view.id}/frame/0?{query}gen={time.time_ns() // 1000}", body)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, content
            merges.append(json.loads(answer.headers["X-Fusion"])["ms"]["merge"])

        def drag_block() -> None:
            step = next(steps)
            weights = [[0.5, 0.5]] * count
            share = step % 50 / 50
            weights[step // 5 * 7 % count] = [share, 1 - share]  # five frames a block, blocks from all over the network
            ask("POST", "", json.dumps({"level": "block", "weights": weights}))

        block, alpha, _ = paired(drag_block, lambda: ask("GET", f"alpha={next(steps) / 10_000:.4f}&"), frames)
        for _ in range(2):
            drag_block()  # after an alpha the buffer holds no profile: only the second profile is a step of a drag
        del merges[:]
        for _ in range(frames):
            drag_block()
        print(
            f"layers a frame over the route {1000 * block:.1f} ms, {1 / block:.1f} frames a second while a block is"
            f" dragged ({1000 * alpha:.1f} ms while alpha is); merging takes {median(merges):.2f} ms of it"
        )
        server.should_exit = True
        _bench_forward_start(view, paired)
    _bench_slices(paired)


def _bench_forward_start(view, paired: Paired, rounds: int = 7) -> None:
    """Merge and forward pass while a block is dragged: starting at that block against starting at the picture, block by
    block.
    """
    from fusionlib.merging.profile import LayerProfile

    blend, image, turn = view.new_blend(), view.need_pictures().load(0).image[None], iter(range(10**6))

    def drag(block: str, resume: bool) -> None:
        share = next(turn) % 97 / 97
        blend.set(LayerProfile(weights={block: (share, 1 - share)}, rest=(0.5, 0.5)), lambda call: call())
        blend.network.logits(image, None, resume)

    spans, ratios = [], []
    for block in dict.fromkeys(entry.block for entry in view.arena.layout.entries):
        resumed, whole, ratio = paired(
            lambda block=block: drag(block, True), lambda block=block: drag(block, False), rounds
        )
        spans.append((resumed, whole))
        ratios.append(ratio)
    resumed, whole = (sum(column) / len(spans) for column in zip(*spans, strict=True))
    print(
        f"       started at the changed block {1000 * resumed:.1f} ms on average over {len(spans)} blocks, at the"
        f" picture {1000 * whole:.1f} ms; ratio {sum(ratios) / len(ratios):.2f} (first block {ratios[0]:.2f}, last"
        f" {ratios[-1]:.2f}); states take {blend.network.trail.bytes / 2**20:.0f} MB"
    )


def _bench_slices(paired: Paired, elements: int = 61_000_000, tensors: int = 320) -> None:
    """One changed tensor of a profile against the whole profile merged anew."""
    from fusionlib.checkpoints.arena import Arena
    from fusionlib.checkpoints.layout import Layout
    from fusionlib.checkpoints.reader import TensorInfo
    from fusionlib.merging.profile import LayerProfile, apply_profile

    size = elements // tensors
    layout = Layout.of(
        {
            f"block{number}.weight": TensorInfo(f"block{number}.weight", (size,), torch.float32)
            for number in range(tensors)
        }
    )
    arena = Arena(layout, torch.randn(2, layout.size), ({}, {}), ("a", "b"), ("0" * 64, "1" * 64))
    out, turn = torch.zeros(layout.size), iter(range(10_000))
    held: list[LayerProfile] = []

    def profile() -> LayerProfile:
        share = next(turn) % 97 / 100
        return LayerProfile(
            weights={f"block{number}": (share, 1 - share) if number == 7 else (0.5, 0.5) for number in range(tensors)}
        )

    def step() -> None:
        new = profile()
        apply_profile(arena, new, out, held[-1] if held else None)
        held[:] = [new]

    changed, whole, ratio = paired(step, lambda: apply_profile(arena, profile(), out), 15)
    print(
        f"       {elements / 1e6:.0f} M parameters, one of {tensors} blocks changed: {1000 * changed:.1f} ms; "
        f"all anew {1000 * whole:.1f} ms: {1 / ratio:.0f} times as long"
    )
