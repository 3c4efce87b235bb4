"""Calibration figures as text."""

from __future__ import annotations

from typing import Any

from fusionlib.cli.common import percent


def show_calibration(result: dict[str, Any]) -> None:
    """Figures, then the bins of the reliability diagram."""
    from fusionlib.measures.calibration_summary import FIGURES

    print(f"\ncalibration over {result['pixels']:,} labelled pixels, {len(result['bins'])} bins of equal width")
    for figure in FIGURES:
        value, unit = result[figure.name], figure.unit
        title = f"{figure.label} ({unit})" if unit not in ("", "%") else figure.label
        text = percent(value) if unit == "%" else "n/a" if value is None else f"{value:.{figure.digits}f}"
        print(f"{title:48}{text:>10}")
    print(f"{'confidence':>16}{'pixels':>14}{'accuracy':>11}{'mean conf.':>12}")
    for bin in result["bins"]:
        span = f"{bin['low']:.3f} - {bin['high']:.3f}"
        print(f"{span:>16}{bin['count']:>14,}{percent(bin['accuracy']):>11}{percent(bin['confidence']):>12}")
