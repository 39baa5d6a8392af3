"""Time of a step on a CUDA device: first call, cold, hot, as a graph, and the host's share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

from harness.schema import Protocol
from harness.worker import spin
from harness.worker.blocks import Block, Series, block_size, sample_blocks
from harness.worker.clocks import ClockState
from harness.worker.cover import Cover
from harness.worker.graph import capture
from harness.worker.instruments import Instruments
from harness.worker.sampling import collect_young, collector_paused, stop_reason
from harness.worker.warming import WarmUp, warm_up

LAUNCH_BOUND = 0.8  # share of the host's time in a step's, from which on Python is measured
_NS_PER_MS = 1_000_000

Step = Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTimes:
    """What the clocks of host and device saw of one step."""

    warmup: WarmUp
    host: Series  # wall time until a step was queued on an idle device
    cold: Series  # between events, launch hidden, the L2 cache flushed before each step
    hot: Series  # between events, steps back to back as Python launches them
    graph: Series | None  # between events, replays of a CUDA graph back to back
    graph_reason: str | None  # why there is none
    cover: Cover  # how the launch was hidden from the cold steps
    compiles: int  # events of the compilers while samples were taken; must be none

    @property
    def launch_bound(self) -> bool:
        """Whether the device waits for the host where nothing hides the launch.

        Back to back a step takes the longer of both times: where the host's is nearly all of it,
        the device was not the slower one.
        """
        return median(self.host.samples) >= LAUNCH_BOUND * median(self.hot.samples)

    @property
    def series(self) -> dict[str, Series]:
        """The figures of the device, by the name of their measurement."""
        found = {"latency": self.cold, "latency_hot": self.hot}
        return found | ({"latency_graph": self.graph} if self.graph else {})


def time_device(step: Step, flush: Step, protocol: Protocol, tools: Instruments) -> DeviceTimes:
    """Time a step with an empty cache and with a warm one.

    Args:
        step: queues one step and returns a floating-point tensor of its result; when it returns,
            no gradient is left that the next step would add to.
        flush: queues a write over the whole of the L2 cache.
        protocol: warm-ups, samples and budgets, for each series anew.
        tools: clocks, events, the device's state.
    """
    with collector_paused():
        warmup = warm_up(step, protocol, tools)
        compiled = tools.compiles()
        host = _host(step, protocol, tools)
        cover = Cover(spin.calibrate(tools.cuda), median(host.samples))
        cold = _cold(step, flush, cover, warmup.rounds[-1], protocol, tools)
        hot = _hot(step, median(cold.samples), protocol, tools)
        compiled = tools.compiles() - compiled
        # Last: what a capture leaves behind must not reach any other figure.
        graph, reason = _graph(step, median(cold.samples), protocol, tools)
    return DeviceTimes(
        warmup=warmup,
        host=host,
        cold=cold,
        hot=hot,
        graph=graph,
        graph_reason=reason,
        cover=cover,
        compiles=compiled,
    )


def _host(step: Step, protocol: Protocol, tools: Instruments) -> Series:
    """Time how long the host takes to queue a step on an idle device."""
    samples: list[int] = []
    quick = replace(protocol, min_time_s=0.0)
    begin, stop = tools.clock.wall_ns(), None
    while stop is None:
        collect_young()
        tools.cuda.synchronize()
        queued = tools.clock.wall_ns()
        step()
        samples.append(tools.clock.wall_ns() - queued)
        stop = stop_reason(quick, len(samples), tools.clock.wall_ns() - begin)
    tools.cuda.synchronize()
    block = Block(samples=tuple(samples), before=ClockState(), during=ClockState())
    return Series(kept=(block,), stop=stop)


def _cold(
    step: Step,
    flush: Step,
    cover: Cover,
    expected_ns: float,
    protocol: Protocol,
    tools: Instruments,
) -> Series:
    """Time steps one by one whose launch is hidden and whose L2 cache holds nothing of ours."""
    size = block_size(expected_ns + cover.duration_ns, protocol.max_samples)
    events = [(_event(tools), _event(tools)) for _ in range(size)]

    def take(count: int, look: Callable[[], None]) -> Sequence[int]:
        for start, end in events[:count]:
            flush()
            cover.queue()
            start.record()
            step()
            end.record()
            cover.saw(start)
        look()
        tools.cuda.synchronize()
        cover.widen()
        return [_between(start, end) for start, end in events[:count]]

    return sample_blocks(take, size, protocol, tools)


def _hot(step: Step, expected_ns: float, protocol: Protocol, tools: Instruments) -> Series:
    """Time steps back to back.

    A step that is not timed goes ahead of each block: the first event then finds the device busy.
    """
    size = block_size(expected_ns, protocol.max_samples)
    events = [_event(tools) for _ in range(size + 1)]

    def take(count: int, look: Callable[[], None]) -> Sequence[int]:
        step()
        events[0].record()
        for event in events[1 : count + 1]:
            step()
            event.record()
        look()
        tools.cuda.synchronize()
        return [_between(a, b) for a, b in pairwise(events[: count + 1])]

    return sample_blocks(take, size, protocol, tools)


def _graph(
    step: Step, expected_ns: float, protocol: Protocol, tools: Instruments
) -> tuple[Series | None, str | None]:
    graph = capture(step, tools.cuda)
    if graph.replay is None:
        return None, graph.reason
    series = _hot(graph.replay, expected_ns, protocol, tools)
    graph.release()
    return series, None


def _event(tools: Instruments) -> Any:
    return tools.cuda.Event(enable_timing=True)


def _between(start: Any, end: Any) -> int:
    return round(start.elapsed_time(end) * _NS_PER_MS)
