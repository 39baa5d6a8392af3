"""The order of passes over one cell: memory in a pristine heap, proof, clocks, proof again."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from harness.schema import Job, Outcome, encode
from harness.worker import failure
from harness.worker.metric import METRICS, Bench, Metric
from harness.worker.proof import Proof, prove
from harness.worker.workload import describe

Emit = Callable[[dict[str, Any]], None]


def measure(job: Job, emit: Emit) -> None:
    """Measure one cell and tell `emit` everything as soon as it is known.

    Events are `{"stage": name}`, `{"environment": record}`, `{"facts": mapping}`,
    `{"measurement": record}`, `{"measured_ns": int}` and, always last, `{"outcome": ..., "reason":
    ..., "requested_bytes": ...}`. What was measured before a failure stays measured, except that
    numbers of a kernel that proved wrong must not be kept.
    """
    spent = 0

    def stage(name: str, work: Callable[[], None]) -> None:
        nonlocal spent
        emit({"stage": name})
        begin = time.perf_counter_ns()
        try:
            work()
        finally:
            spent += time.perf_counter_ns() - begin
            emit({"measured_ns": spent})

    try:
        _passes(job, emit, stage)
    except Exception as error:  # noqa: BLE001 - every end of a cell is a result: this is the place
        emit({**encode(failure.of_exception(error))})
    else:
        emit({"outcome": Outcome.OK, "reason": None, "requested_bytes": None})


def _passes(job: Job, emit: Emit, stage: Callable[[str, Callable[[], None]], None]) -> None:
    cell = job.cell
    emit({"stage": "build"})
    subject = describe(job)
    emit({"environment": encode(subject.environment), "facts": dict(subject.facts)})

    def proof(name: str, seed: int) -> None:
        def work() -> None:
            found = prove(cell, subject.variant, subject.options, subject.impl, seed=seed)
            emit({"facts": {name: _summary(found)}})

        stage(name, work)

    metrics = {name: METRICS.load(name) for name in job.metrics}
    # A fresh process has a heap without holes: what must see that goes first. Its numbers count
    # only if the proofs that follow hold.
    for name, metric in metrics.items():
        if metric.pristine:
            stage(name, partial(_collect, metric, job, emit))
    proof("proof", cell.seed)
    for name, metric in metrics.items():
        if not metric.pristine:
            stage(name, partial(_collect, metric, job, emit))
    proof("proof_after", cell.seed + 1)


def _collect(metric: Metric, job: Job, emit: Emit) -> None:
    found = metric.collect(Bench(job=job))
    for measurement in found.measurements:
        emit({"measurement": encode(measurement)})
    emit({"facts": dict(found.facts)})


def _summary(proof: Proof) -> dict[str, Any]:
    return {**encode(proof), "worst": proof.worst}
