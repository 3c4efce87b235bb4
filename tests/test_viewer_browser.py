"""The live viewer in a real Chromium, against a server of synthetic frames whose class borders move with alpha."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
).split()
WIDTH, HEIGHT, COUNT, LATENCY = 512, 256, 5, 0.03
CLASSES = [
    ("road", "#804080"), ("sidewalk", "#f423e8"), ("building", "#464646"), ("wall", "#66669c"), ("fence", "#be9999"), ("pole", "#999999"),
    ("traffic light", "#faaa1e"), ("traffic sign", "#dcdc00"), ("vegetation", "#6b8e23"), ("terrain", "#98fb98"), ("sky", "#4682b4"),
    ("person", "#dc143c"), ("rider", "#ff0000"), ("car", "#00008e"), ("truck", "#000046"), ("bus", "#003c64"), ("train", "#005064"),
    ("motorcycle", "#0000e6"), ("bicycle", "#770b20"),
]  # fmt: skip
ROAD, SIDEWALK, BUILDING, POLE, VEGETATION, SKY, PERSON, CAR = 0, 1, 2, 5, 8, 10, 11, 13


# --- the fake server: the routes of the contract, over scenes made by arithmetic ---


def scene(index: int, alpha: float) -> np.ndarray:
    """A street as a label map; every border depends on alpha, so that each alpha gives another picture. The truth is alpha 0.62."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    off = (alpha - 0.62) * 40
    skyline = 78 + 22 * np.sin(x / 37 + index) + 10 * np.sign(np.sin(x / 19 + 2 * index)) + 0.5 * off
    labels = np.full((HEIGHT, WIDTH), BUILDING, np.uint8)
    labels[y < skyline] = SKY
    labels[(y < 150 + 0.3 * off) & (y > 60 + 26 * np.cos(x / 23 - index)) & (np.abs(x - 420 - off) < 70)] = VEGETATION
    labels[y > 148 + 0.004 * np.abs(x - 256) + 0.1 * off] = SIDEWALK
    labels[(y > 150) & (np.abs(x - 256 - 0.4 * off) < (y - 138) * 1.9)] = ROAD
    for left, top, wide, high in ((120 + 17 * index, 150, 74, 46), (330, 144, 40, 26)):
        labels[(np.abs(x - left - off) < wide / 2) & (np.abs(y - top - high / 2) < high / 2)] = CAR
    for place in (60, 96, 470):
        labels[(np.abs(x - place - 0.6 * off) < 6) & (np.abs(y - 160) < 22)] = PERSON
    labels[(np.abs(x - 200 - 0.3 * off) < 2.5) & (y > 60) & (y < 170)] = POLE
    return labels


def truth(index: int) -> np.ndarray:
    labels = scene(index, 0.62)
    labels[HEIGHT - 14 :] = 255
    return labels


def photograph(index: int) -> np.ndarray:
    shades = np.array([int(color[i : i + 2], 16) for _, color in CLASSES for i in (1, 3, 5)]).reshape(-1, 3)
    grey = np.array([96, 140, 120, 0, 0, 70, 0, 0, 92, 0, 205, 80, 0, 60, 0, 0, 0, 0, 0])[:, None]
    base = (0.18 * shades + 0.8 * grey)[scene(index, 0.62)]
    noise = np.random.default_rng(index).normal(0, 9, (HEIGHT, WIDTH, 1))
    return np.clip(base + noise + np.linspace(14, -14, HEIGHT)[:, None, None], 0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def ious(labels: np.ndarray, target: np.ndarray) -> dict[str, float]:
    valid = target != 255
    scores = {}
    for label in np.unique(target[valid]):
        both = ((labels == label) & (target == label) & valid).sum()
        either = (((labels == label) | (target == label)) & valid).sum()
        scores[str(label)] = float(both / either)
    return scores


class Fake:
    """What the server remembers: requests under way, orders for the sweep, and the errors it is told to make."""

    def __init__(self) -> None:
        self.in_flight = {"a": 0, "m": 0, "b": 0}
        self.most = dict(self.in_flight)
        self.alphas: list[float] = []
        self.fail = False
        self.clear()

    def clear(self) -> None:
        self.points: dict[float, dict] = {}
        self.wanted: list[float] = []
        self.total = 0
        self.state = "idle"
        self.pace = 0.12

    async def frame(self, request: Request) -> Response:
        index, alpha = int(request.path_params["index"]), float(request.query_params["alpha"])
        pane = request.query_params["pane"]
        self.in_flight[pane] += 1
        self.most[pane] = max(self.most[pane], self.in_flight[pane])
        await asyncio.sleep(LATENCY)
        self.in_flight[pane] -= 1
        if pane == "m":
            self.alphas.append(alpha)
        if self.fail:
            return JSONResponse({"got": "a network that ran out of memory", "needs": "900 MB", "do": "close other programs"}, 500)
        labels, target = scene(index, alpha), truth(index)
        x = np.mgrid[0:HEIGHT, 0:WIDTH][1]
        confidence = np.clip(250 - 90 * (scene(index, alpha - 0.05) != labels) - 30 * np.sin(x / 30) ** 2, 0, 255)
        runner = np.where(labels == SKY, BUILDING, SKY)
        iou = ious(labels, target)
        scores = {
            "alpha": alpha,
            "miou": float(np.mean(list(iou.values()))),
            "pixel_accuracy": float((labels == target)[target != 255].mean()),
            "iou": iou,
            "ms": {"merge": 4.2, "forward": 24.5, "encode": 3.1},
        }
        body = png(np.dstack([labels, confidence, runner]).astype(np.uint8))
        return Response(body, media_type="image/png", headers={"X-Fusion": json.dumps(scores)})

    async def picture(self, request: Request) -> Response:
        return Response(png(photograph(int(request.path_params["index"]))), media_type="image/png")

    async def truth(self, request: Request) -> Response:
        return Response(png(truth(int(request.path_params["index"]))), media_type="image/png")

    async def sweep(self, request: Request) -> Response:
        if request.method == "POST":
            await self.order(await request.json())
        if request.method == "DELETE":
            self.wanted, self.state = [], "cancelled"
        best = max(self.points.values(), key=lambda point: point["miou"], default=None)
        return JSONResponse({
            "state": self.state, "message": None, "done": len(self.points), "total": self.total,
            "seconds_left": len(self.wanted) * self.pace if self.state == "running" else None,
            "points": list(self.points.values()), "best": best and {"alpha": best["alpha"], "miou": best["miou"]}, "images": 101,
        })  # fmt: skip

    async def order(self, body: dict) -> None:
        grid = [body["alpha"]] if "alpha" in body else np.arange(0, 1 + 1e-9, body["step"]).round(3).tolist()
        coarse = sorted(grid, key=lambda alpha: (round(alpha * 1000) % 500 != 0, round(alpha * 1000) % 250 != 0, alpha))
        self.wanted = [alpha for alpha in coarse if alpha not in self.points]
        self.total = len(self.points) + len(self.wanted)
        self.state = "running"
        asyncio.get_running_loop().create_task(self.work())

    async def work(self) -> None:
        while self.wanted:
            await asyncio.sleep(self.pace)
            if self.wanted:
                alpha = self.wanted.pop(0)
                self.points[alpha] = measured(alpha)
        if self.state == "running":
            self.state = "done"

    async def control(self, request: Request) -> Response:
        """The test's own door: switch errors on and off, read the counters."""
        options = request.query_params
        self.fail = options.get("fail", "0") == "1"
        self.pace = float(options.get("pace", self.pace))
        if "clear" in options:
            self.clear()
        answer = {"most": self.most, "alphas": self.alphas, "in_flight": self.in_flight}
        self.alphas = []
        return JSONResponse(answer)

    def routes(self) -> list[Route]:
        base = "/live/session/view"
        return [
            Route(f"{base}/frame/{{index:int}}", self.frame),
            Route(f"{base}/picture/{{index:int}}", self.picture),
            Route(f"{base}/truth/{{index:int}}", self.truth),
            Route(f"{base}/sweep", self.sweep, methods=["GET", "POST", "DELETE"]),
            Route("/control", self.control),
        ]


def measured(alpha: float) -> dict:
    hump = 0.045 * np.exp(-(((alpha - 0.62) / 0.22) ** 2))
    miou = 0.668 + 0.021 * alpha + hump
    iou = [float(np.clip(miou + 0.25 * np.sin(3 * c) + 0.03 * np.cos(5 * c) * alpha, 0.05, 0.98)) for c in range(len(CLASSES))]
    iou[16] = None
    return {"alpha": alpha, "miou": miou, "pixel_accuracy": 0.93 + 0.3 * (miou - 0.66), "loss": 0.42 - 1.6 * (miou - 0.66), "iou": iou}


def script() -> None:
    """The Streamlit page under test; it counts its own runs."""
    import streamlit as st

    from pages.widgets.viewer import CheckpointEntry, ClassEntry, ViewerData, viewer

    st.set_page_config(layout="wide")
    state = st.session_state
    state.runs = state.get("runs", 0) + 1
    state.setdefault("alpha", 0.5)
    state.setdefault("index", 0)
    names = [f"street_{number:03d}.png" for number in range(COUNT)]
    live = st.query_params.get("live", "1") == "1"
    view = ViewerData(
        base="/live/session/view", size=(WIDTH, HEIGHT), count=COUNT, index=state.index, name=names[state.index], names=names,
        alpha=state.alpha, a=CheckpointEntry("segformer-fog", 0.689, 0.374), b=CheckpointEntry("segformer-day", 0.668, 0.407),
        labelled=True, classes=[ClassEntry(number, name, color) for number, (name, color) in enumerate(CLASSES)], live=live,
        message=None if live else "The two checkpoints have different layouts; their masks cannot be merged.",
    )  # fmt: skip
    result = viewer(view, key="viewer")
    state.alpha, state.index = result.alpha, result.index
    st.text(f"runs={state.runs} alpha={result.alpha:.3f} index={result.index}")


# --- fixtures ---


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_server(folder: Path, *options: str) -> tuple[subprocess.Popen, str]:
    (folder / "app.py").write_text(
        "import streamlit as st\nfrom test_viewer_browser import Fake\napp = st.App('page.py', routes=Fake().routes())\n"
    )
    (folder / "page.py").write_text("from test_viewer_browser import script\nscript()\n")
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), "--server.headless", "true"]
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [*command, "--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none", *options],
        cwd=folder, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    for _ in range(150):
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()
            return process, address
        except OSError:
            time.sleep(0.2)
    process.kill()
    raise RuntimeError("the Streamlit server did not start")
