"""The order of passes over one cell: memory in a pristine heap, proof, clocks, proof again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from harness.codec import encode
from harness.schema import OWN, Cell, Job, Outcome, Seat
from harness.worker import apart, failure
from harness.worker.audit import audit
from harness.worker.clock import Clock
from harness.worker.identity import PATTERNS, identify
from harness.worker.limits import resident_bytes
from harness.worker.metric import METRICS, Bench, Findings, Metric
from harness.worker.proof import Proof, prove
from harness.worker.sampling import share
from harness.worker.turns import Turns, take
from harness.worker.workload import Subject, describe

Emit = Callable[[dict[str, Any]], None]
UNPROVEN = "a network of another package is its own specification: nothing to prove it against"
FOREVER_S = 1e9  # at a sitting the referee watches the clock


def measure(job: Job, emit: Emit) -> None:
    """Measure one cell and tell `emit` everything as soon as it is known.

    Events are `{"stage": name}`, `{"environment": record}`, `{"facts": mapping}`,
    `{"measurement": record}`, `{"measured_ns": int}` and, always last, `{"outcome": ..., "reason":
    ..., "requested_bytes": ...}`; at a sitting also `{"patience_s": seconds}`. What was measured
    before a failure stays measured, except that numbers of a kernel that proved wrong must not be
    kept.
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

    if _ends_well(lambda: _passes(job, emit, stage), emit):
        emit({"outcome": Outcome.OK, "reason": None, "requested_bytes": None})


def _ends_well(work: Callable[[], None], emit: Emit) -> bool:
    """Do work; where it fails, tell the outcome."""
    try:
        work()
    except apart.ToldError:
        return False
    except Exception as error:  # noqa: BLE001 - every end of a cell is a result: this is the place
        emit({**encode(failure.of_exception(error))})
        return False
    return True


def _passes(job: Job, emit: Emit, stage: Callable[[str, Callable[[], None]], None]) -> None:
    openings = [opening for n in job.metrics if (opening := METRICS.load(n).opening)]
    if job.cell.device == "cuda" and job.launch == 0 and openings:
        work = partial(_open, openings, job, emit)
        stage("first_call", partial(apart.run, partial(_ends_well, work, emit)))
    emit({"stage": "build"})
    turns = take(job.seat)
    if job.seat is not None:
        emit({"patience_s": FOREVER_S})
    subject = describe(job)
    # Where contenders are timed in turns the first launch does not time: it would be alone.
    untimed = {} if all(_is_due(METRICS.load(n), job) for n in job.metrics) else {"launches": 0}
    facts = {**subject.facts, **(untimed if job.launch == 0 else {})}
    emit({"environment": encode(subject.environment), "facts": facts})
    for name, work in _ordered(job, subject, turns, emit):
        stage(name, work)
    emit({"facts": {"resident_bytes": resident_bytes()}})


def _open(openings: Sequence[Callable[[Bench], Findings]], job: Job, emit: Emit) -> None:
    """Measure what only a process can that has done nothing yet."""
    for opening in openings:
        _tell(opening(Bench(job=job)), emit)


def _ordered(
    job: Job, subject: Subject, turns: Turns, emit: Emit
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the passes by name. A later launch of a cell only times, and proves after it.

    A fresh process has a heap without holes: what must see that gets one of its own, before any
    other pass. Its numbers count only if the proofs that follow hold.
    """
    later, seed = job.launch > 0, job.cell.seed
    metrics = {n: m for n in job.metrics if _is_due(m := METRICS.load(n), job)}
    for name, metric in metrics.items():
        if metric.pristine:
            collect = partial(_collect, metric, job, turns, emit)
            # On CUDA the heap is the device's, and a second context would cost a second.
            is_apart = job.cell.device == "cpu"
            yield (
                name,
                partial(apart.run, partial(_ends_well, collect, emit)) if is_apart else collect,
            )
    if not later:
        yield "proof", partial(_prove, "proof", seed, job.cell, subject, emit)
        if subject.impl in PATTERNS:
            yield "identity", partial(_identify, job.cell, subject, emit)
    for name, metric in metrics.items():
        if not metric.pristine:
            yield name, partial(_collect, metric, job, turns, emit)
    after = seed + 1 + job.launch
    yield "proof_after", partial(_prove, "proof_after", after, job.cell, subject, emit)
    if job.audit and not later:
        yield "audit", partial(_audit, job.cell, subject, emit)


def _prove(name: str, seed: int, cell: Cell, subject: Subject, emit: Emit) -> None:
    if subject.impl == OWN:
        emit({"facts": {"unproven": UNPROVEN}})
        return
    found = prove(cell, subject.variant, subject.options, subject.impl, seed=seed)
    emit({"facts": {name: _summary(found)}})


def _identify(cell: Cell, subject: Subject, emit: Emit) -> None:
    kernel = identify(cell, subject.variant, subject.options, subject.impl)
    emit({"facts": {"kernel": kernel}})


def _audit(cell: Cell, subject: Subject, emit: Emit) -> None:
    if subject.impl == OWN:
        return
    seed, clock = cell.seed + 1_000_003, Clock()  # inputs that no proof has used
    found = audit(cell, subject.variant, subject.options, subject.impl, seed=seed, clock=clock)
    emit({"facts": {"audit": found}})


def _is_due(metric: Metric, job: Job) -> bool:
    """Say whether this launch takes a metric."""
    if job.launch > 0 or not metric.repeats:
        return metric.repeats or job.launch == 0
    return job.protocol.pairing == "apart" or job.seat is not None


def _collect(metric: Metric, job: Job, turns: Turns, emit: Emit) -> None:
    if not metric.repeats:
        found = metric.collect(Bench(job=job, tell=lambda words: emit({"stage": words})))
    else:
        found = metric.collect(Bench(job=replace(job, protocol=share(job.protocol)), turns=turns))
    if not metric.repeats:
        _tell(found, emit)
        return
    _tell(replace(found, facts={**found.facts, "launches": 1}), emit, job.seat)
    if job.seat:
        emit({"patience_s": job.protocol.timeout_s})


def _tell(found: Findings, emit: Emit, seat: Seat | None = None) -> None:
    for one in found.measurements:
        place = {"launches": (len(one.samples),), "sittings": (seat.sitting,)} if seat else {}
        emit({"measurement": encode(replace(one, **place))})
    emit({"facts": dict(found.facts)})


def _summary(proof: Proof) -> dict[str, Any]:
    return {**encode(proof), "worst": proof.worst}
