"""One cell, one run, one comparison and lists in full, as sheets of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from harness import diagnostics, replicates, stats
from harness.codec import encode
from harness.compare import CellComparison, Comparison
from harness.judging.change import Change, Ratio
from harness.judging.conditions import text, used
from harness.judging.panels import HEADLINES, in_order
from harness.schema import Cell, Measurement, Outcome, Result, Run
from harness.telling import units, words
from harness.telling.efficiency import efficiency
from harness.telling.tables import Sheet


def cell_sheets(run: Run, result: Result) -> list[Sheet]:
    """Return everything that is known of one cell: outcome, samples, facts, environment."""
    environment = run.environments.get(result.environment or "")
    derived = efficiency(result, environment)
    return [
        ending_sheet(result),
        measured_sheet(result),
        *([derived] if derived.rows else []),
        *_behaviour(result.measurements),
        pairs("facts", result.facts),
        pairs("cell", encode(result.cell)),
        pairs("environment", environment.fields if environment else {}),
    ]


def ending_sheet(result: Result) -> Sheet:
    """Return how a cell ended."""
    return Sheet(title=result.cell.id, header=("", ""), rows=_ending(result))


def measured_sheet(result: Result) -> Sheet:
    """Return the measurements of a cell, summarised."""
    return Sheet(
        title="measurements",
        header=("metric", "n", "median", "95 % interval", "min", "IQR", "max", "stop"),
        rows=tuple(_measured(m) for m in result.measurements),
        notes=tuple(f"{m.metric}: {m.method}" for m in result.measurements if m.method),
    )


def run_sheets(run: Run) -> list[Sheet]:
    """Return what was asked, under which conditions, and how every cell ended."""
    header = run.header
    asked = {
        "run": header.run_id,
        "suite": header.suite,
        "question": header.question,
        "command": " ".join(header.command),
        "overrides": ", ".join(header.overrides) or None,
        "created at": header.created_at,
        "contenders": ", ".join(contender.id for contender in header.contenders),
        "metrics": ", ".join(header.metrics),
        "protocol": header.protocol,
        "plugins": ", ".join(header.plugins) or None,
    }
    results = run.by_cell
    cells = {cell.id: cell for cell in (*header.cells, *(r.cell for r in run.results))}
    rows = tuple(_ended(cell, results.get(cell.id)) for cell in in_order(cells.values(), run))
    return [
        pairs("run", asked),
        pairs("environment", {key: " | ".join(values) for key, values in used(run).items()}),
        Sheet(title="cells", header=("cell", "outcome", "figures"), rows=rows, notes=run.notes),
    ]


def comparison_sheets(found: Comparison, *, every: bool = False) -> list[Sheet]:
    """Return the differences of the environments, then each cell and metric with its verdict.

    Args:
        found: what to tell.
        every: tell also of metrics that only explain and are not judged.
    """
    conditions = Sheet(
        title="conditions that differ",
        header=("", "base", "candidate", "forbids to compare"),
        rows=tuple((d.key, d.base, d.candidate, d.forbids) for d in found.differences),
    )
    rows = tuple(row for each in found.cells for row in _compared(each, every=every))
    verdicts = [words.count(n, "cell") + f" {verdict}" for verdict, n in found.counts.items()]
    means = [
        f"{metric.replace('_', ' ')}: geometric mean ratio {units.number(mean)}"
        for metric in HEADLINES
        if (mean := found.mean_ratio(metric)) is not None
    ]
    ratios = Sheet(
        title=f"candidate {found.candidate} against base {found.base}",
        header=("cell", "metric", "base", "candidate", "ratio", "95 % interval", "verdict"),
        rows=rows,
        notes=(", ".join(verdicts) or "no cell in either run", *means),
    )
    return [conditions, ratios] if found.differences else [ratios]


def plan_sheet(cells: Sequence[Cell], estimates: Mapping[str, str] | None = None) -> Sheet:
    """Return the cells that would run, in order; estimates are texts by cell id."""
    told = estimates or {}
    rows = tuple(
        (str(i), cell.contender, cell.phase, units.length(cell.seq_len), *_kind(cell))
        + ((told.get(cell.id, "unknown"),) if told else ())
        for i, cell in enumerate(cells, start=1)
    )
    header = ("", "contender", "phase", "length", "batch", "dtype", "device", "attention")
    title = words.count(len(cells), "cell")
    return Sheet(title=title, header=header + (("estimate",) if told else ()), rows=rows)


def pairs(title: str, fields: Mapping[str, Any]) -> Sheet:
    """Return a two-column sheet of names and values; mappings within are told key by key."""
    rows: list[tuple[str, str]] = []
    for key, value in fields.items():
        encoded = encode(value)
        nested = cast("dict[str, Any]", encoded) if isinstance(encoded, dict) else {}
        rows += [(f"{key}.{name}", text(item)) for name, item in nested.items()]
        rows += [] if nested else [(key, text(value))]
    return Sheet(title=title, header=("", ""), rows=tuple(rows))


def _ending(result: Result) -> tuple[tuple[str, str], ...]:
    known = {
        "outcome": words.outcome(result.outcome),
        "reason": result.reason,
        "stage": result.stage,
        "asked for": _bytes(result.requested_bytes),
        "started at": result.started_at or None,
        "attempt": str(result.attempt),
        "took": units.quantity(result.wall_ns, "ns") if result.wall_ns else None,
        "of that measuring": units.quantity(result.measured_ns, "ns")
        if result.measured_ns
        else None,
    }
    return tuple((key, value) for key, value in known.items() if value is not None)


def _bytes(value: int | None) -> str | None:
    return None if value is None else f"{units.quantity(value, 'byte')} ({value:,} bytes)"


def _measured(measurement: Measurement) -> tuple[str, ...]:
    if not measurement.samples:
        return (measurement.metric, "0", *["-"] * 5, measurement.stop)
    found = stats.summarize(measurement.samples)
    step = units.scale([found.median], measurement.unit)
    name = f" {step.name}" if step.name else ""
    bounds = "-"
    if reach := replicates.interval(measurement):
        bounds = f"{step.text(reach.lo)} to {step.text(reach.hi)}{name}"
    spread = [
        step.text(value) + name for value in (found.minimum, found.q3 - found.q1, found.maximum)
    ]
    middle = f"{step.text(found.median)}{name}"
    return (measurement.metric, str(found.n), middle, bounds, *spread, measurement.stop)


def _behaviour(measurements: Sequence[Measurement]) -> list[Sheet]:
    """Return whether samples are independent, of one mode and without wild ones, if any vary."""
    rows = tuple(_behaved(m) for m in measurements if len(set(m.samples)) > 1)
    if not rows:
        return []
    header = ("samples", "lag-1 correlation", "worth", "outliers", "modes", "launches differ by")
    notes = (
        "worth: independent samples with the same error of the mean; outliers lie beyond Tukey's "
        "fences and are counted, not removed; launches: range of their medians over the median",
    )
    return [Sheet(title="how samples behave", header=header, rows=rows, notes=notes)]


def _behaved(measurement: Measurement) -> tuple[str, ...]:
    samples = measurement.samples
    correlation = diagnostics.autocorrelation(samples)
    wild = len(diagnostics.outliers(samples))
    found = diagnostics.modes(samples)
    between = diagnostics.spread_between(samples, measurement.launches)
    apart = "one"
    if found:
        ends = units.span(found.low, found.high, measurement.unit)
        apart = f"two, {ends}, {units.percent(found.share)} in the upper"
    return (
        measurement.metric,
        "-" if correlation is None else f"{correlation:.2f}",
        f"{diagnostics.effective_size(samples):.0f} of {len(samples)}",
        str(wild),
        apart,
        "-" if between is None else f"{units.percent(between)} ({len(measurement.launches)})",
    )


def _ended(cell: Cell, result: Result | None) -> tuple[str, str, str]:
    if result is None:
        return cell.id, "not run", ""
    if result.outcome is not Outcome.OK:
        return cell.id, words.outcome(result.outcome), result.reason or ""
    figures = [
        f"{m.metric.replace('_', ' ')} {units.quantity(stats.median(m.samples), m.unit)}"
        for m in result.measurements
        if m.metric in HEADLINES and m.samples
    ]
    return cell.id, words.outcome(result.outcome), ", ".join(figures)


def _compared(each: CellComparison, *, every: bool) -> list[tuple[str, ...]]:
    name = f"{each.cell.contender} {each.cell.phase} {units.length(each.cell.seq_len)}"
    if not each.changes:
        ends = ("-" if o is None else words.outcome(o) for o in (each.base, each.candidate))
        return [(name, "outcome", *ends, "-", "-", f"{each.verdict}: {each.reason}")]
    rows = [_changed(change) for change in each.changes if every or change.judged]
    return [(name if i == 0 else "", *row) for i, row in enumerate(rows)]


def _changed(change: Change) -> tuple[str, ...]:
    verdict = f"{change.verdict}: {change.reason}" if change.reason else str(change.verdict)
    if change.ratio is None:
        return (change.metric, "-", "-", "-", "-", verdict)
    value = change.ratio.value
    return (
        change.metric,
        units.quantity(change.ratio.base, change.unit),
        units.quantity(change.ratio.candidate, change.unit),
        "-" if value is None else units.number(value),
        _reach(change.ratio),
        verdict,
    )


def _reach(ratio: Ratio) -> str:
    if ratio.interval is None:
        return "-"
    lo, hi = ratio.interval
    return "exact" if lo == hi else f"{units.number(lo)} to {units.number(hi)}"


def _kind(cell: Cell) -> tuple[str, ...]:
    return str(cell.batch), cell.dtype, cell.device, f"{cell.attention} ({cell.impl})"
