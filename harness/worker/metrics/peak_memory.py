"""Peak memory: what a step needs beyond its parameters and its input."""

from __future__ import annotations

import gc
from typing import Any

from harness.worker import accounts, limits, weighing
from harness.worker.allocator import snapshot_on_failure
from harness.worker.memory import returned_heap, trim
from harness.worker.metric import Bench, Findings, Metric
from harness.worker.weighing import size

_EVENTS = "allocator's events, in a pass of their own"


def collect(bench: Bench) -> Findings:
    """Weigh a fresh workload by the instrument of the cell's device.

    After a short warm-up of the same kind, parameters and input are made, the baseline is read,
    and the step runs. A cell with a budget must do all that, warm-up excepted, within it.
    """
    return _on_cuda(bench) if bench.job.cell.device == "cuda" else _on_cpu(bench)


def _on_cpu(bench: Bench) -> Findings:
    """Return the resident high-water mark of the step minus what was resident before it.

    Then the step runs again, and `peak_allocated` is the most that torch's allocator had handed
    out. That figure is the same to the byte in every run; it is blind to what libraries take for
    themselves and to holes in the heap, which the resident mark sees. It also tells whether a
    budget was kept.

    Raises:
        OverBudgetError: it was not.
    """
    cell = bench.job.cell
    with returned_heap() as returned:  # to the end: holes would spoil what is weighed after this
        weighed = _resident(bench, returned=returned)
        books = accounts.keep(bench.fresh, weighing.steps(cell), cell.device)
    baseline, peak = books.baseline.total, books.peak.total
    above = None if cell.memory_bytes is None else books.above(cell.memory_bytes)
    if above is not None:
        raise limits.OverBudgetError(cell.memory_bytes or 0, peak, *above)
    found = (
        size("peak_allocated", peak, f"torch's peak: {_EVENTS}"),
        size("baseline_allocated", baseline, f"before the step: {_EVENTS}"),
    )
    return Findings(measurements=(*weighed.measurements, *found), facts=weighed.facts)


def _resident(bench: Bench, *, returned: bool) -> Findings:
    process = bench.process
    warmed = weighing.warm_up(bench)
    gc.collect()
    trim()
    with limits.budget(bench.job.cell.memory_bytes, "cpu", bench.cuda):
        work = weighing.build(bench)
        gc.collect()
        trim()
        baseline, addresses = process.resident(), process.address_space()
        exact = process.reset_peak()
        before, highest = process.lifetime_peak(), process.address_peak()
        weighing.run(work)
    peak = process.peak() if exact else None
    after, most = process.lifetime_peak(), process.address_peak()
    facts = {
        **work.facts,
        "memory_warmup_len": warmed,
        "heap_returned": returned,
        # The kernel's mark of the address space cannot be reset: known where this step raised it.
        "address_space_bytes": most - addresses
        if most is not None and addresses is not None and most != highest
        else None,
    }
    if peak is not None and baseline is not None:
        return _weighed(peak, baseline, "VmHWM after a reset, minus resident memory", facts)
    return _from_lifetime(baseline, before, after, facts)


def _from_lifetime(
    baseline: int | None, before: int, after: int, facts: dict[str, Any]
) -> Findings:
    """Return what the process's largest size so far tells where no mark can be reset."""
    if baseline is not None and after > 0:
        bound = "" if after > before else "; an upper bound, as an earlier peak was higher"
        return _weighed(after, baseline, f"ru_maxrss minus resident memory{bound}", facts)
    if after > before:
        method = "rise of ru_maxrss; a lower bound, as resident memory cannot be read"
        return _weighed(after, before, method, facts)
    why = "the system tells neither resident memory nor a peak that the step has raised"
    return Findings(measurements=(), facts={**facts, "peak_memory_unknown": why})


def _on_cuda(bench: Bench) -> Findings:
    """Return the allocator's peak minus what was allocated before the step.

    `peak_reserved` is what a user needs free, fragmentation included; `device_used` is the whole
    device after the step, context, libraries and other processes included.
    """
    cuda = bench.cuda
    warmed = weighing.warm_up(bench)
    cell = bench.job.cell
    with (
        limits.budget(cell.memory_bytes, "cuda", cuda),
        snapshot_on_failure(bench.job.artifacts, cuda, history=True),
    ):
        work = weighing.build(bench)
        gc.collect()
        cuda.synchronize()
        cuda.empty_cache()
        cuda.reset_peak_memory_stats()
        baseline = cuda.memory_allocated()
        weighing.run(work)
        cuda.synchronize()
    peak, reserved, used = (
        cuda.max_memory_allocated(),
        cuda.max_memory_reserved(),
        bench.device_used(),
    )
    found = [
        size("peak_memory", peak - baseline, "allocator's peak minus allocated before the step"),
        size("peak_allocated", peak, "allocator's peak"),
        size("peak_reserved", reserved, "allocator's peak of reserved memory"),
        size("baseline_allocated", baseline, "allocated before the step"),
    ]
    if used.value is not None:
        found.append(size("device_used", used.value, "NVML, whole device after the step"))
    facts = {**work.facts, "memory_warmup_len": warmed, "device_used_unknown": used.reason}
    return Findings(measurements=tuple(found), facts=facts)


def _weighed(peak: int, baseline: int, method: str, facts: dict[str, Any]) -> Findings:
    return Findings(
        measurements=(
            size("peak_memory", max(0, peak - baseline), method),
            size("peak_rss", peak, method),
            size("baseline_rss", baseline, "resident memory before the step"),
        ),
        facts=facts,
    )


METRIC = Metric(collect=collect, headline="peak_memory", pristine=True)
