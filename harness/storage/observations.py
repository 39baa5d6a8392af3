"""Runs as one table: a row for each metric of each cell, in SI units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from harness import stats
from harness.schema import Cell, Measurement, Result, Run, canonical

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs] - pandas ships none

SI = {"ns": ("s", 1e9)}  # unit of the files -> unit of the table, divisor; others stay
KINDS = {  # column -> type in pandas; whole numbers that may be missing are Int64
    **dict.fromkeys(("run_id", "suite", "created_at", "cell_id", "contender", "model"), "string"),
    **dict.fromkeys(("attention", "impl", "options", "phase"), "string"),
    **dict.fromkeys(("seq_len", "batch", "d_model", "heads", "d_ff", "layers", "vocab"), "int64"),
    "causal": "bool",
    **dict.fromkeys(("dtype", "device"), "string"),
    "threads": "int64",
    "data": "string",
    **dict.fromkeys(("seed", "tokens"), "int64"),
    **dict.fromkeys(("outcome", "reason", "stage"), "string"),
    "requested_bytes": "Int64",
    "environment": "string",
    "attempt": "int64",
    **dict.fromkeys(("metric", "unit", "better"), "string"),
    "n": "int64",
    **dict.fromkeys(("value", "lo", "hi"), "float64"),
    "samples": "object",
    **dict.fromkeys(("method", "stop"), "string"),
}
COLUMNS = tuple(KINDS)
CELL = tuple(f.name for f in fields(Cell) if f.name in KINDS and f.name != "options")
RESULT = ("reason", "stage", "requested_bytes", "environment", "attempt")
NAN = float("nan")
Row = dict[str, Any]


def frame(runs: Iterable[Run]) -> DataFrame:
    """Return the table with the columns and types of `KINDS`, whatever the runs hold.

    A cell without measurements has one row whose metric is missing (`isna`). `value` is the median
    and `lo`, `hi` its 95 % interval, NaN below six samples. `throughput` (token/s) is derived from
    each `latency`. Strings that are missing are `pd.NA`.
    """
    # Imported here: `list`, `show` and `run` need not wait 0.3 s for it. It ships no stubs.
    import pandas as pd  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    rows = [row for run in runs for result in run.results for row in _rows(run, result)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(KINDS)  # pyright: ignore[reportUnknownMemberType] - pandas ships none


def _rows(run: Run, result: Result) -> Iterator[Row]:
    """Yield a row a metric, or one without."""
    cell = result.cell
    row: Row = {name: getattr(cell, name) for name in (*CELL, "tokens")}
    row |= {"run_id": run.header.run_id, "suite": run.header.suite}
    row |= {"created_at": run.header.created_at, "cell_id": cell.id}
    row |= {"options": canonical(cell.options), "outcome": str(result.outcome)}
    row |= {name: getattr(result, name) for name in RESULT}
    for measurement in result.measurements:
        yield row | _measured(measurement)
        if measurement.metric == "latency" and all(measurement.samples):
            yield row | _throughput(measurement, cell.tokens)
    if not result.measurements:
        yield row | {"n": 0, "value": NAN, "lo": NAN, "hi": NAN, "samples": ()}


def _measured(measurement: Measurement) -> Row:
    unit, divisor = SI.get(measurement.unit, (measurement.unit, 1.0))
    samples = tuple(sample / divisor for sample in measurement.samples)
    row: Row = {"metric": measurement.metric, "unit": unit, "better": measurement.better}
    return row | _summary(samples) | {"method": measurement.method, "stop": measurement.stop}


def _throughput(latency: Measurement, tokens: int) -> Row:
    samples = tuple(tokens / (sample / SI["ns"][1]) for sample in latency.samples)
    row: Row = {"metric": "throughput", "unit": "token/s", "better": "higher"}
    return row | _summary(samples) | {"method": latency.method, "stop": latency.stop}


def _summary(samples: tuple[float, ...]) -> Row:
    lo, hi = stats.median_interval(samples) or (NAN, NAN) if samples else (NAN, NAN)
    value = stats.median(samples) if samples else NAN
    return {"n": len(samples), "value": value, "lo": lo, "hi": hi, "samples": samples}
