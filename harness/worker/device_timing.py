"""Time of a step on a CUDA device: events around each sample, cold, hot, and the host's share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from harness.schema import Protocol
from harness.worker.clock import Clock
from harness.worker.sampling import NS, collect_young, collector_paused, stop_reason

LAUNCH_BOUND = 0.8  # share of the host's time in a step's, from which on Python is measured
BLOCK_NS = 50_000_000  # steps queued back to back between two looks at the budget last so long
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Nanoseconds of one step, per sample, and why sampling stopped."""

    samples: tuple[int, ...]
    stop: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTimes:
    """What the clocks of host and device saw of one step."""

    cold: Series  # between events, the device's L2 cache flushed before each step
    hot: Series  # between events, steps back to back
    host: Series  # wall time until a step was queued on an idle device
    warmups: tuple[int, ...]  # host clock to the device's rest; the first is the first call

    @property
    def launch_bound(self) -> bool:
        """Whether the device waits for the host, so that times tell of Python and the launch.

        Back to back a step takes the longer of both times: where the host's is nearly all of it,
        the device was not the slower one.
        """
        return median(self.host.samples) >= LAUNCH_BOUND * median(self.hot.samples)


def time_device(
    step: Callable[[], object],
    flush: Callable[[], object],
    protocol: Protocol,
    clock: Clock,
    cuda: Any,
) -> DeviceTimes:
    """Time a step with an empty cache and with a warm one.

    Args:
        step: queues one step.
        flush: queues a write over the whole of the L2 cache.
        protocol: warm-ups, samples and budgets, for the cold and the hot series each.
        clock: of the host.
        cuda: events and synchronisation; `torch.cuda`.
    """
    with collector_paused():
        warmups = _warm(step, protocol, clock, cuda)
        cold, host = _cold(step, flush, protocol, clock, cuda)
        hot = _hot(step, median(cold.samples), protocol, clock, cuda)
    return DeviceTimes(cold=cold, hot=hot, host=host, warmups=warmups)


def _warm(
    step: Callable[[], object], protocol: Protocol, clock: Clock, cuda: Any
) -> tuple[int, ...]:
    """Step until the warm-ups are done and the clocks have had `min_time_s` to rise."""
    times: list[int] = []
    while len(times) < max(1, protocol.warmups) or sum(times) < protocol.min_time_s * NS:
        begin = clock.wall_ns()
        step()
        cuda.synchronize()
        times.append(clock.wall_ns() - begin)
        if len(times) >= max(protocol.warmups, protocol.max_samples):
            break
    return tuple(times)


def _cold(
    step: Callable[[], object],
    flush: Callable[[], object],
    protocol: Protocol,
    clock: Clock,
    cuda: Any,
) -> tuple[Series, Series]:
    """Time steps one by one on an idle device whose L2 cache holds nothing of ours.

    The flush is queued just before and covers the launch of the step's first kernel.
    """
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    device: list[int] = []
    host: list[int] = []
    begin, stop = clock.wall_ns(), None
    while stop is None:
        collect_young()
        cuda.synchronize()
        flush()
        start.record()
        queued = clock.wall_ns()
        step()
        host.append(clock.wall_ns() - queued)
        end.record()
        cuda.synchronize()
        device.append(_between(start, end))
        stop = stop_reason(protocol, len(device), clock.wall_ns() - begin)
    return Series(samples=tuple(device), stop=stop), Series(samples=tuple(host), stop=stop)


def _hot(
    step: Callable[[], object], expected_ns: float, protocol: Protocol, clock: Clock, cuda: Any
) -> Series:
    """Time steps back to back, in blocks with one synchronisation each.

    A step that is not timed goes ahead of each block: the first event then finds the device busy.
    """
    count = max(1, min(protocol.max_samples, round(BLOCK_NS / max(expected_ns, 1))))
    events = [cuda.Event(enable_timing=True) for _ in range(count + 1)]
    samples: list[int] = []
    begin, stop = clock.wall_ns(), None
    while stop is None:
        collect_young()
        step()
        events[0].record()
        for event in events[1:]:
            step()
            event.record()
        cuda.synchronize()
        samples += [_between(a, b) for a, b in pairwise(events)]
        stop = stop_reason(protocol, len(samples), clock.wall_ns() - begin)
    return Series(samples=tuple(samples), stop=stop)


def _between(start: Any, end: Any) -> int:
    return round(start.elapsed_time(end) * _NS_PER_MS)
