"""The table behind a chart: the same numbers, to read and to take away."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from fusionlib.charts.diagnostics import name_of
from fusionlib.studio.diagnosis_obstacles import NO_CODE

Row = Mapping[str, Any]


def twin(rows: Sequence[Row], name: str, *, expanded: bool = False) -> None:
    """An expander with the chart's table and its CSV; `name` is the file's and the widgets' name."""
    with st.expander("Table", expanded=expanded, icon=":material/table_rows:"):
        if not rows:
            st.caption("Nothing to list yet.")
            return
        known = {key for row in rows for key, value in row.items() if value is not None}
        st.dataframe(
            [{key: value for key, value in row.items() if key in known} for row in rows],
            hide_index=True,
            key=f"table-{name}",
            placeholder="n/a",
        )
        csv_button(rows, name, f"csv-{name}")


def csv_button(rows: Sequence[Row], name: str, key: str) -> None:
    """The rows to take away as NAME.csv."""
    st.download_button(
        "CSV", as_csv(rows), f"{name}.csv", "text/csv", key=key, icon=":material/download:", on_click="ignore"
    )


def as_csv(rows: Sequence[Row]) -> str:
    """Rows with a header; columns of all rows, None as nothing.

    Texts that a spreadsheet would take for a formula get a quote.
    """
    stream = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = csv.writer(stream, lineterminator="\n")
    table.writerow([_defused(column) for column in columns])
    table.writerows([[_defused(row.get(column, "")) for column in columns] for row in rows])
    return stream.getvalue()


def _defused(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def name_width(names: Iterable[str]) -> int:
    """Pixels of the column that stays while others are moved: all of a name, up to a third of a small window."""
    return min(max([200, *(20 + round(7.2 * len(name)) for name in names)]), 340)


def similarity_rows(pair: Row) -> list[dict[str, Any]]:
    """One row a block: CKA and distance of its features."""
    apart = {row["block"]: row for row in pair.get("feature_distance") or ()}
    return [
        {
            **row,
            "l2 distance": apart.get(row["block"], {}).get("distance"),
            "l2 over size": apart.get(row["block"], {}).get("relative"),
        }
        for row in pair["cka"]
    ]


def pair_rows(pairs: Sequence[Row]) -> list[dict[str, Any]]:
    """One row a pair: all whole-network figures."""
    rows = []
    for pair in pairs:
        barriers = pair["barrier"] or {}
        loss, miou = (barriers.get(name) or {} for name in ("loss", "miou"))
        rows.append(
            {
                "A": pair["a"],
                "B": pair["b"],
                "verdict": pair["verdict"]["level"],
                "start alpha": pair["verdict"]["alpha"],
                "measured": pair["verdict"]["measured"],
                "cosine": pair["cosine"],
                "cosine with statistics": pair["cosine_with_buffers"],
                "cosine backbone": pair["parts"]["backbone"]["cosine"],
                "cosine head": pair["parts"]["head"]["cosine"],
                **{f"cosine {group}": value for group, value in pair["cosine_groups"].items()},
                "worst block": _worst(pair, "block"),
                "cosine worst block": _worst(pair, "cosine"),
                "L2": pair["l2"],
                "norm A": pair["norm_a"],
                "norm B": pair["norm_b"],
                **{f"moved {group} (%)": percent(value) for group, value in pair["discrepancy"].items()},
                "oracle mIoU (%)": percent(pair["oracle_miou"]),
                "oracle over best single (points)": percent(pair["oracle_headroom"]),
                "oracle over merge (points)": percent(pair["oracle_over_merge"]),
                "disagreement (%)": percent(pair["disagreement"]),
                "diversity (%)": pair["diversity"],
                "best merge gain (points)": percent(pair["gain"]),
                "gain, 95 % from (points)": percent(_interval(pair)[0]),
                "gain, 95 % to (points)": percent(_interval(pair)[1]),
                "resampled": _resampled(pair),
                "loss barrier, line (nats)": loss.get("entezari"),
                "loss barrier, mean (nats)": loss.get("frankle"),
                "mIoU barrier, line (points)": percent(miou.get("entezari")),
                "mIoU barrier, mean (points)": percent(miou.get("frankle")),
            }
        )
    return rows


def _worst(pair: Row, what: str) -> Any:
    return (pair["verdict"]["evidence"]["worst_block"] or {}).get(what)


def _interval(pair: Row) -> Sequence[float | None]:
    return pair["verdict"]["evidence"]["interval"] or (None, None)


def _resampled(pair: Row) -> str | None:
    units = pair["verdict"]["evidence"]["units"]
    return units and f"{units['count']} {units['kind']}"


def single_rows(singles: Sequence[Row]) -> list[dict[str, Any]]:
    """One row a network."""
    rows = [
        {
            "network": one["name"],
            "norm of the parameters": one["norm"],
            "mIoU (%)": percent(one["miou"]),
            "pixel accuracy (%)": percent(one["pixel_accuracy"]),
            "loss (nats)": one["loss"],
            "guesses": "no better than the commonest class everywhere" if one["guesses"] else None,
            "not measured because": _short(one["reason"]),
        }
        for one in singles
    ]
    for row in rows if not any(one["reason"] for one in singles) else ():
        del row["not measured because"]
    return rows


def _short(reason: str | None) -> str:
    return "no model code" if (reason or "").startswith(NO_CODE) else reason or ""


def layer_rows(pairs: Sequence[Row], measure: str, kind: str) -> list[dict[str, Any]]:
    """One row a layer, one column a pair."""
    order = list(
        dict.fromkeys(
            (layer["name"], layer["part"]) for pair in pairs for layer in pair["layers"] if layer["kind"] == kind
        )
    )
    tables = {name_of(pair): {layer["name"]: layer[measure] for layer in pair["layers"]} for pair in pairs}
    return [
        {"layer": name, "part": part, **{pair: table.get(name) for pair, table in tables.items()}}
        for name, part in order
    ]


def percent(value: float | None) -> float | None:
    """A fraction as a percentage."""
    return None if value is None else 100 * value
