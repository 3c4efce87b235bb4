"""The tables of the guide, by what is registered when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Row = Mapping[str, str]
"""One row of a table: column to text."""


def opens() -> list[Row]:
    """What opens without code, for the README: networks by whose names of tensors they go, then data."""
    from fusionlib.contracts import ARCHITECTURES, DATASETS

    networks: dict[str, list[str]] = {}
    for name, item in sorted(ARCHITECTURES.items()):
        if not hasattr(item, "named") and getattr(item, "listed", True):
            networks.setdefault(getattr(item, "names", item.title), []).append(f"`{name}`")
    return [
        *({"what opens": ", ".join(own), "as": f"tensors named as in {names}"} for names, own in networks.items()),
        *({"what opens": item.title, "as": f"`{item.usage}`"} for _, item in sorted(DATASETS.items())),
    ]


def _methods() -> list[Row]:
    from fusionlib.contracts import METHODS

    needs = {"weights": "", "architecture": "a built-in network", "pictures": "unlabelled pictures (--data)"}
    return [
        {
            "name": name,
            "title": method.title,
            "what it does": method.summary,
            "needs": needs[method.needs],
            "source": method.citation,
            "version": str(method.version),
        }
        for name, method in sorted(METHODS.items())
    ]


def _parameters() -> list[Row]:
    from fusionlib.contracts import METHODS, STRATEGIES, STUDIES

    return _parameters_in(METHODS, STUDIES, STRATEGIES)


def _regime_parameters() -> list[Row]:
    from fusionlib.contracts import REGIMES

    return _parameters_in(REGIMES)


def _parameters_in(*registries: Any) -> list[Row]:
    from fusionlib.contracts import parameters_of

    return [
        {
            "of": name,
            "parameter": item.name,
            "default": _usual(item),
            "range": _range(item),
            "what it is": item.help,
        }
        for registry in registries
        for name, owner in sorted(registry.items())
        for item in parameters_of(owner)
    ]


def _usual(item: Any) -> str:
    started = "" if item.from_start is None else f" ({item.from_start} with --start)"
    return "" if item.default in ((), {}) else f"{item.default}{started}"


def _range(item: Any) -> str:
    if item.choices:
        return ", ".join(item.choices)
    return "" if item.min is None and item.max is None else f"{_number(item.min)} to {_number(item.max)}"


def _number(value: float | None) -> str:
    if value is None:
        return "any"
    return f"{value:.0f}" if value == int(value) else f"{value:g}"


def _statistics() -> list[Row]:
    from fusionlib.contracts import STATISTICS

    grains = {"checkpoint": "each checkpoint", "pair": "each with the anchor", "set": "all together"}
    return [
        {
            "name": name,
            "title": item.title,
            "what it is": item.summary,
            "one for": grains[item.grain],
            "needs": item.needs,
            "source": item.source,
            "version": str(item.version),
        }
        for name, item in sorted(STATISTICS.items())
    ]


def _measures() -> list[Row]:
    from fusionlib.contracts import MEASURES

    networks = {"one": "one network", "pair": "two networks", "set": "two networks or more"}
    return [
        {
            "name": name,
            "what it says": item.summary,
            "networks": networks[item.networks],
            "needs": item.needs,
            "source": item.source,
            "version": str(item.version),
        }
        for name, item in sorted(MEASURES.items())
    ]


def _figures() -> list[Row]:
    from fusionlib.contracts import MEASURES

    return [
        {
            "of": name,
            "figure": figure.name,
            "label": figure.label,
            "unit": figure.unit,
            "for each": figure.each,
            "better": figure.better,
            "what it is": figure.help,
        }
        for name, item in sorted(MEASURES.items())
        for figure in item.figures
    ]


def _studies() -> list[Row]:
    from fusionlib.contracts import STUDIES

    return [
        {"name": name, "what it finds out": item.summary, "source": item.source, "version": str(item.version)}
        for name, item in sorted(STUDIES.items())
    ]


def _strategies() -> list[Row]:
    from fusionlib.contracts import STRATEGIES

    return [
        {
            "name": name,
            "what it does": item.summary,
            "checkpoints": f"{item.fewest}" if item.fewest == item.most else f"{item.fewest} to {item.most}",
            "source": item.source,
            "version": str(item.version),
        }
        for name, item in sorted(STRATEGIES.items())
    ]


def _regimes() -> list[Row]:
    from fusionlib.contracts import REGIMES

    return [
        {
            "name": name,
            "what it does": item.summary,
            "what it leaves": item.leaves,
            "needs": "--target" if item.needs_target else "--start" if item.wants_start else "",
            "when it helps": item.helps,
            "source": item.citation,
            "version": str(item.version),
        }
        for name, item in sorted(REGIMES.items())
    ]


def _posteriors() -> list[Row]:
    from fusionlib.contracts import POSTERIORS

    return [
        {"name": name, "what its samples are": item.summary, "source": item.citation}
        for name, item in sorted(POSTERIORS.items())
    ]


def _diagnostics() -> list[Row]:
    from fusionlib.contracts import DIAGNOSTICS

    return [
        {
            "name": name,
            "title": item.title,
            "what it says": item.summary,
            "needs": item.needs,
            "source": item.source,
        }
        for name, item in sorted(DIAGNOSTICS.items())
    ]


def _verdicts() -> list[Row]:
    from fusionlib.diagnostics.verdict import RULES

    return [{"when": rule.when, "verdict": rule.then, "source": rule.source} for rule in RULES]


def _architectures() -> list[Row]:
    from fusionlib.contracts import ARCHITECTURES

    return [
        {
            "name": name,
            "title": item.title,
            "tensors named as in": getattr(item, "names", item.title),
            "output stride": str(getattr(item, "stride", "")),
            "layers move live": "from the first that changed" if hasattr(item, "stages") else "",
            "units can be matched": "yes" if hasattr(item, "permutations") else "",
            "source": item.citation,
            "version": str(getattr(item, "version", 1)),
        }
        for name, item in sorted(ARCHITECTURES.items())
    ]


def _datasets() -> list[Row]:
    from fusionlib.contracts import DATASETS

    return [{"name": name, "spec": item.usage, "what": item.title} for name, item in sorted(DATASETS.items())]


def _label_spaces() -> list[Row]:
    from fusionlib.data.labels import LABEL_SPACES

    return [
        {"name": name, "title": space.title, "classes": ", ".join(space.names)} for name, space in LABEL_SPACES.items()
    ]


def _buffers() -> list[Row]:
    from fusionlib.merging.choices import POLICIES

    return [{"name": name, "what it does": text} for name, text in POLICIES.items()]


def _rules() -> list[Row]:
    from fusionlib.merging.choices import RULES

    return [{"name": name, "what it does": text} for name, text in RULES.items()]


def _rows() -> list[Row]:
    from fusionlib.studies.choices import GROUPS

    return [{"name": name, "what they are": text} for name, text in GROUPS.items()]


def _domain_rows() -> list[Row]:
    from fusionlib.studies.choices import DOMAIN_ROWS

    return [{"name": name, "what they are": text} for name, text in DOMAIN_ROWS.items()]


TABLES: Mapping[str, Callable[[], list[Row]]] = {
    "methods": _methods,
    "parameters": _parameters,
    "statistics": _statistics,
    "measures": _measures,
    "figures": _figures,
    "studies": _studies,
    "strategies": _strategies,
    "regimes": _regimes,
    "regime-parameters": _regime_parameters,
    "posteriors": _posteriors,
    "diagnostics": _diagnostics,
    "verdicts": _verdicts,
    "architectures": _architectures,
    "datasets": _datasets,
    "label-spaces": _label_spaces,
    "buffers": _buffers,
    "rules": _rules,
    "rows": _rows,
    "domain-rows": _domain_rows,
}
"""Name of a placeholder to what makes its table."""
