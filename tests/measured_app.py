"""The app with everything measured that its pages show, on one picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app_server import ROOT, App, running_app

from fusionlib.studio import Choices, Options, Selection, Studio

PAIR, SOURCE = ("seed-11", "seed-12"), "streets clear"


@contextmanager
def measured_app(folder: Path) -> Iterator[App]:
    """Two checkpoints of the demo, and a file that is none."""
    files = tuple(ROOT / "assets" / "demo" / f"{name}.safetensors" for name in PAIR)
    options = Options(files, ("streets:clear:1",), demo=False, home=folder / "home", device="cpu")
    measure(Studio(options))
    broken = folder / "broken.pth"
    broken.write_bytes(b"no checkpoint")
    given = [
        "--no-demo",
        "--device",
        "cpu",
        "--data",
        options.data[0],
        *(part for path in (*files, broken) for part in ("--checkpoints", str(path))),
    ]
    with running_app(folder, *given) as app:
        yield app


def measure(studio: Studio) -> None:
    """Fill the store of results with a curve, its calibration, a diagnosis and a comparison."""
    view = studio.view(Selection(*PAIR, SOURCE, "val"))
    studio.sweep(view).measure(0.5)
    studio.calibration.sweep(view).measure(0.5)
    studio.errors.of_view(view, 0.5).measure()
    studio.diagnosis(PAIR, SOURCE, "val").measure(0.5)
    studio.comparisons.open(PAIR, SOURCE, "val", Choices(methods=("linear", "slerp"))).measure()
    studio.store.close()
