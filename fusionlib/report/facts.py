"""What made the figures of a report: versions, device, fingerprints."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

from fusionlib import __version__
from fusionlib.contracts import MEASURES, METHODS
from fusionlib.runs.derived import DERIVED
from fusionlib.studies.errors import ASKED

if TYPE_CHECKING:
    from fusionlib.studio.reports import AloneWork, ReportWork


def facts_of(work: ReportWork | AloneWork) -> list[tuple[str, str]]:
    """Pairs of what and how it is, in the order in which they are read."""
    builder, method = work.runner.builder, METHODS.get(work.subject.network.method)
    measures = {name: MEASURES.get(name).version for name in ASKED} | DERIVED
    packages = ("torch", "numpy", "pillow", "plotly")
    return [
        ("fusionlib", __version__),
        ("python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
        *((name, version(name)) for name in packages),
        ("device", f"{builder.device}, {builder.precision}"),
        ("measures", ", ".join(f"{name} {number}" for name, number in measures.items())),
        ("merge method", f"{work.subject.network.method} {method.version}"),
        ("data", work.pictures.fingerprint()),
        ("network", work.build(work.subject.network)),
    ]
