"""Calibration figures as text."""

from __future__ import annotations

from typing import Any

from fusionlib.cli.common import percent

_PERCENT = {
    "ece_sample_weighted": "ECE (sample-weighted)",
    "ece_unweighted": "ECE (unweighted mean over bins, the paper's)",
    "ece_unweighted_all_bins": "  the same, empty bins in the denominator",
    "mce_minimum_count": "MCE (bins of at least 100 pixels)",
    "mce": "MCE (literal)",
    "adaptive_ece": "adaptive ECE (bins of equal mass)",
    "classwise_ece": "classwise ECE (by predicted class)",
}
_PLAIN = {
    "brier": "Brier score (0 to 2)",
    "nll": "negative log-likelihood (nats)",
    "kl": "KL, right from wrong pixels (nats)",
    "js": "Jensen-Shannon (nats)",
    "auroc": "misclassification AUROC",
}


def show_calibration(result: dict[str, Any]) -> None:
    """Figures, then the bins of the reliability diagram."""
    print(f"\ncalibration over {result['pixels']:,} labelled pixels, {len(result['bins'])} bins of equal width")
    for name, title in _PERCENT.items():
        print(f"{title:48}{percent(result[name]):>10}")
    for name, title in _PLAIN.items():
        value = result[name]
        print(f"{title:48}{'n/a' if value is None else f'{value:.4f}':>10}")
    print(f"{'confidence':>16}{'pixels':>14}{'accuracy':>11}{'mean conf.':>12}")
    for bin in result["bins"]:
        span = f"{bin['low']:.3f} - {bin['high']:.3f}"
        print(f"{span:>16}{bin['count']:>14,}{percent(bin['accuracy']):>11}{percent(bin['confidence']):>12}")
