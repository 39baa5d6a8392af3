"""The numbers behind a chart, one row a cell, in one unit a column."""

from __future__ import annotations

import statistics
from typing import Any

from dashboard import theme
from dashboard.curves import Chart


def numbers(chart: Chart) -> list[dict[str, Any]]:
    """Return a row for each contender and length: outcome, median, interval, samples, reason."""
    values = [point.value for curve in chart.curves for point in curve.points]
    size, symbol = theme.step(statistics.median(values), chart.unit) if values else (1.0, "")
    unit = " ".join(
        part for part in (symbol, chart.unit if chart.unit == "token/s" else "") if part
    )
    head = f" ({unit})" if unit else ""
    rows: list[dict[str, Any]] = []
    for curve in chart.curves:
        failures = {failure.length: failure for failure in curve.failures}
        for length in curve.lengths:
            point, failure = curve.at.get(length), failures.get(length)
            row: dict[str, Any] = {"contender": curve.contender, "tokens": length}
            row["outcome"] = failure.outcome if failure else "ok"
            row[f"median{head}"] = _rounded(point.value / size) if point else None
            row[f"low{head}"] = _rounded(point.lo / size) if point and point.lo > 0 else None
            row[f"high{head}"] = _rounded(point.hi / size) if point and point.hi > 0 else None
            row["samples"] = len(point.samples) if point else 0
            row["reason"] = failure.reason if failure else ""
            rows.append(row)
    return rows


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
