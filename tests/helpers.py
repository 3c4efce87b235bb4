"""Tiny stand-ins for what is large in life: a network, its checkpoints, a labelled folder, a studio, an HTTP client."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.posterior import PosteriorFile
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.checkpoints.stored import Held
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.contracts import (
    ARCHITECTURES,
    METHODS,
    MergeMethod,
    Mixture,
    Permutation,
    Preprocessing,
    Sample,
    parameter,
)
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import label_space
from fusionlib.engine.build import Member
from fusionlib.engine.statistics import find
from fusionlib.engine.worker import Worker
from fusionlib.studio import Options, Selection, Studio

CPU = torch.device("cpu")
CLASSES = ("road", "car", "sky")
HEIGHT, WIDTH = 48, 64


class TinyNet(nn.Module):
    """Convolutions, batch norms, dropout and an integer table; logits at half the picture's size."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(8, momentum=0.3)
        self.drop = nn.Dropout2d(0.5)
        self.register_buffer("table", torch.arange(4))
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        return self.head(self.drop(torch.relu(self.norm2(self.body(x)))))


_NORM = ("weight", "bias", "running_mean", "running_var")


class TinyArchitecture:
    """Recognised by its head."""

    title, citation, head = "Tiny", "made for these tests", ("head",)
    permutations = (
        Permutation(
            "stem", 8, (("stem.weight", 0, 0), *((f"norm.{leaf}", 0, 0) for leaf in _NORM), ("body.weight", 1, 0))
        ),
        Permutation(
            "body",
            8,
            (
                ("body.weight", 0, 0),
                ("body.bias", 0, 0),
                *((f"norm2.{leaf}", 0, 0) for leaf in _NORM),
                ("head.weight", 1, 0),
            ),
        ),
    )
    preprocessing = Preprocessing(mean=(0.3, 0.4, 0.5), std=(0.2, 0.25, 0.3), channels_last=True)
    _spaces: ClassVar = {11: "camvid", 19: "cityscapes", 20: "cityscapes-void"}

    def recognise(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        last = shapes.get("head.weight")
        if last is None or "norm2.weight" not in shapes:
            return None
        own = {name: tuple(tensor.shape) for name, tensor in TinyNet(last[0]).state_dict().items()}
        return last[0] if own == dict(shapes) else None

    def build(self, classes: int) -> nn.Module:
        return TinyNet(classes)

    def label_space(self, classes: int) -> str:
        return self._spaces.get(classes, f"classes-{classes}")


@contextmanager
def tiny_registered() -> Iterator[None]:
    """TinyNet is a known architecture inside the block."""
    outer = "tiny" in ARCHITECTURES
    if not outer:
        ARCHITECTURES.register("tiny")(TinyArchitecture())
    try:
        yield
    finally:
        if not outer:
            del ARCHITECTURES._items["tiny"]


def tiny_tensors(seed: int, classes: int = 3, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """A state dict of TinyNet with lively statistics; counters differ between seeds."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    tensors = {name: tensor.clone() for name, tensor in TinyNet(classes).state_dict().items()}
    for name, tensor in tensors.items():
        if name.endswith("running_mean"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
        elif name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.3)
        elif name.endswith("num_batches_tracked"):
            tensor.fill_(10 * seed + 7)
        elif name == "head.weight":
            tensor.mul_(4)
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def tiny_file(folder: Path, name: str, seed: int, classes: int = 3, dtype: torch.dtype = torch.float32) -> Path:
    """One checkpoint file, as training scripts write it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.pth"
    torch.save(
        {
            "epoch": 3,
            "state_dict": {f"module.{key}": value for key, value in tiny_tensors(seed, classes, dtype).items()},
        },
        path,
    )
    return path


def saved(path: Path, tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Write tensors as safetensors and open them."""
    save_tensors(path, tensors)
    return open_checkpoint(path)


def tiny_checkpoints(folder: Path, count: int = 2, dtype: torch.dtype = torch.float32) -> list[Checkpoint]:
    """Opened checkpoints c0, c1, ..."""
    return [open_checkpoint(tiny_file(folder, f"c{seed}", seed, dtype=dtype)) for seed in range(count)]


def arena_of(folder: Path, *tables: Mapping[str, Tensor]) -> Arena:
    """An arena of plain tensor tables."""
    folder.mkdir(parents=True, exist_ok=True)
    return with_posteriors(
        Arena.pack([saved(folder / f"t{number}.safetensors", table) for number, table in enumerate(tables)])
    )


def with_posteriors(arena: Arena) -> Arena:
    """The same in which every checkpoint is the mean of a posterior: a tight one, for methods that want it."""
    trained = {entry.name: entry.shape for entry in arena.layout.entries if entry.kind != "buffer"}

    def posterior(name: str, fingerprint: str) -> PosteriorFile:
        random = torch.Generator().manual_seed(int(fingerprint[:12], 16))
        parts = {
            "variance": {key: Held(torch.full(shape, 1e-4)) for key, shape in trained.items()},
            "deviations": {key: Held(torch.randn(2, *shape, generator=random) / 100) for key, shape in trained.items()},
        }
        return PosteriorFile(name, "swag", "{}", parts, trained)

    return replace(arena, posteriors=tuple(map(posterior, arena.names, arena.fingerprints)))


def pictures(count: int = 6, seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Random but smooth pictures (N, H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize(size[::-1], Image.Resampling.BILINEAR)) for one in coarse])


@dataclass(frozen=True)
class Threefold(MergeMethod):
    """Three networks on the line between the first checkpoint and the second, around its middle."""

    title, summary, citation = "Threefold", "Three networks around the mean", "made for these tests"

    spread: float = parameter(0.2, "How far the outer two lie from the middle", min=0.0, max=0.5)

    def shares(self, count: int) -> tuple[float, ...]:
        return (1 / count,) * count

    def networks(self, count: int) -> int:
        return 3

    def alphas(self) -> tuple[float, ...]:
        return (0.5 - self.spread, 0.5, 0.5 + self.spread)

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        a, b = arena.weights[:2]
        return Mixture(torch.stack([one * a + (1 - one) * b for one in self.alphas()]), torch.tensor([0.25, 0.5, 0.25]))


@contextmanager
def threefold_registered() -> Iterator[None]:
    """`threefold` is a merge method inside the block: M = 3, and no checkpoint is a member."""
    METHODS.names()
    METHODS.register("threefold")(Threefold)
    try:
        yield
    finally:
        del METHODS._items["threefold"]


@dataclass(frozen=True)
class Album:
    """A dataset without files or masks."""

    images: np.ndarray
    spec, title, label_space, labelled, notes = "album", "Album", label_space("classes-3"), False, ()

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return f"picture {index}"

    def load(self, index: int, whole: bool = False) -> Sample:
        return Sample(self.name(index), self.images[index], None)

    def fingerprint(self) -> str:
        return hashlib.sha256(self.images.tobytes()).hexdigest()

    def picture_key(self, index: int) -> str:
        return hashlib.sha256(self.images[index].tobytes()).hexdigest()

    def group(self, index: int) -> str:
        return self.name(index)


def album(count: int = 2, seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> DecodedCache:
    """Pictures as they are handed to statistics."""
    return DecodedCache(Album(pictures(count, seed, size)), 1 << 24)


@dataclass
class Memory:
    """Where statistics are kept, without files; `puts` counts them."""

    tables: dict[str, Any] = field(default_factory=dict)
    puts: int = 0

    def get(self, key: str) -> dict[str, Tensor] | None:
        return self.tables.get(key)

    def put(self, key: str, table: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        self.tables[key], self.puts = dict(table), self.puts + 1


MEMORY = Memory()


@cache
def worker() -> Worker:
    """One for all tests that need a device's thread and no studio."""
    return Worker("tests")


def informed(method: MergeMethod, arena: Arena, tame: bool = False) -> MergeMethod:
    """The method with all that it wants to know about an arena of tiny checkpoints.

    With `tame` what looks at pictures is found out about other checkpoints of the same layout: a network runs with
    their weights, whatever the arena holds.
    """
    if not method.statistics:
        return method
    looked_at = tamed(arena) if tame and method.needs == "pictures" else arena
    return method.informed(find(method, looked_at, None, album(), worker=worker(), store=MEMORY).found or {})


def tamed(arena: Arena) -> Arena:
    """As many ordinary checkpoints in the same places."""
    rows = torch.zeros(arena.weights.shape)
    for number, row in enumerate(rows):
        for name, view in arena.layout.views(row).items():
            view.copy_(tiny_tensors(40 + number, len(arena.layout.view(row, "head.bias")))[name])
    return replace(arena, weights=rows)


def folder_data(folder: Path, count: int = 6, masks: bool = True) -> Path:
    """`images/`, `masks/` and `classes.yaml` with three classes and some void; without masks plain pictures."""
    images = folder / "images" if masks else folder
    images.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number, picture in enumerate(pictures(count)):
        Image.fromarray(picture).save(images / f"p{number}.png")
        if masks:
            (folder / "masks").mkdir(exist_ok=True)
            ids = np.kron(rng.choice([0, 1, 2, 255], (6, 8), p=[0.4, 0.3, 0.2, 0.1]), np.ones((8, 8))).astype(np.uint8)
            Image.fromarray(ids).save(folder / "masks" / f"p{number}.png")
    if masks:
        (folder / "classes.yaml").write_text(f"classes: [{', '.join(CLASSES)}]\nignore: 255\n")
    return folder


@dataclass
class World:
    """A studio over two tiny checkpoints a and b and a labelled folder."""

    studio: Studio
    folder: Path

    def reopened(self) -> World:
        """The same home in a new process, as far as the studio can tell."""
        self.studio.store.close()
        return World(Studio(self.studio.options), self.folder)

    @property
    def source(self) -> str:
        return self.studio.workspace.sources[0].name

    def view(self, buffers: str = "average", source: str | None = None):
        return self.studio.view(Selection("a", "b", self.source if source is None else source, None, buffers))


def softmax_of(tensors: Mapping[str, Tensor], image: np.ndarray, classes: int = 3) -> Tensor:
    """Probabilities (C, H, W) of the tiny network with these tensors, in float64 and with nothing but torch."""
    net = TinyNet(classes).double().eval()
    net.load_state_dict(
        {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    )
    about = TinyArchitecture.preprocessing
    x = torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255
    with torch.inference_mode():
        logits = net((x - torch.tensor(about.mean).view(1, 3, 1, 1)) / torch.tensor(about.std).view(1, 3, 1, 1))
        return torch.nn.functional.interpolate(
            logits, size=image.shape[:2], mode="bilinear", align_corners=False
        ).softmax(1)[0]


@contextmanager
def tiny_world(
    folder: Path, *, classes: int = 3, data: tuple[str, ...] = (), count: int = 6, **options: Any
) -> Iterator[World]:
    """Checkpoints a and b, `folder:` data (or `data`), a home of their own."""
    tiny_file(folder / "files", "a", 1, classes)
    tiny_file(folder / "files", "b", 2, classes)
    if not data:
        data = (f"folder:{folder_data(folder / 'data', count)}",)
    with tiny_registered():
        world = World(
            Studio(
                Options(
                    checkpoints=(folder / "files",),
                    data=data,
                    demo=False,
                    home=folder / "home",
                    device="cpu",
                    **options,
                )
            ),
            folder,
        )
        yield world
        world.studio.store.close()


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Poll until `condition` holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s")
        time.sleep(0.002)
    return value


@dataclass
class Answer:
    """What an ASGI application sent back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def request(
    app: Callable,
    method: str,
    path: str,
    body: bytes = b"",
    query: str = "",
    headers: Mapping[str, str] | None = None,
    **scope_of: Any,
) -> Answer:
    """One HTTP request to an ASGI application, without a server; what else is named stands in its scope."""
    return asyncio.run(asked(app, method, path, body, query, headers, **scope_of))


async def asked(
    app: Callable,
    method: str,
    path: str,
    body: bytes = b"",
    query: str = "",
    headers: Mapping[str, str] | None = None,
    **scope_of: Any,
) -> Answer:
    """The same among others."""
    sent: list[dict[str, Any]] = []
    named = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": named,
        "root_path": "",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
        **scope_of,
    }
    parts = [body[start : start + 512] for start in range(0, len(body), 512)] or [b""]

    async def receive() -> dict[str, Any]:
        return (
            {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}
            if parts
            else {"type": "http.disconnect"}
        )

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    headers = {key.decode().lower(): value.decode() for key, value in start["headers"]}
    return Answer(start["status"], headers, b"".join(message.get("body", b"") for message in sent))


def counted_forwards(monkeypatch: Any) -> list[int]:
    """Grows with every forward pass of a measurement by the number of its pictures."""
    seen: list[int] = []
    real = Member.logits

    def logits(self: Member, images: np.ndarray, size: tuple[int, int] | None = None) -> Tensor:
        seen.append(len(images))
        return real(self, images, size)

    monkeypatch.setattr(Member, "logits", logits)
    return seen
