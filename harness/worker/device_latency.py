"""The findings of `latency` on a CUDA device: times, and the facts that qualify them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.schema import Measurement
from harness.worker.compiling import compiles
from harness.worker.device_timing import DeviceTimes, time_device
from harness.worker.flush import Flush, make_flush
from harness.worker.instruments import Instruments
from harness.worker.metric import Bench, Findings

_HOT = {
    "latency_hot": "CUDA events, steps back to back",
    "latency_graph": "CUDA events, replays of a CUDA graph back to back",
}
_HOST = "wall time to queue a step on an idle device"
_FIRST = (
    "wall time of the first step of a process until the device rests, network and input there: "
)
_FIRST += "loads, compiles and tunes what caches on the disk do not hold"


def on_cuda(bench: Bench) -> Findings:
    """Time a fresh workload on the CUDA device.

    Returns:
        `latency` is the device's time with the launch hidden and the L2 cache flushed, its warm-ups
        are rounds of steps; `latency_hot` and `latency_graph` find the cache warm, launched by
        Python or as one graph; `latency_host` is what Python takes to queue a step. Facts:
        `_facts`.
    """
    work = bench.fresh()
    flush = make_flush(bench.cuda, work.tokens.device)
    with bench.clocks() as clocks:
        unknown = clocks.unknown
        tools = Instruments(
            clock=bench.clock, cuda=bench.cuda, state=clocks.read, compiles=compiles
        )
        times = time_device(work.step, flush.queue, bench.job.protocol, tools)
    hidden = "launch hidden" if times.cover.hidden else "launch not hidden"
    cold = f"CUDA events, {hidden}, {flush.size:,} bytes written before each step to flush L2"
    rounds = times.warmup.rounds
    found = [_measured("latency", times.cold.samples, times.cold.stop, cold, rounds)]
    found += [
        _measured(name, times.series[name].samples, times.series[name].stop, method)
        for name, method in _HOT.items()
        if name in times.series
    ]
    found.append(_measured("latency_host", times.host.samples, times.host.stop, _HOST))
    facts = {**work.facts, **_facts(times, flush), "clocks_unknown": unknown}
    return Findings(measurements=tuple(found), facts=facts)


def first_call(bench: Bench) -> Findings:
    """Time the first step of this process as `latency_first`, in a pass before any other.

    Proof and memory would have paid for the compilation already.
    """
    work = bench.fresh()
    bench.cuda.synchronize()
    before, begin = compiles(), bench.clock.wall_ns()
    work.step()
    bench.cuda.synchronize()
    spent = bench.clock.wall_ns() - begin
    return Findings(
        measurements=(_measured("latency_first", (spent,), "single", _FIRST),),
        facts={"first_call_compiles": compiles() - before},
    )


def _facts(times: DeviceTimes, flush: Flush) -> dict[str, Any]:
    """Return what qualifies the figures. Lists are continued by each further launch of the cell.

    `launch_bound`: unhidden, the host takes at least 0.8 of a step; `launch_hidden`: in nearly all
    cold samples the device had not begun when the host was done; by launch: `throttled_samples` of
    the row, `retaken_samples` beside it, `power_capped`, `sampling_compiles` (must be 0); by block
    of samples, with the measurement's name before: clocks, heat, power, reasons.
    """
    series = times.series
    kept = [block for one in series.values() for block in one.kept]
    retaken = [block for one in series.values() for block in one.retaken]
    facts: dict[str, Any] = {
        "launch_bound": times.launch_bound,
        "launch_hidden": times.cover.hidden,
        "launch_exposed_samples": [times.cover.exposed],
        "launch_cover_ns": [round(times.cover.duration_ns)],
        "launch_cover_unknown": times.cover.reason,
        "graph_unavailable": times.graph_reason,
        "l2_bytes": flush.cache,
        "l2_flush_bytes": flush.size,
        "warmup_stop": [times.warmup.stop],
        "first_compiles": [times.warmup.first_compiles],
        "warmup_compiles": [times.warmup.compiles],
        "sampling_compiles": [times.compiles],
        "throttled_samples": [sum(one.throttled_samples for one in series.values())],
        "retaken_samples": [sum(len(block.samples) for block in retaken)],
        "power_capped": [any(block.power_capped for block in kept)],
    }
    for name, one in series.items():
        facts |= one.facts(name)
    return facts


def _measured(
    name: str, samples: Sequence[int], stop: str, method: str, warmups: Sequence[int] = ()
) -> Measurement:
    return Measurement(
        metric=name,
        unit="ns",
        better="lower",
        samples=tuple(samples),
        warmups=tuple(warmups),
        stop=stop,
        method=method,
    )
