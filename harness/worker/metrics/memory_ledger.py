"""Memory ledger: the peak of a step, account by account, with what remains unexplained."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

from harness.schema import Measurement
from harness.worker import allocator, graph, weighing
from harness.worker.accounts import ACCOUNTS, Books
from harness.worker.memory import returned_heap, trim
from harness.worker.metric import Bench, Findings, Metric
from harness.worker.weighing import size

NOTHING_SPLIT = "malloc does not tell what lies unused between blocks; it is in the unexplained"


def collect(bench: Bench) -> Findings:
    """Return the parts of the peak and the rest: they add up to `ledger_total` to the byte.

    The accounts of `harness.worker.accounts` share the allocator's peak. Around it lie, on CUDA,
    `ledger_fragmentation` (reserved beyond allocated), and everywhere `ledger_context`: what the
    process had before the workload. `ledger_total` is all of the process, as the system sees it:
    resident memory on a CPU; on CUDA what NVML tells of this process or, where it tells nothing,
    what the allocator reserved. `ledger_unexplained` closes the sum and may be negative, as pages
    that nobody has touched are allocated and not resident.

    With a folder for artifacts, allocated bytes over time are left there, account by account.
    """
    return _on_cuda(bench) if bench.job.cell.device == "cuda" else _on_cpu(bench)


def _on_cpu(bench: Bench) -> Findings:
    process = bench.process
    with returned_heap():  # to the end: holes would spoil what is weighed after this
        weighing.warm_up(bench)
        gc.collect()
        trim()
        context = process.resident()
        work = weighing.build(bench)
        exact = process.reset_peak()
        weighing.run(work)
        peak = process.peak() if exact else None
        facts = dict(work.facts)
        del work
        books = weighing.books(bench)
    parts = books.peak.accounts
    facts |= {
        "ledger_fragmentation_unknown": NOTHING_SPLIT,
        "ledger_context_unknown": None if context is not None else "/proc does not tell",
        "ledger_total_unknown": None if peak is not None else "no high-water mark to reset",
    }
    found = _accounts(books)
    if context is not None:
        found.append(size("ledger_context", context, "resident memory before the workload"))
    if peak is None or context is None:
        total, method = books.peak.total, "torch's allocator alone"
        rest = total - _explained(parts)
    else:
        total, method = peak, "resident high-water mark (VmHWM)"
        rest = total - context - _explained(parts)
    found += [size("ledger_total", total, method), _rest(rest)]
    return Findings(measurements=tuple(found), facts=facts)


def _on_cuda(bench: Bench) -> Findings:
    cuda = bench.cuda
    weighing.warm_up(bench)
    held, before = _settled(cuda), bench.process_used()
    outside = None if before.value is None else before.value - held
    cuda.reset_peak_memory_stats()
    with allocator.snapshot_on_failure(bench.job.artifacts, cuda):
        books = weighing.books(bench)
        cuda.synchronize()
    told = allocator.statistics(cuda)
    after = bench.process_used()
    parts = books.peak.accounts
    reserved = told.get("reserved", books.peak.reserved)
    fragmentation = max(0, reserved - books.peak.total)
    found = [
        *_accounts(books),
        size("ledger_fragmentation", fragmentation, "reserved at its peak beyond allocated"),
        *(size(f"cuda_{name}", value, "torch.cuda.memory_stats") for name, value in told.items()),
    ]
    explained = _explained(parts) + fragmentation
    if outside is None:
        total, method = reserved, "allocator's peak of reserved memory"
    else:
        # After the step the allocator has returned nothing yet: NVML sees what was reserved.
        total, method = after.value or outside + reserved, "NVML, this process after the step"
        explained += outside
        found.append(size("ledger_context", outside, "NVML, this process before, minus reserved"))
    used = bench.device_used()
    if used.value is not None:
        found.append(size("device_used", used.value, "NVML, whole device after the step"))
    found += [size("ledger_total", total, method), _rest(total - explained)]
    graphed = _graphed(bench)
    facts = {
        **graphed.facts,
        "cuda_allocator": allocator.backend(cuda),
        "cuda_statistics_unknown": sorted(allocator.STATISTICS.keys() - told.keys()) or None,
        "device_used_unknown": used.reason,
        "ledger_context_unknown": before.reason,
    }
    return Findings(measurements=(*found, *graphed.measurements), facts=facts)


def _graphed(bench: Bench) -> Findings:
    """Return what a step takes as a CUDA graph, whose memory is a pool of its own that stays."""
    cuda, work = bench.cuda, weighing.build(bench)
    weighing.run(work)  # a capture must not be the first step
    held = _settled(cuda)
    cuda.reset_peak_memory_stats()
    captured = graph.capture(work.step, cuda)
    if captured.replay is None:
        return Findings(measurements=(), facts={"graph_memory_unknown": captured.reason})
    captured.replay()
    cuda.synchronize()
    peak = cuda.max_memory_allocated()
    pool = _settled(cuda) - held
    captured.release()
    return Findings(
        measurements=(
            size("graph_allocated", peak, "allocator's peak during capture and replay"),
            size("graph_pool", pool, "reserved by the graph after its replay"),
        )
    )


def _settled(cuda: Any) -> int:
    """Return what the allocator holds once it has given back what it can."""
    gc.collect()
    cuda.synchronize()
    cuda.empty_cache()
    return cuda.memory_reserved()


def _accounts(books: Books) -> list[Measurement]:
    method = "blocks of torch's allocator at its peak"
    found = [size(f"ledger_{name}", books.peak.accounts[name], method) for name in ACCOUNTS]
    return [*found, size("ledger_allocated", books.peak.total, method)]


def _explained(parts: Mapping[str, int]) -> int:
    return sum(parts[name] for name in ACCOUNTS)


def _rest(value: int) -> Measurement:
    return size("ledger_unexplained", value, "ledger_total minus all other accounts")


METRIC = Metric(collect=collect, headline="ledger_activations", pristine=True)
