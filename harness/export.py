"""A run in the formats of other tools, as text: CSV, Markdown, pytest-benchmark's JSON."""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields

from harness import replicates, stats
from harness.codec import canonical, encode
from harness.judging.panels import HEADLINES, measured
from harness.schema import Cell, Measurement, Result, Run
from harness.telling import benchmark_document, frontiers
from harness.telling.answer import answer
from harness.telling.tables import Sheet
from harness.telling.words import plain

CELL = tuple(field.name for field in fields(Cell))
CSV_HEADER = (
    *("run_id", "cell_id", *CELL, "outcome", "reason", "environment", "parameters", "ran_impl"),
    *("metric", "unit", "better", "method", "stop", "n", "median", "lo", "hi", "min", "max"),
    *("q1", "q3", "samples"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute instead of show


def export(run: Run, to: str) -> str:
    """Return a run in one of `FORMATS`.

    Raises:
        ValueError: there is no such format; the message gives the nearest match and all names.
    """
    if to not in FORMATS:
        near = difflib.get_close_matches(to, FORMATS, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise ValueError(f"unknown format {to!r}{hint} known: {', '.join(sorted(FORMATS))}")
    return FORMATS[to](run)


def to_csv(run: Run) -> str:
    """Return one row a cell and metric, in ns, bytes and FLOPs; raw samples joined by blanks.

    A cell without measurements keeps a row with its outcome and reason. Derived throughput stands
    in rows of its own, in tokens per second.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_HEADER, lineterminator="\n")
    writer.writeheader()
    for result in run.results:
        about = _about(run, result)
        found = [_figures(m) for m in result.measurements if m.samples]
        found += _throughput(result)
        for figures in found or [{}]:
            writer.writerow({key: _safe(value) for key, value in (about | figures).items()})
    return out.getvalue()


def to_markdown(run: Run) -> str:
    """Return the tables and the answer."""
    parts = [f"# {_escaped(run.header.suite)}", _escaped(run.header.question)]
    parts += [_markdown(sheet) for sheet in frontiers.shown(run, HEADLINES)]
    parts += ["## Answer", _escaped(answer(run)), f"Run `{run.header.run_id}`."]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_pytest_benchmark(run: Run) -> str:
    """Return the JSON that `pytest-benchmark compare` reads; only cells that have a latency."""
    return json.dumps(benchmark_document.document(run), indent=2, allow_nan=False) + "\n"


FORMATS: Mapping[str, Callable[[Run], str]] = {
    "csv": to_csv,
    "markdown": to_markdown,
    "pytest-benchmark": to_pytest_benchmark,
}


def _about(run: Run, result: Result) -> dict[str, object]:
    cell = encode(result.cell)
    return {
        "run_id": run.header.run_id,
        "cell_id": result.cell.id,
        **{key: cell[key] for key in CELL},
        "options": canonical(cell["options"]),
        "outcome": result.outcome.value,
        "reason": result.reason,
        "environment": result.environment,
        "parameters": result.facts.get("parameters"),
        "ran_impl": result.facts.get("impl"),
    }


def _figures(measurement: Measurement) -> dict[str, object]:
    return {
        "metric": measurement.metric,
        "unit": measurement.unit,
        "better": measurement.better,
        "method": measurement.method,
        "stop": measurement.stop,
        **_statistics(measurement),
    }


def _throughput(result: Result) -> list[dict[str, object]]:
    found = measured(result, "throughput")
    if found is None:
        return []
    names = {"metric": "throughput", "unit": "token/s", "better": "higher", "method": "derived"}
    return [{**names, **_statistics(found)}]


def _statistics(measurement: Measurement) -> dict[str, object]:
    values = measurement.samples
    found = stats.summarize(values)
    lo, hi = replicates.interval(measurement) or ("", "")
    return {
        "n": found.n,
        "median": found.median,
        "lo": lo,
        "hi": hi,
        "min": found.minimum,
        "max": found.maximum,
        "q1": found.q1,
        "q3": found.q3,
        "samples": " ".join(map(repr, values)),
    }


def _safe(value: object) -> object:
    """Return a value that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _markdown(sheet: Sheet) -> str:
    lines = [_row(sheet.header), _row(["---"] + ["---:"] * (len(sheet.header) - 1))]
    lines += [_row(row) for row in sheet.rows]
    notes = [f"*{_escaped(note)}*" for note in sheet.notes]
    return "\n\n".join([f"## {_escaped(sheet.title)}", "\n".join(lines), *notes])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is."""
    shown = plain(text)
    for sign in "\\`*_[]<>|":
        shown = shown.replace(sign, f"\\{sign}")
    return shown
