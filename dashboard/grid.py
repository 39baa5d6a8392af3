"""Cells as a grid of contenders and lengths, each with a number or a reason. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.curves import Chart


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One cell."""

    line: str
    length: int
    outcome: str
    reason: str
    value: float | None  # median in SI units; None: no number
    unit: str
    ratio: float | None  # to the best of its length, 1 or more; None where that has no meaning
    n: int  # samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """All cells of a selection for one metric."""

    lines: tuple[str, ...]
    lengths: tuple[int, ...]
    entries: Mapping[tuple[str, int], Entry]

    def at(self, line: str, length: int) -> Entry | None:
        """Return a cell; None where none was planned."""
        return self.entries.get((line, length))

    @property
    def counts(self) -> dict[str, int]:
        """Number of cells by outcome."""
        return dict(Counter(entry.outcome for entry in self.entries.values()))


def grid(chart: Chart) -> Grid:
    """Build the grid of a chart's metric and phase."""
    best = {n: _best(chart, n) for n in chart.lengths}
    entries: dict[tuple[str, int], Entry] = {}
    for curve in chart.curves:
        failures = {failure.length: failure for failure in curve.failures}
        for n in curve.lengths:
            point, failure = curve.at.get(n), failures.get(n)
            value = point.value if point else None
            entries[curve.contender, n] = Entry(
                line=curve.contender,
                length=n,
                outcome=failure.outcome if failure else "ok",
                reason=failure.reason if failure else "" if point else "not measured in this cell",
                value=value,
                unit=chart.unit,
                ratio=_ratio(value, best[n], chart.better),
                n=len(point.samples) if point else 0,
            )
    lines = tuple(curve.contender for curve in chart.curves)
    return Grid(lines=lines, lengths=tuple(chart.lengths), entries=entries)


def _best(chart: Chart, length: int) -> float | None:
    values = [curve.at[length].value for curve in chart.curves if length in curve.at]
    if not values:
        return None
    return min(values) if chart.better == "lower" else max(values)


def _ratio(value: float | None, best: float | None, better: str) -> float | None:
    if not value or not best or min(value, best) <= 0:
        return None
    return value / best if better == "lower" else best / value
