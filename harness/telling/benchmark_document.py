"""A run as the JSON document of pytest-benchmark, which `pytest-benchmark compare` reads.

Durations are in seconds there. The statistics are ours by the same names; quartiles are type 7,
where pytest-benchmark takes medians of halves. What it has no field for stands in `extra_info`.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Any

from harness import stats
from harness.codec import encode
from harness.judging.conditions import used
from harness.schema import Cell, Measurement, Outcome, Result, Run

NS_PER_S = 1e9
VERSION = "5.1.0"  # of the document's form, as pytest-benchmark writes it


def document(run: Run) -> dict[str, Any]:
    """Return the document of a run: one benchmark a cell that was measured and has a latency."""
    conditions = {key: " | ".join(values) for key, values in used(run).items()}
    timed = [
        (result, measurement)
        for result in run.results
        if result.outcome is Outcome.OK
        for measurement in result.measurements
        if measurement.metric == "latency" and measurement.samples
    ]
    slugs = Counter(_slug(result.cell) for result, _ in timed)
    return {
        "machine_info": {
            "node": "unknown",
            "processor": conditions.get("cpu", "unknown"),
            "machine": conditions.get("architecture", "unknown"),
            "python_implementation": "CPython",
            "python_version": conditions.get("python", "unknown"),
            "system": conditions.get("system", "unknown"),
            "cpu": {"brand_raw": conditions.get("cpu", "unknown")},
            "environment": conditions,
        },
        "commit_info": {
            "id": conditions.get("info_commit", "unknown"),
            "time": None,
            "author_time": None,
            "dirty": conditions.get("info_dirty") == "yes",
            "project": "attention-harness",
            "branch": "(unknown)",
        },
        "benchmarks": [
            {
                "name": _slug(r.cell) if slugs[_slug(r.cell)] == 1 else r.cell.id,
                **_benchmark(run, r, m),
            }
            for r, m in timed
        ],
        "datetime": run.header.created_at,
        "version": VERSION,
    }


def figures(samples_s: Sequence[float]) -> dict[str, Any]:
    """Return the statistics of one benchmark, raw samples included, in seconds.

    Raises:
        ValueError: no samples, or one that is not finite.
    """
    values = sorted(stats.as_samples(samples_s).tolist())
    q1, middle, q3 = stats.quartiles(values)
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    total = math.fsum(values)
    mean = statistics.mean(values)
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    tukey = sum(not low <= x <= high for x in values)
    sigma = sum(abs(x - mean) > deviation for x in values)
    return {
        "min": values[0],
        "max": values[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": len(values),
        "median": middle,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": tukey,
        "stddev_outliers": sigma,
        "outliers": f"{sigma};{tukey}",
        "ld15iqr": values[bisect_left(values, low)],
        "hd15iqr": values[bisect_right(values, high) - 1],
        "ops": len(values) / total if total else 0,
        "total": total,
        "data": list(samples_s),
        "iterations": 1,
    }


def _slug(cell: Cell) -> str:
    """Return the readable part of a cell's id."""
    return cell.id.rpartition("-")[0]


def _benchmark(run: Run, result: Result, latency: Measurement) -> dict[str, Any]:
    cell, protocol = result.cell, run.header.protocol
    return {
        "group": f"{cell.phase}-{cell.seq_len}",
        "fullname": f"{run.header.suite}::{cell.id}",
        "params": {"contender": cell.contender, "phase": cell.phase, "seq_len": cell.seq_len},
        "param": f"{cell.contender}-{cell.phase}-{cell.seq_len}",
        "extra_info": {
            "run_id": run.header.run_id,
            "cell_id": cell.id,
            "cell": encode(cell),
            "environment_id": result.environment,
            "stop": latency.stop,
            "facts": encode(result.facts),
            "measurements": {
                m.metric: {
                    "unit": m.unit,
                    "better": m.better,
                    "method": m.method,
                    "median": stats.median(m.samples),
                    "n": len(m.samples),
                }
                for m in result.measurements
                if m.samples
            },
        },
        "options": {
            "disable_gc": True,
            "timer": latency.method,
            "min_rounds": protocol.min_samples,
            "max_time": protocol.max_time_s,
            "min_time": protocol.min_time_s,
            "warmup": protocol.warmups > 0,
        },
        "stats": figures([sample / NS_PER_S for sample in latency.samples]),
    }
