"""Which measurements a gate judges, by which kind of rule, and what must be equal for that."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from harness.judging.conditions import forbids
from harness.schema import Environment, Measurement, Result

WALL = "latency_wall"  # explains, and tells whether others had the processor; is not judged
COUNTS = frozenset({"flops_model", "flops_executed", "bytes_compulsory", "parameters"})
OPERATIONS = "operations"
SIZES = frozenset({"peak_memory", "peak_allocated"})
ERRORS = frozenset({"error"})
PER_LAYER = frozenset({"attention_recall"})  # scores whose samples are layers of one network
SCORES = frozenset({"quality", *PER_LAYER})


# Conditions that bytes, operations, errors and scores depend on.
EXACT_CONDITIONS = ("torch", "device", "threads", "device_name", "data_digest")


# The name in a suite's gate that a measurement's limits stand under, where it has another.
LIMITED_BY = {
    "peak_allocated": "peak_memory",
    **dict.fromkeys(("flops_model", "flops_executed", "bytes_compulsory", "parameters"), "flops"),
}


class Family(StrEnum):
    """How a measurement is judged."""

    TIME = "time"  # launches against launches
    BYTES = "bytes"  # of the allocator: repeats to the byte, small tolerance
    COUNT = "count"  # follows from the code alone: exact
    ERROR = "error"  # of fixed inputs: a quarter more is a regression
    SCORE = "score"  # over seeds


def family(measurement: Measurement) -> Family | None:
    """Return how a measurement is judged; None: it only explains.

    Resident memory is not judged: it spreads by per cents and by what ran before. Peaks count
    where an allocator tells them.
    """
    name = measurement.metric
    if name == "latency":
        return Family.TIME
    if name in SIZES:
        return Family.BYTES if "allocator" in measurement.method else None
    if name in COUNTS or name == OPERATIONS:
        return Family.COUNT
    if name in ERRORS:
        return Family.ERROR
    return Family.SCORE if name in SCORES else None


def measured(result: Result) -> dict[str, Measurement]:
    """Return what of a result a gate judges, by metric; the number of parameters among it."""
    found = {m.metric: m for m in result.measurements if m.samples and family(m) is not None}
    parameters = result.facts.get("parameters")
    if isinstance(parameters, int):
        found["parameters"] = Measurement(
            metric="parameters", unit="1", better="lower", samples=(parameters,), method="counted"
        )
    return found


def limits_of(metric: str, limits: Mapping[str, Mapping[str, float]]) -> Mapping[str, float]:
    """Return the limits that a suite's gate names for a measurement."""
    return limits.get(metric) or limits.get(LIMITED_BY.get(metric, metric), {})


def barring(
    measurement: Measurement, base: Environment | None, candidate: Environment | None
) -> tuple[str, ...]:
    """Return the conditions that differ and forbid to compare this measurement.

    Times need equal conditions. Bytes and operations are torch's as well as ours: they need the
    same release of torch and the same device. What follows from the code alone needs nothing;
    errors and scores need the same input, release and device.
    """
    kind = family(measurement)
    name = measurement.metric
    if kind is Family.COUNT and name != OPERATIONS:
        return ()
    if base is None or candidate is None:
        return ("an unknown environment",)
    ours, theirs = base.fields, candidate.fields
    if kind is Family.TIME:
        keys = [k for k in sorted({*ours, *theirs}) if forbids(k) != "nothing"]
        return tuple(key for key in keys if ours.get(key, "") != theirs.get(key, ""))
    fed = kind in (Family.ERROR, Family.SCORE)
    keys = EXACT_CONDITIONS if fed else EXACT_CONDITIONS[:-1]
    return tuple(key for key in keys if _release(ours, key) != _release(theirs, key))


def _release(fields: Mapping[str, Any], key: str) -> Any:
    """Return a condition; of torch the release, whatever it was built for."""
    value = fields.get(key)
    return str(value).partition("+")[0] if key == "torch" else value
