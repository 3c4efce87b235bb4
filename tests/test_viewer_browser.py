"""The live viewer in a real Chromium, against a server of synthetic frames whose class borders move with alpha."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
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

from tests.waits import comes_to, expect

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT, COUNT, LATENCY = 512, 256, 5, 0.03
LOOK_MS = 800  # what assets/viewer/state.js waits, and the run after it
CLASSES = [
    ("road", "#804080"),
    ("sidewalk", "#f423e8"),
    ("building", "#464646"),
    ("wall", "#66669c"),
    ("fence", "#be9999"),
    ("pole", "#999999"),
    ("traffic light", "#faaa1e"),
    ("traffic sign", "#dcdc00"),
    ("vegetation", "#6b8e23"),
    ("terrain", "#98fb98"),
    ("sky", "#4682b4"),
    ("person", "#dc143c"),
    ("rider", "#ff0000"),
    ("car", "#00008e"),
    ("truck", "#000046"),
    ("bus", "#003c64"),
    ("train", "#005064"),
    ("motorcycle", "#0000e6"),
    ("bicycle", "#770b20"),
]
ROAD, SIDEWALK, BUILDING, POLE, VEGETATION, SKY, PERSON, CAR = 0, 1, 2, 5, 8, 10, 11, 13


# --- the fake server: the routes of the contract, over scenes made by arithmetic ---


def scene(index: int, alpha: float) -> np.ndarray:
    """A street as a label map whose every border depends on alpha; the truth is alpha 0.62."""
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
        self.fail = ""  # the panes whose frames fail
        self.latency = LATENCY
        self.clear()

    def clear(self) -> None:
        self.points: dict[float, dict] = {}
        self.wanted: list[float] = []
        self.total = 0
        self.state = "idle"
        self.pace = 0.12

    async def frame(self, request: Request) -> Response:
        index, pane = int(request.path_params["index"]), request.query_params["pane"]
        alpha = float(request.query_params["alpha"] if pane == "m" else pane == "a")
        self.in_flight[pane] += 1
        self.most[pane] = max(self.most[pane], self.in_flight[pane])
        await asyncio.sleep(self.latency)
        self.in_flight[pane] -= 1
        if pane == "m":
            self.alphas.append(alpha)
        if pane in self.fail:
            return JSONResponse(
                {"got": "a network that ran out of memory", "needs": "900 MB", "do": "close other programs"}, 500
            )
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
            "scale": 6 if index == COUNT - 1 else 1,
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
        return JSONResponse(
            {
                "state": self.state,
                "message": None,
                "done": len(self.points),
                "total": self.total,
                "seconds_left": len(self.wanted) * self.pace if self.state == "running" else None,
                "points": list(self.points.values()),
                "best": best and {"alpha": best["alpha"], "miou": best["miou"]},
                "a": self.points.get(1.0),
                "b": self.points.get(0.0),
                "images": 101,
            }
        )

    async def verdict(self, request: Request) -> Response:
        level, short = (
            ("merge", "gains 5.5 points") if len(self.points) > 2 else ("measure to know", "convolutions 0.968")
        )
        names = ["segformer-fog", "segformer-day"]
        return JSONResponse(
            {"level": level, "line": f"{level}: {short}", "sentence": "Reasons: advice.", "pair": names}
        )

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
        self.fail = {"0": "", "1": "amb"}.get(options.get("fail", "0"), options.get("fail", ""))
        self.pace = float(options.get("pace", self.pace))
        self.latency = float(options.get("latency", self.latency))
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
            Route(f"{base}/marks/{{index}}", lambda _: JSONResponse({"marks": [], "changed": None})),
            Route(f"{base}/sweep", self.sweep, methods=["GET", "POST", "DELETE"]),
            Route(f"{base}/verdict", self.verdict),
            Route("/control", self.control),
        ]


def measured(alpha: float) -> dict:
    hump = 0.045 * np.exp(-(((alpha - 0.62) / 0.22) ** 2))
    miou = 0.668 + 0.021 * alpha + hump
    iou = [
        float(np.clip(miou + 0.25 * np.sin(3 * c) + 0.03 * np.cos(5 * c) * alpha, 0.05, 0.98))
        for c in range(len(CLASSES))
    ]
    iou[16] = None
    return {
        "alpha": alpha,
        "miou": miou,
        "pixel_accuracy": 0.93 + 0.3 * (miou - 0.66),
        "loss": 0.42 - 1.6 * (miou - 0.66),
        "iou": iou,
    }


def script() -> None:
    """The Streamlit page under test; it counts its own runs."""
    import streamlit as st

    from pages.widgets.viewer import LOOK, CheckpointEntry, ClassEntry, ViewerData, look, viewer

    st.set_page_config(layout="wide")
    state = st.session_state
    state.runs = state.get("runs", 0) + 1
    state.setdefault("alpha", 0.5)
    state.setdefault("index", 0)
    state.setdefault(LOOK, st.query_params.get("look", ""))
    if st.button("Set 0.25"):
        state.alpha = 0.25
    names = [f"street_{number:03d}.png" for number in range(COUNT)]
    live = st.query_params.get("live", "1") == "1"
    number = state.setdefault("number", 0)
    if st.button("New viewer"):
        state.number = number + 1
        state.alpha, state.index = 0.5, 0
        state[LOOK] = st.query_params["look"] = ""
        st.rerun()
    view = ViewerData(
        base="/live/session/view",
        size=(WIDTH, HEIGHT),
        count=COUNT,
        index=state.index,
        name=names[state.index],
        names=names,
        alpha=state.alpha,
        a=CheckpointEntry("segformer-fog", 0.689, 0.374),
        b=CheckpointEntry("segformer-day", 0.668, 0.407),
        labelled=True,
        classes=[ClassEntry(number, name, color) for number, (name, color) in enumerate(CLASSES)],
        live=live,
        look=look(),
        message=None if live else "The two checkpoints have different layouts; their masks cannot be merged.",
    )
    result = viewer(view, key=f"viewer{number}")
    state.alpha, state.index = result.alpha, result.index
    st.query_params["look"] = look()
    st.text(f"runs={state.runs} alpha={result.alpha:.3f} index={result.index}")


# --- fixtures ---


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_server(folder: Path, *options: str) -> tuple[subprocess.Popen, str]:
    (folder / "app.py").write_text(
        "import streamlit as st\nfrom test_viewer_browser import Fake\n"
        "from pages.widgets.browser_files import browser_route\n"
        "app = st.App('page.py', routes=[browser_route(''), *Fake().routes()])\n"
    )
    (folder / "page.py").write_text("from test_viewer_browser import script\nscript()\n")
    port = free_port()
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
    ]
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [*command, "--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(150):
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()
            return process, address
        except OSError:
            time.sleep(0.2)
    process.kill()
    raise RuntimeError("the Streamlit server did not start")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    process, address = start_server(tmp_path_factory.mktemp("viewer"))
    yield address
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def tab(browser, address):
    page = browser.new_page(viewport={"width": 1440, "height": 1200})
    page.set_default_timeout(30_000)
    page.goto(address)
    expect_attribute(page, "canvas-m", "data-alpha", "0.500")
    yield page
    page.close()


@pytest.fixture
def page(tab, address):
    """A fresh viewer in the open tab: a new key is a new component, and the old one has to clean up behind itself."""
    control(address, clear=1)
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.mouse.move(0, 0)
    before = tab.get_by_test_id("viewer").get_attribute("data-key")
    tab.wait_for_timeout(
        LOOK_MS
    )  # how the viewer before was looked at last is said with a delay, and would be this one's
    tab.get_by_role("button", name="New viewer").click()
    wait(tab, "(find('viewer')?.dataset.key ?? argument) !== argument", before)
    tab.get_by_test_id("viewer").nth(1).wait_for(state="detached")  # the one before goes a moment later
    expect_attribute(tab, "canvas-m", "data-alpha", "0.500")
    expect_attribute(tab, "canvas-a", "data-alpha", "a")
    yield tab
    assert not problems


# --- helpers ---


def control(address: str, **options: float | str) -> dict:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    with urllib.request.urlopen(f"{address}/control?{query}") as answer:
        return json.load(answer)


def wait(page, condition: str, argument=None) -> None:
    """Wait until the JavaScript is true; in it ``find(id)`` gives the element with that test id in a shadow tree."""
    find = """const find = (id) => [...document.querySelectorAll('*')].filter((node) => node.shadowRoot)
        .map((node) => node.shadowRoot.querySelector(`[data-testid="${id}"]`)).find(Boolean);"""
    page.wait_for_function(f"(argument) => {{ {find} return {condition}; }}", arg=argument)


def expect_attribute(page, element: str, name: str, value: str) -> None:
    wait(page, "find(argument[0])?.getAttribute(argument[1]) === argument[2]", [element, name, value])


def expect_text(page, element: str, text: str) -> None:
    wait(page, "find(argument[0])?.textContent.includes(argument[1])", [element, text])


def runs(page) -> int:
    return int(page.get_by_text("runs=").inner_text().split()[0].removeprefix("runs="))


def pixel(page, element: str, u: float, v: float) -> list[int]:
    read = """(canvas, [u, v]) => [...canvas.getContext('2d')
        .getImageData(u * canvas.width, v * canvas.height, 1, 1).data]"""
    return page.get_by_test_id(element).evaluate(read, [u, v])


def checksum(page, element: str) -> int:
    read = """(canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
        .reduce((sum, value, place) => (sum + value * (place % 997)) % 1e9, 0)"""
    return page.get_by_test_id(element).evaluate(read)


def drag_alpha(page, alphas: list[float], release: bool = True) -> None:
    box = page.get_by_test_id("alpha-slider").bounding_box()
    for number, alpha in enumerate(alphas):
        page.mouse.move(box["x"] + alpha * box["width"], box["y"] + box["height"] / 2)
        if number == 0:
            page.mouse.down()
        page.wait_for_timeout(12)
    if release:
        page.mouse.up()


def point_at(page, element: str, u: float, v: float) -> None:
    box = page.get_by_test_id(element).bounding_box()
    page.mouse.move(box["x"] + u * box["width"], box["y"] + v * box["height"])


def opened(page) -> None:
    page.wait_for_timeout(60)  # two displayed frames: painting follows the event on the next one


# --- what the user does ---


def test_dragging_repaints_the_merge_without_a_rerun_and_the_newest_alpha_wins(page, address):
    control(address)
    before, started = checksum(page, "canvas-m"), runs(page)
    drag_alpha(page, [0.5 + 0.01 * step for step in range(31)], release=False)
    expect_attribute(page, "canvas-m", "data-alpha", "0.800")
    comes_to(page, lambda: checksum(page, "canvas-m"), lambda now: now != before)
    assert runs(page) == started
    page.mouse.up()
    page.get_by_text("alpha=0.800").wait_for()
    assert runs(page) == started + 1
    seen = control(address)
    assert seen["most"]["m"] == 1, "more than one merge frame was in flight"
    assert seen["alphas"][-1] == 0.8
    assert len(seen["alphas"]) < 31, "every pointer position was fetched: a queue"


def test_frames_already_seen_come_from_memory(page, address):
    drag_alpha(page, [0.5, 0.7])
    expect_attribute(page, "canvas-m", "data-alpha", "0.700")
    control(address)
    drag_alpha(page, [0.7, 0.5])
    expect_attribute(page, "canvas-m", "data-alpha", "0.500")
    expect_text(page, "timing", "from memory")
    assert control(address)["alphas"] == []


BURST = """(slider) => [["ArrowRight"], ["ArrowLeft", true], ["End"], ["Home"]].map(([key, shiftKey = false]) => {
  slider.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey, bubbles: true, composed: true }));
  return slider.dataset.alpha;
})"""
"""Keys at once, however slow the machine is, and where each leaves alpha."""


def test_alpha_by_keyboard_number_double_click_and_chart(page):
    slider = page.get_by_test_id("alpha-slider")
    slider.focus()
    started = runs(page)
    left = slider.evaluate(BURST)
    assert left == ["0.510", "0.410", "1.000", "0.000"]
    page.get_by_text("alpha=0.000").wait_for()
    assert runs(page) == started + 1, "a burst of keys is one report"
    page.get_by_test_id("alpha-input").fill("0.375")
    expect_attribute(page, "canvas-m", "data-alpha", "0.375")
    slider.dblclick(position={"x": 200, "y": 20})
    expect_attribute(page, "canvas-m", "data-alpha", "0.500")
    curve = page.get_by_test_id("curve")
    curve.click(position={"x": 64, "y": 120})  # the left end of the axis
    expect_attribute(page, "canvas-m", "data-alpha", "0.000")


def test_python_moves_alpha_and_the_user_may_move_it_back(page):
    drag_alpha(page, [0.5, 0.7])
    page.get_by_text("alpha=0.700").wait_for()
    canvas = page.get_by_test_id("canvas-m").element_handle()
    page.get_by_role("button", name="Set 0.25").click()
    expect_attribute(page, "canvas-m", "data-alpha", "0.250")
    page.get_by_text("alpha=0.250").wait_for()
    drag_alpha(page, [0.25, 0.7])
    page.get_by_text("alpha=0.700").wait_for()
    there = canvas.evaluate("(node) => node.isConnected")
    assert there, "a rerun must not rebuild the viewer"


def test_hiding_classes_shows_the_bare_picture_and_survives_a_reload(page):
    page.get_by_test_id("opacity").evaluate("(node) => { node.value = 1; node.dispatchEvent(new Event('input')); }")
    comes_to(page, lambda: pixel(page, "canvas-m", 0.5, 0.9)[:3], [128, 64, 128])
    page.get_by_test_id("class-0").click()
    bare = comes_to(page, lambda: pixel(page, "canvas-m", 0.5, 0.9), lambda shown: shown[:3] != [128, 64, 128])
    page.get_by_test_id("class-10").click(modifiers=["Alt"])  # sky alone
    comes_to(page, lambda: pixel(page, "canvas-m", 0.5, 0.05)[:3], [70, 130, 180])
    page.wait_for_function("() => location.search.includes('hidden-0_')")
    page.reload()
    expect_attribute(page, "canvas-m", "data-alpha", "0.500")
    expect(page.get_by_test_id("class-0")).to_have_attribute("aria-pressed", "false")
    comes_to(page, lambda: pixel(page, "canvas-m", 0.5, 0.9), bare)
    page.get_by_test_id("classes-all").click()
    comes_to(page, lambda: pixel(page, "canvas-m", 0.5, 0.9)[:3], [128, 64, 128])


def test_pointer_reads_every_pane_and_zoom_keeps_them_in_step(page):
    point_at(page, "viewport-m", 0.5, 0.9)
    for pane in "ambt":
        expect_text(page, f"readout-{pane}", "road")
    expect_text(page, "readout-m", "then sky")
    expect_text(page, "readout-m", "%")
    page.mouse.wheel(0, -1200)
    wait(page, "parseFloat(find('zoom-text').textContent) > 5")
    point_at(page, "viewport-b", 0.5, 0.9)
    expect_text(page, "readout-t", "road")  # the point under the wheel has stayed
    # Deep inside the road all three masks are equal.
    comes_to(page, lambda: len({tuple(pixel(page, f"canvas-{pane}", 0.3, 0.3)[:3]) for pane in "amb"}), 1)
    before = checksum(page, "canvas-t")
    box = page.get_by_test_id("viewport-a").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 130, box["y"] + 200, steps=3)
    page.mouse.up()
    comes_to(page, lambda: checksum(page, "canvas-t"), lambda now: now != before)  # panning A pans the truth
    page.get_by_test_id("viewport-t").dblclick()
    expect_text(page, "zoom-text", "1.0×")


def test_wipe_shows_the_left_pane_left_of_the_divider(page):
    page.get_by_test_id("left-pane").evaluate(
        "(node) => { node.value = 't'; node.dispatchEvent(new Event('change')); }"
    )
    page.get_by_test_id("layout-wipe").click()
    opened(page)
    u, v = 0.2, 0.98  # void in the truth, road or sidewalk in the merge
    void = pixel(page, "canvas-stage", u, v)
    page.get_by_test_id("divider").scroll_into_view_if_needed()
    box, stage = page.get_by_test_id("divider").bounding_box(), page.get_by_test_id("viewport-stage").bounding_box()
    page.mouse.move(box["x"] + 16, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(stage["x"] + 0.1 * stage["width"], box["y"] + 60, steps=4)
    page.mouse.up()
    wait(page, "Number(find('divider').getAttribute('aria-valuenow')) === 10")
    comes_to(page, lambda: pixel(page, "canvas-stage", u, v), lambda now: now != void)
    page.get_by_test_id("layout-blink").click()
    wait(page, "find('pane-stage').textContent.includes('Ground truth')")
    wait(page, "find('pane-stage').textContent.includes('Merge')")


def test_a_pane_that_waits_says_so_and_play_waits_for_its_frames(page, address):
    control(address, latency=0.5)
    drag_alpha(page, [0.5, 0.8], release=False)
    expect_attribute(page, "pane-m", "data-waits", "")
    expect_attribute(page, "canvas-m", "data-alpha", "0.800")
    wait(page, "!find('pane-m').hasAttribute('data-waits')")
    page.mouse.up()
    page.get_by_test_id("play").click()
    gaps = []
    for _ in range(12):
        page.wait_for_timeout(100)
        there = page.get_by_test_id("canvas-m").get_attribute("data-alpha")
        gaps.append(abs(float(page.get_by_test_id("alpha-slider").get_attribute("data-alpha")) - float(there)))
    page.get_by_test_id("play").click()
    control(address, latency=LATENCY)
    assert max(gaps) <= 0.021, "the knob is at most a step ahead of its masks"


def test_stepping_through_pictures(page):
    page.get_by_test_id("viewport-m").focus()
    page.keyboard.press("]")
    expect_text(page, "picture-name", "street_001.png")
    expect_attribute(page, "canvas-m", "data-picture", "1")
    page.get_by_text("index=1").wait_for()
    page.get_by_test_id("jump").fill("4")
    page.keyboard.press("Enter")
    expect_attribute(page, "canvas-a", "data-picture", "3")
    page.get_by_text("index=3").wait_for()
    page.get_by_test_id("next").click()
    expect_text(page, "picture-name", "street_004.png")
    page.get_by_text("index=4").wait_for()
    expect(page.get_by_test_id("next")).to_be_disabled()


def test_a_picture_shown_at_a_part_of_its_size_says_so_in_every_pane(page):
    note = page.get_by_test_id("note-m")
    note.filter(has_text="mIoU").wait_for()
    for place in (note, page.get_by_test_id("tile-picture")):
        expect(place).not_to_contain_text("shown at")
    page.get_by_test_id("jump").fill(str(COUNT))
    page.get_by_test_id("jump").press("Enter")
    for place in ("note-a", "note-m", "note-b", "tile-picture"):
        page.get_by_test_id(place).filter(has_text="shown at 1/6").wait_for()
    page.get_by_test_id("previous").click()
    note.filter(has_not_text="shown at").wait_for()
    page.get_by_text(f"index={COUNT - 2}").wait_for()  # Python has heard of it: no rerun is under way any more


def test_an_error_shows_a_banner_keeps_the_frame_and_recovers(page, address):
    control(address, fail=1)
    before = checksum(page, "canvas-m")
    drag_alpha(page, [0.5, 0.6])
    expect_text(page, "banner", "ran out of memory")
    expect_text(page, "banner", "close other programs")
    assert checksum(page, "canvas-m") == before
    control(address, fail=0)
    drag_alpha(page, [0.6, 0.65])
    expect_attribute(page, "canvas-m", "data-alpha", "0.650")
    expect(page.get_by_test_id("banner")).to_be_hidden()


def test_an_error_of_the_merge_stays_while_the_other_panes_answer(page, address):
    control(address, fail="m")
    page.get_by_test_id("viewport-m").focus()
    page.keyboard.press("]")
    expect_text(page, "banner", "ran out of memory")
    for pane in "ab":
        expect_attribute(page, f"canvas-{pane}", "data-picture", "1")
    expect(page.get_by_test_id("banner")).to_be_visible()
    control(address, fail=0)
    drag_alpha(page, [0.5, 0.6])
    expect_attribute(page, "canvas-m", "data-alpha", "0.600")
    expect(page.get_by_test_id("banner")).to_be_hidden()


def test_sweep_starts_fills_in_cancels_resumes_and_measures_here(page, address):
    expect_text(page, "curve-empty", "No points yet")
    page.get_by_test_id("step").select_option("0.1")
    page.get_by_test_id("sweep-start").click()
    expect_text(page, "progress-text", "of 11 points")
    wait(page, "find('curve').querySelectorAll('.dots circle').length >= 3")
    page.get_by_test_id("sweep-cancel").click()
    expect_text(page, "progress-text", "cancelled")
    expect_text(page, "sweep-start", "Resume")
    control(address, pace=0.02)
    page.get_by_test_id("sweep-start").click()
    expect_text(page, "progress-text", "11 of 11 points · done")
    expect_attribute(page, "best", "data-alpha", "0.6")
    expect_text(page, "tile-miou", "at 0.50, 101 pictures")
    drag_alpha(page, [0.5, 0.57])
    expect_text(page, "curve-read", "interpolated between 0.50 and 0.60")
    page.get_by_test_id("measure").click()
    expect_text(page, "curve-read", "alpha 0.57")
    expect_text(page, "curve-read", "·  measured")
    expect_text(page, "legend-source", "Measured at 0.57")


def test_the_verdict_stands_beside_the_formula_and_follows_the_curve(page, address):
    expect_text(page, "outlook", "measure to know: convolutions 0.968")
    link = page.get_by_test_id("outlook")
    expect(link).to_have_attribute("title", re.compile(r"segformer-fog \+ segformer-day: Reasons: advice\."))
    pair = "diagnostics?a=segformer-fog&b=segformer-day&pair=segformer-fog+%2B+segformer-day"
    expect(link).to_have_attribute("href", pair)
    expect(link).to_have_attribute("data-level", "measure to know")
    control(address, pace=0.02)
    page.get_by_test_id("sweep-start").click()
    expect_text(page, "outlook", "merge: gains 5.5 points")
    expect_attribute(page, "outlook", "data-level", "merge")


def test_without_live_frames_the_reason_stands_in_the_place_of_the_pictures(browser, address):
    page = browser.new_page(viewport={"width": 1440, "height": 1200})
    page.goto(f"{address}/?live=0")
    expect_text(page, "message", "different layouts")
    expect(page.get_by_test_id("alpha-slider")).to_be_visible()
    expect(page.get_by_test_id("curve")).to_be_visible()
    page.close()
