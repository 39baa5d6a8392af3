"""Latency: time of one step. CPU time and wall time on a CPU; cold, hot and host time on CUDA."""

from __future__ import annotations

import torch

from harness.schema import Measurement
from harness.worker.device_timing import Series, time_device
from harness.worker.host_timing import time_host
from harness.worker.metric import Bench, Findings, Metric

L2_MARGIN = 2  # the flush writes so many times the size of the cache
L2_UNKNOWN_BYTES = 256 << 20  # larger than any cache that we know of


def collect(bench: Bench) -> Findings:
    """Time fresh steps by the instrument of the cell's device."""
    return _on_cuda(bench) if bench.job.cell.device == "cuda" else _on_cpu(bench)


def _on_cpu(bench: Bench) -> Findings:
    """Return process CPU time as `latency` and wall time as `latency_wall`.

    CPU time is blind to waiting and spares us what other processes take; with passive OpenMP waits
    it repeats within a few percent where wall time does not.
    """
    work = bench.fresh()
    times = time_host(work.step, bench.job.protocol, bench.clock)
    threads = f"{work.cell.threads} thread{'s' * (work.cell.threads != 1)}"
    steps = f"mean of {times.steps} steps" if times.steps > 1 else "one step"
    return Findings(
        measurements=(
            Measurement(
                metric="latency",
                unit="ns",
                better="lower",
                samples=times.cpu,
                warmups=times.cpu_warmups,
                stop=times.stop,
                method=f"process CPU time, {threads}, {steps} a sample",
            ),
            Measurement(
                metric="latency_wall",
                unit="ns",
                better="lower",
                samples=times.wall,
                warmups=times.wall_warmups,
                stop=times.stop,
                method=f"wall time, {threads}, {steps} a sample",
            ),
        ),
        facts={**work.facts, "steps_per_sample": times.steps},
    )


def _on_cuda(bench: Bench) -> Findings:
    """Return device time with a flushed cache as `latency`, back to back as `latency_hot`."""
    work = bench.fresh()
    size = getattr(bench.cuda.get_device_properties(0), "L2_cache_size", 0)
    size = L2_MARGIN * size or L2_UNKNOWN_BYTES
    cache = torch.empty(size, dtype=torch.uint8, device=work.tokens.device)
    times = time_device(work.step, cache.zero_, bench.job.protocol, bench.clock, bench.cuda)
    cold = f"CUDA events, {size:,} bytes written before each step to flush the L2 cache"
    return Findings(
        measurements=(
            _series("latency", times.cold, cold, times.warmups),
            _series("latency_hot", times.hot, "CUDA events, steps back to back"),
            _series("latency_host", times.host, "wall time to queue a step on an idle device"),
        ),
        facts={**work.facts, "launch_bound": times.launch_bound, "l2_flush_bytes": size},
    )


def _series(name: str, series: Series, method: str, warmups: tuple[int, ...] = ()) -> Measurement:
    return Measurement(
        metric=name,
        unit="ns",
        better="lower",
        samples=series.samples,
        warmups=warmups,
        stop=series.stop,
        method=method,
    )


METRIC = Metric(collect=collect, headline="latency")
