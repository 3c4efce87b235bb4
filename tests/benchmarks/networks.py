"""What full-size files of each built-in network cost: `python tests/benchmarks/networks.py [NAME ...]`.

Two files of random weights go through `inspect`, `diagnose` without data, `merge` and `evaluate`, on two pictures of
256x512 laid out like Cityscapes: seconds and peak memory of each process. Then frames of a dragged slider in one
process: from the picture, and after a change of the last stage alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

SIZE, CLASSES = (256, 512), 19
MODULE = ("-m", "fusionlib")


def main(names: list[str]) -> None:
    """Print a line for each network."""
    from fusionlib.contracts import ARCHITECTURES

    print(f"{'':28} {'files':>8}  inspect        diagnose       merge          evaluate       frame, last stage")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "cityscapes"
        _write_tree(tree)
        for name in names or ARCHITECTURES.names_in_files():
            print(_line(name, Path(folder), tree), flush=True)


def _line(name: str, folder: Path, tree: Path) -> str:
    files = [folder / "a.safetensors", folder / "b.safetensors"]
    for seed, file in enumerate(files):
        _run((__file__, "--write", name, str(seed), str(file)))
    merged, home = folder / "merged.safetensors", ("--home", str(folder / f"home-{name}"))
    pair = [str(file) for file in files]
    asked = ("--model", name) if name.endswith("-os8") else ()
    steps = [
        (*MODULE, "inspect", *pair, *asked, "--json"),
        (*MODULE, "diagnose", *pair, *asked, *home, "--json"),
        (*MODULE, "merge", *pair, "--alpha", "0.5", "--out", str(merged), "--json"),
        (*MODULE, "evaluate", str(merged), "--data", f"cityscapes:{tree}@val", *asked, *home, "--json"),
    ]
    merged.unlink(missing_ok=True)
    costs = "  ".join(_cost(step) for step in steps)
    frames = _run((__file__, "--frames", name, pair[0]))[0].strip()
    return f"{name:28} {files[0].stat().st_size / 1e6:5.0f} MB  {costs}  {frames}"


def _cost(step: tuple[str, ...]) -> str:
    begun = time.monotonic()
    _, peak = _run(step)
    return f"{time.monotonic() - begun:5.1f} s {peak:5.0f} MB"


def _run(step: tuple[str, ...]) -> tuple[str, float]:
    """What a Python process prints, and its peak memory in MB, never less than that of this one: it loads no torch."""
    with subprocess.Popen(
        [sys.executable, *step], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stderr
        out, said = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(step)}: {said}")
    return out, usage.ru_maxrss / 1000


def _frames(name: str, file: str) -> None:
    """Print milliseconds of a frame from the picture, and of one after a change of the last stage alone."""
    import torch

    from fusionlib.checkpoints.arena import Arena
    from fusionlib.checkpoints.reader import open_checkpoint
    from fusionlib.contracts import ARCHITECTURES
    from fusionlib.engine.network import BoundNetwork

    item: Any = ARCHITECTURES.get(name)
    arena = Arena.pack([open_checkpoint(Path(file))])
    network = BoundNetwork(item, CLASSES, arena.layout, arena.integers[0], device=torch.device("cpu"))
    network.load(arena.weights[0])
    picture = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), dtype=np.uint8)
    first, *_, last = item.stages(network.module)
    places = {
        what: next(entry for entry in arena.layout.entries if stage.owns(entry.name))
        for what, stage in (("whole", first), ("head", last))
    }
    network.logits(picture, resume=True)
    times: dict[str, float] = {}
    for place, entry in places.items():
        taken = []
        for _ in range(5):
            network.layout.view(network.flat, entry.name).add_(0.01)
            begun = time.monotonic()
            network.logits(picture, resume=True)
            taken.append(time.monotonic() - begun)
            assert (network.trail.began is not None) == (place == "head")
        times[place] = min(taken)
    print(f"{times['whole'] * 1000:5.0f} ms, {times['head'] * 1000:.0f} ms")


def _write_file(name: str, seed: int, file: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from fusionlib.contracts import ARCHITECTURES

    torch.manual_seed(seed)
    save_file(ARCHITECTURES.get(name).build(CLASSES).state_dict(), file)


def _write_tree(root: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(2):
        stem = f"frankfurt_{number:06}_000019"
        picture = root / "leftImg8bit" / "val" / "frankfurt" / f"{stem}_leftImg8bit.png"
        mask = root / "gtFine" / "val" / "frankfurt" / f"{stem}_gtFine_labelIds.png"
        for path, pixels in (
            (picture, rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)),
            (mask, rng.choice(np.array([7, 11, 21, 23, 26], np.uint8), SIZE)),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--frames"]:
        _frames(*sys.argv[2:4])
    elif sys.argv[1:2] == ["--write"]:
        _write_file(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    else:
        main(sys.argv[1:])
