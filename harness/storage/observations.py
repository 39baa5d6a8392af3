"""Runs as one table: a row for each metric of each cell, in SI units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from harness import frontier, replicates, roofline, stats
from harness.codec import canonical
from harness.replicates import Replicated, Samples
from harness.roofline import Derived
from harness.schema import Cell, Measurement, Result, Run
from harness.storage import arrow

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs] - pandas ships none

SI = {"ns": ("s", 1e9)}  # unit of the files -> unit of the table, divisor; others stay
KINDS = {  # column -> type in pandas; texts repeat and are categories; Int64 may be missing
    **dict.fromkeys(("run_id", "suite", "created_at", "cell_id", "contender", "model"), "category"),
    **dict.fromkeys(("attention", "impl", "options", "phase"), "category"),
    **dict.fromkeys(("seq_len", "batch", "d_model", "heads", "d_ff", "layers", "vocab"), "int64"),
    "causal": "bool",
    **dict.fromkeys(("dtype", "device"), "category"),
    "threads": "int64",
    "data": "category",
    "seed": "int64",
    "memory_bytes": "Int64",
    "task": "category",
    "tokens": "int64",
    **dict.fromkeys(("outcome", "reason", "stage"), "category"),
    "requested_bytes": "Int64",
    "environment": "category",
    "attempt": "int64",
    **dict.fromkeys(("metric", "unit", "better"), "category"),
    "n": "int64",
    **dict.fromkeys(("value", "lo", "hi"), "float64"),
    "samples": "object",
    **dict.fromkeys(("launches", "sittings"), "category"),
    **dict.fromkeys(("method", "stop"), "category"),
}
COLUMNS = tuple(KINDS)
CELL = tuple(f.name for f in fields(Cell) if f.name in KINDS and f.name != "options")
RESULT = ("reason", "stage", "requested_bytes", "environment", "attempt")
NAN = float("nan")
Row = dict[str, Any]


def frame(runs: Iterable[Run]) -> DataFrame:
    """Return the table with the columns and types of `KINDS`, whatever the runs hold.

    A cell without measurements has one row whose metric is missing (`isna`). `value` is the median
    and `lo`, `hi` its 95 % interval (`replicates.interval`), NaN where it cannot be told; `samples`
    is an array of float64; `launches` and `sittings` say how they came about
    (`replicates.of_words`).
    `throughput` (token/s) is derived from each `latency`; rates, MFU and roofline figures follow
    from `harness.roofline`. Texts are categories; those that are missing are NaN.
    """
    return arrow.joined([table(runs)], KINDS)


def table(runs: Iterable[Run]) -> arrow.Table:
    """Return the same in the form in which it can be kept and joined."""
    return arrow.table([row for run in runs for row in _of_run(run)], KINDS)


def _of_run(run: Run) -> Iterator[Row]:
    longest = {e.longest.cell.id for e in frontier.edges(run) if e.longest and e.complete}
    for result in run.results:
        yield from _rows(run, result)
        if result.cell.id in longest:
            yield _identity(run, result) | _frontier(result.cell.seq_len)


def _rows(run: Run, result: Result) -> Iterator[Row]:
    """Yield a row a metric, or one without."""
    row = _identity(run, result)
    for measurement in result.measurements:
        yield row | _measured(measurement)
        if measurement.metric == "latency" and all(measurement.samples):
            yield row | _throughput(measurement, result.cell.tokens)
    for derived in roofline.derive(result, run.environments.get(result.environment or "")):
        yield row | _derived(derived)
    if not result.measurements:
        yield row | {"n": 0, "value": NAN, "lo": NAN, "hi": NAN, "samples": ()}


def _identity(run: Run, result: Result) -> Row:
    cell = result.cell
    row: Row = {name: getattr(cell, name) for name in (*CELL, "tokens")}
    row |= {"run_id": run.header.run_id, "suite": run.header.suite}
    row |= {"created_at": run.header.created_at, "cell_id": cell.id}
    row |= {"options": canonical(cell.options), "outcome": str(result.outcome)}
    return row | {name: getattr(result, name) for name in RESULT}


def _frontier(seq_len: int) -> Row:
    """Return the longest length that fits the cell's budget, as the metric `frontier`."""
    row: Row = {"metric": "frontier", "unit": "1", "better": "higher"}
    return row | _summary((float(seq_len),)) | {"method": "doubling and bisection", "stop": ""}


def _measured(measurement: Measurement) -> Row:
    unit, divisor = SI.get(measurement.unit, (measurement.unit, 1.0))
    samples = tuple(sample / divisor for sample in measurement.samples)
    row: Row = {"metric": measurement.metric, "unit": unit, "better": measurement.better}
    row |= {"method": measurement.method, "stop": measurement.stop}
    return row | _summary(samples, measurement)


def _throughput(latency: Measurement, tokens: int) -> Row:
    samples = tuple(tokens / (sample / SI["ns"][1]) for sample in latency.samples)
    row: Row = {"metric": "throughput", "unit": "token/s", "better": "higher"}
    row |= {"method": latency.method, "stop": latency.stop}
    return row | _summary(samples, latency)


def _derived(derived: Derived) -> Row:
    row: Row = {"metric": derived.metric, "unit": derived.unit, "better": derived.better}
    return row | {"method": derived.method, "stop": ""} | _summary(derived.samples, derived)


def _summary(samples: Sequence[float], source: Replicated | None = None) -> Row:
    """Return the columns of samples that were taken as those of their source."""
    values = Samples(samples=samples)
    if source is not None:
        values = replace(values, launches=source.launches, sittings=source.sittings)
    lo, hi = replicates.interval(values) or (NAN, NAN) if samples else (NAN, NAN)
    value = stats.median(samples) if samples else NAN
    row: Row = {"n": len(samples), "value": value, "lo": lo, "hi": hi, "samples": samples}
    return row | dict(zip(("launches", "sittings"), values.words, strict=True))
