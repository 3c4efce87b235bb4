"""What whoever starts the server or the CLI decides: folders, data, model code, device. Never set through the browser."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fusionlib.data.spec import usages
from fusionlib.inference.network import PRECISIONS


def default_home() -> Path:
    """Where results, uploads and exports are kept: `FUSION_HOME`, else `.fusion` in the user's cache folder."""
    chosen = os.environ.get("FUSION_HOME")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fusion"


@dataclass(frozen=True)
class Options:
    """Settings of one process."""

    checkpoints: tuple[Path, ...] = ()
    data: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    demo: bool = True
    home: Path = field(default_factory=default_home)
    device: str = "auto"
    precision: str = "float32"
    upload_mb: int = 1024


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that the app and every CLI verb share."""
    parser.add_argument("--model", action="append", default=[], metavar="FILE.py:FACTORY", help="your own network, see the README")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--precision", default="float32", choices=sorted(PRECISIONS), help="default: float32")
    parser.add_argument("--home", type=Path, default=None, help="folder for results, uploads and exports")


def app_options(arguments: Sequence[str]) -> Options:
    """Options of `streamlit run app.py -- ARGUMENTS`."""
    parser = argparse.ArgumentParser(prog="streamlit run app.py --", description="Merge segmentation checkpoints, live.")
    parser.add_argument("--checkpoints", action="append", default=[], type=Path, metavar="DIR",
                        help="folder (or file) of checkpoints to show; may be given several times")
    parser.add_argument("--data", action="append", default=[], metavar="SPEC",
                        help=f"data to show, one of {', '.join(usages())}; may be given several times")
    parser.add_argument("--no-demo", action="store_true", help="leave the bundled demo out")
    parser.add_argument("--upload-mb", type=int, default=1024, help="largest upload in megabytes (default: 1024)")
    add_options(parser)
    given = parser.parse_args(list(arguments))
    return Options(tuple(given.checkpoints), tuple(given.data), tuple(given.model), not given.no_demo,
                   given.home or default_home(), given.device, given.precision, given.upload_mb)
