"""From the table of runs to what a chart over sequence length says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from harness import replicates, scaling
from harness.scaling import Crossover, Exponent

Row = dict[str, Any]
# Columns in which the cells of one curve must agree, beside contender, phase and seq_len.
SETTINGS = (
    *("device", "dtype", "batch", "d_model", "heads", "d_ff", "layers", "vocab"),
    *("causal", "threads", "data", "seed"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A cell that was measured, in SI units."""

    length: int
    value: float  # median
    lo: float  # 95 % interval, see `harness.replicates`; NaN where it cannot be told
    hi: float
    samples: tuple[float, ...]
    launches: tuple[int, ...] = ()
    sittings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A cell without a number, and why."""

    length: int
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One contender over sequence length."""

    contender: str
    slot: int  # place in the suite, which fixes its look; the first is the baseline
    points: tuple[Point, ...]  # by growing length
    failures: tuple[Failure, ...]
    lengths: tuple[int, ...]  # all that have an answer, measured or failed
    exponent: Exponent | None
    crossover: Crossover | None  # with the baseline
    shared: tuple[int, ...]  # lengths at which it and the baseline were both measured

    @property
    def at(self) -> dict[int, Point]:
        """Points by length."""
        return {point.length: point for point in self.points}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Everything that one scaling chart shows."""

    metric: str
    unit: str
    better: str
    phase: str
    curves: tuple[Curve, ...]  # in the order of the suite, baseline first
    methods: tuple[str, ...]  # instruments
    zeros: int  # measured cells whose value a logarithmic axis cannot show

    @property
    def measured(self) -> bool:
        """Whether there is a number at all."""
        return any(curve.points for curve in self.curves)

    @property
    def has_guides(self) -> bool:
        """Whether lines that grow as n and n^2 help: growth is a cost, and there is some."""
        return self.measured and self.better == "lower" and len(self.lengths) > 2

    @property
    def lengths(self) -> list[int]:
        """All lengths that have an answer, growing."""
        return sorted({n for curve in self.curves for n in curve.lengths})

    @property
    def counts(self) -> list[int]:
        """The fewest and the most samples behind a point; empty without points."""
        n = [len(point.samples) for curve in self.curves for point in curve.points]
        return [min(n), max(n)] if n else []


def records(table: pd.DataFrame) -> list[Row]:
    """Return the rows of `store.frame` as plain values; what is missing is None."""
    plain = table.astype(object)
    numbers = table.select_dtypes("float64").columns  # of these, what is missing is NaN
    others = plain.columns.difference([*numbers, "samples"])
    plain[others] = plain[others].where(plain[others].notna(), None)
    rows: list[Row] = plain.to_dict("records")
    return rows


def metrics(rows: Sequence[Row]) -> list[str]:
    """Return the metrics to choose from: time, memory, tokens per second, then the others."""
    found = {row["metric"] for row in rows} - {None}
    first = [name for name in ("latency", "peak_memory", "throughput") if name in found]
    return first + sorted(found.difference(first))


def settings(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Return the settings in which cells differ, each with its values."""
    values = {name: sorted({row[name] for row in rows}) for name in SETTINGS}
    return {name: options for name, options in values.items() if len(options) > 1}


def chart(rows: Sequence[Row], contenders: Sequence[str], metric: str, phase: str) -> Chart:
    """Build the curves of one metric and phase.

    Args:
        rows: `records` that agree in all `SETTINGS`.
        contenders: ids in the order of the suite; the first is the baseline.
        metric: one of `metrics(rows)`, or any name.
        phase: forward, train_step, ...
    """
    cells = [row for row in rows if row["phase"] == phase]
    measured = [row for row in cells if row["metric"] == metric and row["outcome"] == "ok"]
    positive = [row for row in measured if row["n"] and min(row["samples"]) > 0]
    points = {name: _points(positive, name) for name in contenders}
    better = measured[0]["better"] if measured else "lower"
    curves = (
        Curve(
            contender=name,
            slot=slot,
            points=points[name],
            failures=_failures(cells, name),
            lengths=tuple(sorted({row["seq_len"] for row in cells if row["contender"] == name})),
            exponent=_exponent(points[name]),
            crossover=_crossover(points[contenders[0]], points[name], better) if slot else None,
            shared=_shared(points[contenders[0]], points[name]),
        )
        for slot, name in enumerate(contenders)
    )
    return Chart(
        metric=metric,
        unit=measured[0]["unit"] if measured else "1",
        better=better,
        phase=phase,
        curves=tuple(curve for curve in curves if curve.lengths),
        methods=tuple(sorted({row["method"] for row in measured if row["method"]})),
        zeros=len(measured) - len(positive),
    )


def _points(rows: Sequence[Row], contender: str) -> tuple[Point, ...]:
    points = (_point(row) for row in rows if row["contender"] == contender)
    return tuple(sorted(points, key=lambda point: point.length))


def _point(row: Row) -> Point:
    values = replicates.of_words(
        tuple(row["samples"]), row.get("launches") or "", row.get("sittings") or ""
    )
    return Point(
        length=row["seq_len"],
        value=row["value"],
        lo=row["lo"],
        hi=row["hi"],
        samples=tuple(values.samples),
        launches=tuple(values.launches),
        sittings=tuple(values.sittings),
    )


def _failures(rows: Sequence[Row], contender: str) -> tuple[Failure, ...]:
    cells = {
        row["seq_len"]: Failure(
            length=row["seq_len"], outcome=row["outcome"], reason=row["reason"] or ""
        )
        for row in rows
        if row["contender"] == contender and row["outcome"] != "ok"
    }
    return tuple(cells[n] for n in sorted(cells))


def _exponent(points: Sequence[Point]) -> Exponent | None:
    return scaling.fit_exponent([p.length for p in points], points)


def _shared(baseline: Sequence[Point], points: Sequence[Point]) -> tuple[int, ...]:
    return tuple(sorted({p.length for p in baseline} & {p.length for p in points}))


def _crossover(baseline: Sequence[Point], points: Sequence[Point], better: str) -> Crossover | None:
    """Return where the contender becomes better; of what should be high, the inverse is low."""
    shared = _shared(baseline, points)
    first, second = ({p.length: p for p in each} for each in (baseline, points))
    if better == "higher":
        first, second = ({n: _inverse(p) for n, p in d.items()} for d in (first, second))
    return scaling.crossover(shared, [first[n] for n in shared], [second[n] for n in shared])


def _inverse(point: Point) -> Point:
    return replace(point, samples=tuple(1 / x for x in point.samples))
