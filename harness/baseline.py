"""A baseline: an accepted run as one sorted text file that is committed and read as a diff.

JSON lines: a header that counts the cells, so that a file cut short is noticed; the environments;
a line a cell, by id, with what a gate judges and nothing else. Of times each launch keeps its
lower decile (on CUDA its median), the number that a gate takes of it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from harness import stats
from harness.codec import canonical, decode, encode
from harness.judging.families import EXACT_CONDITIONS, WALL, Family, family, measured
from harness.judging.hearing import SUMMARY
from harness.judging.samples import apart
from harness.judging.times import LOW, MIDDLE
from harness.schema import (
    FAULTS,
    Cell,
    Environment,
    Measurement,
    Outcome,
    Protocol,
    Result,
    Run,
    RunHeader,
)

VERSION = 1
ITERATIONS = "samples_by_launch"  # fact of a cell: how many samples stood behind each number


class BaselineError(ValueError):
    """A file that is no whole baseline, or a run that cannot become one; the message says why."""


def unacceptable(run: Run, declared: Collection[str]) -> list[str]:
    """Return why a run cannot be a baseline, in sentences; none if it can."""
    results = run.by_cell
    found: list[str] = []
    missing = [cell for cell in declared if cell not in results]
    if missing:
        found.append(f"{len(missing)} declared cells were not measured, {min(missing)} first")
    found += [
        f"{r.cell.id} ended as {r.outcome.value.replace('_', ' ')}: {r.reason}"
        for r in run.results
        if r.outcome in FAULTS
    ]
    if not any(r.outcome is Outcome.OK for r in run.results):
        found.append(f"{run.header.run_id} has no cell that was measured")
    return found


def text(run: Run, *, accepted: str) -> str:
    """Return a run as the text of a baseline.

    Args:
        run: every cell of its suite has a result.
        accepted: why it is the new norm, in words.
    """
    results = sorted(run.results, key=lambda result: result.cell.id)
    cells = [_cell(result) for result in results]
    timed = any(m["unit"] == "ns" for cell in cells for m in cell["measurements"])
    names = {result.environment: _environment(run, result, timed) for result in results}
    for cell, result in zip(cells, results, strict=True):
        environment = names[result.environment]
        cell["environment"] = environment.id if environment else None
    environments = {e.id: e for e in names.values() if e is not None}
    header = {
        "kind": "baseline",
        "version": VERSION,
        "accepted": accepted,
        "cells": len(cells),
        "created_at": run.header.created_at,
        "gate": encode(run.header.gate),
        "metrics": list(run.header.metrics),
        "question": run.header.question,
        "run_id": run.header.run_id,
        "suite": run.header.suite,
    }
    lines = [header]
    lines += [
        {"kind": "environment", "id": e.id, "fields": encode(e.fields)}
        for _, e in sorted(environments.items())
    ]
    lines += cells
    return "".join(f"{canonical(line)}\n" for line in lines)


def read(file: Path) -> Run:
    """Return a baseline as a run.

    Raises:
        BaselineError: it cannot be read, is no baseline, or is not whole.
    """
    try:
        content = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BaselineError(
            f"{file}: no such baseline; write one with `baseline update`"
        ) from error
    except (OSError, ValueError) as error:
        raise BaselineError(f"{file}: cannot be read: {error}") from error
    records = _records(content, file)
    header: Mapping[str, Any] = records[0] if records else {}
    if header.get("kind") != "baseline":
        raise BaselineError(f"{file}: no baseline: its first line is no header of one")
    if header.get("version") != VERSION:
        raise BaselineError(f"{file}: version {header.get('version')}; {VERSION} is read here")
    cells = [record for record in records if record.get("kind") == "cell"]
    if len(cells) != header.get("cells"):
        told = f"{len(cells)} of the {header.get('cells')} cells that its header counts"
        raise BaselineError(f"{file}: is not whole: it holds {told}")
    try:
        return _run(header, records, cells)
    except (KeyError, TypeError, ValueError) as error:
        raise BaselineError(f"{file}: {type(error).__name__}: {error}") from error


def _records(content: str, file: Path) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            value: object = json.loads(line)
        except ValueError as error:
            raise BaselineError(
                f"{file}: line {number} is no JSON: it was cut or edited"
            ) from error
        if not isinstance(value, dict):
            raise BaselineError(f"{file}: line {number} is no record")
        found.append(cast("Mapping[str, Any]", value))
    return found


def _run(
    header: Mapping[str, Any], records: Sequence[Mapping[str, Any]], cells: Sequence[Any]
) -> Run:
    results = tuple(decode(Result, record) for record in cells)
    environments = {
        record["id"]: Environment(fields=record["fields"])
        for record in records
        if record.get("kind") == "environment"
    }
    return Run(
        header=RunHeader(
            run_id=header["run_id"],
            suite=header["suite"],
            suite_text="",
            question=header["question"],
            command=(),
            created_at=header["created_at"],
            contenders=(),
            metrics=tuple(header["metrics"]),
            protocol=Protocol(),
            cells=tuple(result.cell for result in results),
            gate=header["gate"],
        ),
        results=results,
        environments=environments,
    )


def _cell(result: Result) -> dict[str, Any]:
    measurements = [m for _, m in sorted(measured(result).items()) if m.metric != "parameters"]
    wall = [m for m in result.measurements if m.metric == WALL]
    timed = [m for m in measurements if family(m) is Family.TIME]
    facts = {key: result.facts[key] for key in ("parameters",) if key in result.facts}
    if timed:
        facts[ITERATIONS] = [len(launch) for launch in apart(timed[0])]
    kept = [_summary(m, result.cell) for m in (*measurements, *wall)]
    return {
        "kind": "cell",
        "cell": encode(result.cell),
        "outcome": result.outcome.value,
        "reason": result.reason,
        "facts": facts,
        "measurements": [_plain(m) for m in kept],
    }


def _summary(measurement: Measurement, cell: Cell) -> Measurement:
    """Return a time with one number a launch; everything else as it is."""
    if measurement.unit != "ns":
        return measurement
    q = MIDDLE if cell.device == "cuda" else LOW
    values = tuple(round(stats.quantile(launch, q)) for launch in apart(measurement))
    return replace(
        measurement, samples=values, launches=(1,) * len(values), stop=SUMMARY, sittings=()
    )


def _plain(measurement: Measurement) -> dict[str, Any]:
    """Return a measurement without what is empty or of no use here."""
    told = encode(measurement)
    told["method"] = measurement.method.partition(",")[0]
    return {key: value for key, value in told.items() if key != "warmups" and value != []}


def _environment(run: Run, result: Result, timed: bool) -> Environment | None:
    """Return the conditions of a result; without times only those that exact values depend on."""
    environment = run.environments.get(result.environment or "")
    if environment is None:
        return None
    fields = environment.fields
    keys = fields if timed else [key for key in EXACT_CONDITIONS if key in fields]
    return Environment(
        fields={key: fields[key] for key in sorted(keys) if not key.startswith("info_")}
    )
