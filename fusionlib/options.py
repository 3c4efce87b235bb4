"""What whoever starts the server or the CLI decides: folders, data, model code, device.

Never set through the browser.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from fusionlib.checkpoints.choices import RULE
from fusionlib.checkpoints.groups import renames_of
from fusionlib.contracts import DATASETS
from fusionlib.engine.precision import PRECISIONS
from fusionlib.errors import UsageError, printable

ENGINES = {"here": "this process", "ray": "the workers of a Ray cluster"}
"""Who carries out the passes of measurements."""

_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def default_home() -> Path:
    """Where results, uploads and exports are kept: `FUSION_HOME`, else `fusion` in the user's cache folder.

    Where there is no such folder a path at which nothing can be kept: everything works, and says that it is not kept.
    """
    if chosen := os.environ.get("FUSION_HOME"):
        return Path(chosen)
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "fusion"
    try:
        return Path.home() / ".cache" / "fusion"
    except RuntimeError:  # a user without a home folder, as in some containers
        return Path(os.devnull) / "fusion"


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
    allow_hosts: tuple[str, ...] = ()
    token: bool = True
    uploads: bool = True
    tiles: bool = False
    groups: tuple[str, ...] = ()
    renames: Mapping[str, str] = field(default_factory=dict)
    home_mb: int = 2048
    auto: bool = True
    engine: str = "here"
    address: str | None = None
    workers: int | None = None
    class_tables: Path | None = None
    trusted: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        self._check_engine()
        if self.home_mb < 0:
            raise UsageError(f"--home-mb {self.home_mb}", "megabytes, 0 or more", "Correct --home-mb")

    def _check_engine(self) -> None:
        unread = [
            name for name, value in (("--address", self.address), ("--workers", self.workers)) if value is not None
        ]
        if self.engine != "ray" and unread:
            raise UsageError(
                f"{' and '.join(unread)} with --engine {self.engine}",
                "--engine ray",
                f"Add it, or leave {unread[0]} out",
            )
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers {self.workers}", "1 or more", "Correct --workers")


class OneLineParser(argparse.ArgumentParser):
    """A wrong argument ends with status 2 and one line that says what to do."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {printable(message)}. See {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that the app and every CLI verb share."""
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="FILE.py:FACTORY",
        help="your own network, or the NAME of a built-in one that is not recognised by itself, see `guide networks`",
    )
    add_trust(parser)
    add_group(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--precision", default="float32", choices=sorted(PRECISIONS), help="default: float32")
    parser.add_argument(
        "--tiles", action="store_true", help="measure pictures of more than 2 million pixels at full size, tile by tile"
    )
    parser.add_argument(
        "--class-tables",
        type=Path,
        metavar="DIR",
        help="folder of YAML tables: which class of one label space counts as which of another, see `guide data`",
    )
    parser.add_argument("--home", type=Path, default=None, help="folder for results, uploads and exports")
    parser.add_argument(
        "--home-mb",
        type=int,
        default=Options.home_mb,
        metavar="N",
        help="megabytes that label maps may take there; those used longest ago go first (default: 2048)",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """`--trust`."""
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="run this program of torch.export or TorchScript where tensors fit it, see `guide networks`",
    )


def add_engine(parser: argparse.ArgumentParser) -> None:
    """`--engine`, `--address`, `--workers`."""
    listed = "; ".join(f"{name}: {text}" for name, text in ENGINES.items())
    parser.add_argument(
        "--engine", default="here", choices=ENGINES, help=f"who measures, the figures are the same. {listed}"
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="with --engine ray: a running cluster (default: one of this machine alone)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="with --engine ray: how many (default: one a GPU, else cores divided by torch's threads)",
    )


def add_group(parser: argparse.ArgumentParser) -> None:
    """`--group`."""
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="[FILE=]GROUP",
        help=f"tensors to take from files that hold several networks, such as ema (default: {RULE})",
    )


def app_options(arguments: Sequence[str]) -> Options:
    """Options of `streamlit run app.py -- ARGUMENTS`."""
    parser = OneLineParser(prog="streamlit run app.py --", description="Merge segmentation checkpoints, live.")
    parser.add_argument(
        "--checkpoints",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="folder (or file) of checkpoints to show; may be given several times",
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="SPEC",
        help=f"data to show, one of {', '.join(DATASETS.texts_in_files('usage'))}; may be given several times",
    )
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="PATTERN=NAME",
        help="regular expression on the names of tensors, and what to put there, so that they become the network's",
    )
    parser.add_argument("--no-demo", action="store_true", help="leave the bundled demo out")
    parser.add_argument(
        "--no-auto", action="store_true", help="measure nothing by itself: by default a new pair gets a first look"
    )
    parser.add_argument("--upload-mb", type=int, default=1024, help="largest upload in megabytes (default: 1024)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name or address under which others reach this server; may be given several times",
    )
    parser.add_argument(
        "--no-token",
        action="store_true",
        help=(
            "let in whoever reaches the server: a public demo, or behind a proxy that signs people in; turns"
            " uploads off"
        ),
    )
    parser.add_argument("--uploads", action="store_true", help="with --no-token: take uploads all the same")
    add_options(parser)
    add_engine(parser)
    given = parser.parse_args(list(arguments))
    if given.upload_mb < 1:
        raise UsageError(f"--upload-mb {given.upload_mb}", "megabytes, 1 or more", "Correct --upload-mb")
    if given.uploads and not given.no_token:
        raise UsageError(
            "--uploads without --no-token", "the option that turns uploads off", "Leave --uploads out: they are on"
        )
    return Options(
        tuple(given.checkpoints),
        tuple(given.data),
        tuple(given.model),
        not given.no_demo,
        given.home or default_home(),
        given.device,
        given.precision,
        given.upload_mb,
        tuple(_host(text) for text in given.allow_host),
        not given.no_token,
        given.uploads or not given.no_token,
        given.tiles,
        tuple(given.group),
        renames_of(given.rename),
        given.home_mb,
        not given.no_auto,
        given.engine,
        given.address,
        given.workers,
        given.class_tables,
        tuple(given.trust),
    )


def _host(text: str) -> str:
    """A name or an address as it stands in a `Host` header, without port. Raises `UsageError` for anything else."""
    with suppress(ValueError):
        return str(ipaddress.ip_address(text.strip("[]")))
    with suppress(UnicodeError):
        name = text.encode("idna").decode().lower().rstrip(".")
        if _NAME.fullmatch(name):
            return name
    raise UsageError(
        f"--allow-host {text[:80]}",
        "a name or an address, without scheme, port or path",
        "Write it as merge.example.org",
    )
