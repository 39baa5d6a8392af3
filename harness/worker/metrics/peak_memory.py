"""Peak memory: what a step needs beyond its parameters and its input."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

from harness.schema import Cell, Measurement
from harness.worker.memory import returned_heap, trim
from harness.worker.metric import Bench, Findings, Metric
from harness.worker.workload import Workload
from models.variant import Unsupported

SHORT_LENGTHS = (128, 256, 512, 1024, 2048)  # of the warm-up: the first that the contender takes


def collect(bench: Bench) -> Findings:
    """Weigh a fresh workload by the instrument of the cell's device.

    A short warm-up of the same kind pays for code pages, thread pools, workspaces and caches of
    libraries. Then parameters and input are made, the baseline is read, and the step runs. A
    training step runs twice: the optimizer's state is made at the end of the first and lies beside
    the activations of every later one.
    """
    return _on_cuda(bench) if bench.job.cell.device == "cuda" else _on_cpu(bench)


def _on_cpu(bench: Bench) -> Findings:
    """Return the resident high-water mark of the step minus what was resident before it."""
    process = bench.process
    with returned_heap() as returned:
        warmed = _warm_up(bench)
        work = bench.fresh()
        gc.collect()
        trim()
        baseline = process.resident()
        exact = process.reset_peak()
        before = process.lifetime_peak()
        _run(work)
        peak = process.peak() if exact else None
        after = process.lifetime_peak()
    facts = {**work.facts, "memory_warmup_len": warmed, "heap_returned": returned}
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
    warmed = _warm_up(bench)
    work = bench.fresh()
    gc.collect()
    cuda.synchronize()
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    baseline = cuda.memory_allocated()
    _run(work)
    cuda.synchronize()
    peak, reserved, used = (
        cuda.max_memory_allocated(),
        cuda.max_memory_reserved(),
        bench.device_used(),
    )
    found = [
        _bytes("peak_memory", peak - baseline, "allocator's peak minus allocated before the step"),
        _bytes("peak_allocated", peak, "allocator's peak"),
        _bytes("peak_reserved", reserved, "allocator's peak of reserved memory"),
        _bytes("baseline_allocated", baseline, "allocated before the step"),
    ]
    if used.value is not None:
        found.append(_bytes("device_used", used.value, "NVML, whole device after the step"))
    facts = {**work.facts, "memory_warmup_len": warmed, "device_used_unknown": used.reason}
    return Findings(measurements=tuple(found), facts=facts)


def _run(work: Workload) -> None:
    for _ in range(2 if work.cell.phase == "train_step" else 1):
        work.step()


def _warm_up(bench: Bench) -> int | None:
    """Run the contender at the first short length that it takes; return it, or None.

    A cell as short as these lengths is run at its own: what it leaves behind is small and trimmed,
    while code pages that nobody has touched yet would be billed to it by the ten MiB.
    """
    cell = bench.job.cell
    shorter = [seq_len for seq_len in SHORT_LENGTHS if seq_len < cell.seq_len]
    for seq_len in shorter or [cell.seq_len]:
        short: Cell = replace(cell, seq_len=seq_len, batch=1)
        try:
            _run(bench.build(replace(bench.job, cell=short)))
        except (ValueError, Unsupported):
            continue
        return seq_len
    return None


def _weighed(peak: int, baseline: int, method: str, facts: dict[str, Any]) -> Findings:
    return Findings(
        measurements=(
            _bytes("peak_memory", max(0, peak - baseline), method),
            _bytes("peak_rss", peak, method),
            _bytes("baseline_rss", baseline, "resident memory before the step"),
        ),
        facts=facts,
    )


def _bytes(name: str, value: int, method: str) -> Measurement:
    return Measurement(metric=name, unit="byte", better="lower", samples=(value,), method=method)


METRIC = Metric(collect=collect, headline="peak_memory", pristine=True)
