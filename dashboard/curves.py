"""From the table of runs to what a chart over sequence length says. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dashboard.looks import PLAIN, Style
from dashboard.selecting import Table
from harness import replicates, scaling
from harness.scaling import Crossover, Exponent

Row = dict[str, Any]
TOLD = ("device", "dtype", "batch", "d_model", "heads", "layers", "threads")  # under a chart


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
    style: Style
    is_baseline: bool
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


def records(table: Table) -> list[Row]:
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


def with_derived(rows: Sequence[Row]) -> list[Row]:
    """Return the rows and, for each that has energy and tokens, joules per token."""
    extra = [
        row
        | {"metric": "joules_per_token", "unit": "J/token", "value": row["value"] / row["tokens"]}
        | {"lo": row["lo"] / row["tokens"], "hi": row["hi"] / row["tokens"]}
        | {"samples": [sample / row["tokens"] for sample in row["samples"]]}
        for row in rows
        if row["metric"] == "energy" and row["n"]
    ]
    return [*rows, *extra]


def chart(
    rows: Sequence[Row],
    contenders: Sequence[str],
    metric: str,
    phase: str,
    styles: Mapping[str, Style] | None = None,
    baseline: str | None = None,
) -> Chart:
    """Build the curves of one metric and phase.

    Args:
        rows: `records` that agree in all `SETTINGS`.
        contenders: those that are shown, in the order of the suite.
        metric: one of `metrics(rows)`, or any name.
        phase: forward, train_step, ...
        styles: looks by contender.
        baseline: what crossovers are told against; None: the first contender.
    """
    cells = [row for row in rows if row["phase"] == phase]
    measured = [row for row in cells if row["metric"] == metric and row["outcome"] == "ok"]
    positive = [row for row in measured if row["n"] and min(row["samples"]) > 0]
    points = {name: _points(positive, name) for name in contenders}
    better = measured[0]["better"] if measured else "lower"
    first = baseline if baseline is not None else next(iter(contenders), "")
    base = points.get(first, ())
    curves = (
        Curve(
            contender=name,
            style=(styles or {}).get(name, PLAIN),
            is_baseline=name == first,
            points=points[name],
            failures=_failures(cells, name),
            lengths=tuple(sorted({row["seq_len"] for row in cells if row["contender"] == name})),
            exponent=_exponent(points[name]),
            crossover=None if name == first else _crossover(base, points[name], better),
            shared=_shared(base, points[name]),
        )
        for name in contenders
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


def residuals(chart: Chart) -> list[dict[str, Any]]:
    """Return measured over fitted for each point that took part in a fit, a row a contender.

    The fitted line has the fitted exponent and goes through the geometric middle of its points.
    """
    found: list[dict[str, Any]] = []
    for curve in chart.curves:
        if (fit := curve.exponent) is None:
            continue
        own = [p for p in curve.points if fit.from_length <= p.length <= fit.to_length]
        offs = [math.log(p.value) - fit.exponent * math.log(p.length) for p in own]
        middle = math.fsum(offs) / len(offs)
        row: dict[str, Any] = {"contender": curve.contender}
        for point, off in zip(own, offs, strict=True):
            row[f"{point.length} tokens"] = round(math.exp(off - middle), 3)
        found.append(row)
    return found


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
