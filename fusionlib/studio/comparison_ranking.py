"""The rows of a comparison as one list: equal networks once, the best first, what cannot be measured apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LEFT_OUT = ("not applicable", "failed")
"""States of rows that have no figures and never will, as long as nothing changes."""


def ranked(
    rows: Sequence[dict[str, Any]], builds: Mapping[str, str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows by falling mIoU, then those that wait; and the rows that are left out, in their order.

    Rows of one network, whose build keys `builds` has by name, are one: the first of them, called by all their names,
    with all of them as `same`.
    """
    networks: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["state"] not in LEFT_OUT:
            networks.setdefault(builds.get(row["name"], f"row {row['name']}"), []).append(row)
    folded = [{**same[0], "name": " = ".join(row["name"] for row in same), "same": same} for same in networks.values()]
    return sorted(folded, key=_place), [row for row in rows if row["state"] in LEFT_OUT]


def _place(row: Mapping[str, Any]) -> tuple[bool, bool, float]:
    return row["state"] != "measured", row["miou"] is None, -(row["miou"] or 0.0)
