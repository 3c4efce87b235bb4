"""Hostile input, seeded: what is mutated, how, and the command or request that reads it."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from fusionlib.checkpoints.writer import save_tensors
from tests.helpers import folder_data, tiny_file, tiny_tensors
from tests.training_states import dcp_folder, deepspeed_folder

NASTY = (
    "",
    " ",
    "\0",
    "..",
    "../../etc/passwd",
    "/dev/zero",
    "-1",
    "1e999",
    "nan",
    "NaN",
    "9" * 5000,
    "0x10",
    "True",
    "null",
    "[" * 500,
    "{a: &x [*x]}",
    "!!python/object/apply:os.system [touch ran]",
    "%s%n",
    "\x1b[31m",
    "\u202e",
    "\ud7ff",
    "a" * 300,
    "=cmd()",
    "<script>",
    "a=b=c",
    ",",
    ":",
    "@",
    "streets:clear:1:2@x@y",
    "folder:",
    "camvid:/",
    "pictures:/proc",
)
"""Texts that have broken something somewhere."""


@dataclass(frozen=True)
class Case:
    """One input: a command line, or a request to a route."""

    kind: str
    arguments: tuple[str, ...] = ()
    request: tuple[str, str, bytes, str] | None = None


class Hostile:
    """Tries to touch a file when it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


def world(folder: Path) -> Path:
    """Sound files to mutate: two checkpoints in three formats, labelled data, a recipe."""
    for name, seed in (("a", 1), ("b", 2)):
        tiny_file(folder, name, seed)
        tiny_file(folder / "sound", name, seed)
        save_tensors(folder / f"{name}.safetensors", tiny_tensors(seed))
    folder_data(folder / "data", 2)
    shards = folder / "shards"
    shards.mkdir()
    tensors = tiny_tensors(1)
    save_tensors(shards / "one.safetensors", tensors)
    (shards / "m.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict.fromkeys(tensors, "one.safetensors")})
    )
    dcp_folder(folder / "trained" / "dcp", tensors, 2)
    deepspeed_folder(folder / "trained" / "deepspeed", tensors, 3, 2)
    from fusionlib.checkpoints.reader import open_checkpoint

    prints = [open_checkpoint(folder / f"{name}.pth").fingerprint for name in "ab"]
    sources = "".join(f"- path: {name}.pth\n  fingerprint: {value}\n" for name, value in zip("ab", prints, strict=True))
    (folder / "recipe.yaml").write_text(
        f"version: 1\nmethod: linear\nparameters: {{alpha: 0.25}}\nbuffers: average\ncheckpoints:\n{sources}"
    )
    return folder


def mutate(content: bytes, draw: random.Random) -> bytes:
    """Flipped, cut, doubled, filled or spliced bytes."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(data)) if data else 0
        what = draw.randrange(6)
        if what == 0 and data:
            data[at] = draw.randrange(256)
        elif what == 1:
            data = data[:at]
        elif what == 2:
            data[at:at] = data[at : at + draw.randint(1, 64)]
        elif what == 3:
            data[at : at + 8] = draw.choice(
                (b"\xff" * 8, bytes(8), (2**63 - 1).to_bytes(8, "little"), (2**31).to_bytes(8, "big"))
            )
        elif what == 4:
            data[at:at] = draw.choice(NASTY).encode("utf-8", "surrogatepass")
        else:
            del data[at : at + draw.randint(1, 40)]
    return bytes(data)


def cases(folder: Path, count: int, seed: int) -> Iterator[Case]:
    """`count` cases, of all kinds in turn. Files are written into `folder` just before their case is handed out."""
    draw = random.Random(seed)
    for number in range(count):
        yield MAKERS[number % len(MAKERS)](folder, draw)


def _checkpoint(folder: Path, draw: random.Random) -> Case:
    source = folder / draw.choice(("a.pth", "a.safetensors"))
    target = folder / f"x{source.suffix}"
    target.write_bytes(mutate(source.read_bytes(), draw))
    return Case("checkpoint", _use(target, folder, draw))


def _pickle(folder: Path, draw: random.Random) -> Case:
    call, *arguments = draw.choice(
        (
            (os.system, f"touch {folder}/ran"),
            (subprocess.check_output, ["touch", f"{folder}/ran"]),
            (eval, f"open({str(folder / 'ran')!r}, 'w')"),
            (exec, f"open({str(folder / 'ran')!r}, 'w')"),
            (importlib.import_module, "this"),
            (shutil.rmtree, str(folder / "data")),
            (getattr, "x", "upper"),
            (Path.touch, folder / "ran"),
            (torch.load, str(folder / "a.pth")),
        )
    )
    content = draw.choice(
        (
            lambda trap: trap,
            lambda trap: {"state_dict": tiny_tensors(1), "x": trap},
            lambda trap: {"model": {"w": trap}},
            lambda trap: [trap],
        )
    )(Hostile(call, *arguments))
    path = folder / "x.pth"
    if draw.random() < 0.2:
        path.write_bytes(pickle.dumps(content, protocol=draw.randint(0, 5)))
    else:
        torch.save(
            content, path, _use_new_zipfile_serialization=draw.random() < 0.6, pickle_protocol=draw.choice((2, 2, 2, 4))
        )
    return Case("pickle", _use(path, folder, draw))


def _use(path: Path, folder: Path, draw: random.Random) -> tuple[str, ...]:
    good, out = str(folder / "b.pth"), str(folder / "out.safetensors")
    return draw.choice(
        (
            ("inspect", str(path)),
            ("inspect", str(path), good, "--shared"),
            ("merge", str(path), good, "--out", out),
            ("diagnose", str(path), good),
            ("evaluate", str(path), "--data", f"folder:{folder / 'data'}"),
        )
    )


def _index(folder: Path, draw: random.Random) -> Case:
    target = folder / "x"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder / "shards", target)
    index = target / "m.safetensors.index.json"
    index.write_bytes(mutate(index.read_bytes(), draw))
    if draw.random() < 0.3:
        shard = target / "one.safetensors"
        shard.write_bytes(mutate(shard.read_bytes(), draw))
    return Case("index", ("inspect", str(target)))


def _training(folder: Path, draw: random.Random) -> Case:
    target = folder / "z"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder / "trained" / draw.choice(("dcp", "deepspeed")), target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    for path in draw.sample(files, draw.randint(1, 2)):
        path.write_bytes(mutate(path.read_bytes(), draw))
    return Case("training", _use(target, folder, draw))


def _recipe(folder: Path, draw: random.Random) -> Case:
    text = (folder / "recipe.yaml").read_text()
    if draw.random() < 0.5:
        lines = text.splitlines()
        at = draw.randrange(len(lines))
        lines[at] = f"{lines[at].split(':')[0]}: {draw.choice(NASTY)}"
        content = "\n".join(lines).encode("utf-8", "surrogatepass")
    else:
        content = mutate(text.encode(), draw)
    (folder / "x.yaml").write_bytes(content)
    return Case("recipe", ("merge", str(folder / "x.yaml"), "--out", str(folder / "out.safetensors")))


def _data(folder: Path, draw: random.Random) -> Case:
    target = folder / "y"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder / "data", target)
    kind = draw.choice(("picture", "mask", "classes.yaml"))
    if kind == "classes.yaml":
        path = target / "classes.yaml"
        content = path.read_bytes()
        path.write_bytes(
            mutate(content, draw) if draw.random() < 0.6 else draw.choice(NASTY).encode("utf-8", "surrogatepass")
        )
    else:
        path = target / ("images" if kind == "picture" else "masks") / "p0.png"
        if draw.random() < 0.3:
            mode = draw.choice(("L", "RGB", "RGBA", "P", "1", "I;16", "LA"))
            Image.new(mode, (draw.choice((1, 64, 3000)), draw.choice((1, 48)))).save(path)
        else:
            path.write_bytes(mutate(path.read_bytes(), draw))
    return Case(kind, ("evaluate", str(folder / "a.pth"), "--data", f"folder:{target}"))


def _arguments(folder: Path, draw: random.Random) -> Case:
    words = [
        str(folder / "a.pth"),
        str(folder / "b.pth"),
        "--data",
        f"folder:{folder / 'data'}",
        "--out",
        str(folder / "out.safetensors"),
        "--alpha",
        "0.5",
        "--weights",
        "0.5,0.5",
        "--method",
        "ties",
        "--set",
        "base=0",
        "--buffers",
        "gaussian",
        "--step",
        "0.5",
        "--split",
        "val",
        "--limit",
        "1",
        "--json",
        "--shared",
        "--rename",
        "a=b",
        "--exclude",
        "head.*",
        "--anchor",
        "0",
        "--try",
        "linear alpha=0.2",
    ]
    chosen = [draw.choice(words) if draw.random() < 0.75 else draw.choice(NASTY) for _ in range(draw.randint(0, 8))]
    verb = draw.choice(
        ("inspect", "merge", "evaluate", "sweep", "compare", "diagnose", "layers", "methods", draw.choice(NASTY))
    )
    # Files, a home and folders to write to are the tester's own business: nothing outside of `folder` is named as an
    # output.
    safe = [word.replace("\0", "?") for word in chosen]
    return Case("arguments", (verb.replace("\0", "?"), *safe))


def _route(folder: Path, draw: random.Random) -> Case:
    parts = [
        "live",
        "KEY",
        "VIEW",
        draw.choice(("frame", "picture", "truth", "sweep", "want", "x")),
        draw.choice(("0", "1", "-1", *NASTY)),
    ]
    for _ in range(draw.randint(0, 2)):
        parts[draw.randrange(1, len(parts))] = draw.choice(NASTY)
    names = ("alpha", "gen", "pane", "stream", "profile", "step", "bins", "t", "p")
    query = "&".join(
        f"{draw.choice(names)}={draw.choice(('0.5', '1', 'm', 'b', *NASTY))}" for _ in range(draw.randint(0, 4))
    )
    body = draw.choice(
        (
            b"",
            b"{}",
            b"[" * 2000,
            b"\xff\xfe",
            json.dumps({"weights": [draw.choice(NASTY)] * 3}).encode(),
            bytes(70_000),
        )
    )
    return Case(
        "route", request=(draw.choice(("GET", "GET", "POST", "PUT", "DELETE")), "/" + "/".join(parts), body, query)
    )


MAKERS: tuple[Callable[[Path, random.Random], Case], ...] = (
    _checkpoint,
    _pickle,
    _index,
    _training,
    _recipe,
    _data,
    _arguments,
    _route,
)
