"""Time of a step on the host: process CPU time and wall time of the same samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from harness.schema import Protocol
from harness.worker.clock import Clock
from harness.worker.sampling import NS, collect_young, collector_paused, stop_reason

SHORT_NS = 1_000_000  # a shorter step is looped until a sample lasts so long
MOST_STEPS = 1000  # in one sample
QUIET = 3  # warm-ups in a row without a new minimum: caches and allocator have settled
WARM_SHARE = 0.25  # of min_time_s that waiting for this may take


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTimes:
    """Nanoseconds of one step, per sample; warm-ups and calibration are kept apart."""

    cpu: tuple[int, ...]
    wall: tuple[int, ...]
    cpu_warmups: tuple[int, ...]
    wall_warmups: tuple[int, ...]
    steps: int  # in each sample
    stop: str


def time_host(step: Callable[[], object], protocol: Protocol, clock: Clock) -> HostTimes:
    """Time a step until the protocol is satisfied.

    The first warm-up is the first call, lazy initialisation included. At least one is taken, as it
    tells whether a sample must be a loop of several steps; a sample is then the loop's time divided
    by its steps. Warm-ups go on until three in a row bring no new minimum, or until they have
    taken a quarter of `min_time_s`.

    Args:
        step: does one step and returns when it is done.
        protocol: warm-ups, samples and budgets.
        clock: read around each sample, nowhere else but for the budget.
    """
    with collector_paused():
        warmups = [_sample(step, 1, clock) for _ in range(max(1, protocol.warmups))]
        steps = _calibrate(step, clock, warmups)
        _settle(step, steps, protocol, clock, warmups)
        samples: list[tuple[int, int]] = []
        begin, stop = clock.wall_ns(), None
        while stop is None:
            samples.append(_sample(step, steps, clock))
            stop = stop_reason(protocol, len(samples), clock.wall_ns() - begin)
    return HostTimes(
        cpu=tuple(cpu for cpu, _ in samples),
        wall=tuple(wall for _, wall in samples),
        cpu_warmups=tuple(cpu for cpu, _ in warmups),
        wall_warmups=tuple(wall for _, wall in warmups),
        steps=steps,
        stop=stop,
    )


def _calibrate(step: Callable[[], object], clock: Clock, warmups: list[tuple[int, int]]) -> int:
    """Return how many steps make a sample long enough; what it takes to find out is a warm-up."""
    steps = 1
    while (total := warmups[-1][0] * steps) < SHORT_NS and steps < MOST_STEPS:
        wanted = math.ceil(steps * SHORT_NS / max(total, 1))
        steps = min(MOST_STEPS, max(2 * steps, wanted))
        warmups.append(_sample(step, steps, clock))
    return steps


def _settle(
    step: Callable[[], object],
    steps: int,
    protocol: Protocol,
    clock: Clock,
    warmups: list[tuple[int, int]],
) -> None:
    """Add warm-ups until they are quiet or their time is up."""
    begin = clock.wall_ns()
    budget = WARM_SHARE * protocol.min_time_s * NS
    while not _quiet([cpu for cpu, _ in warmups]) and clock.wall_ns() - begin < budget:
        warmups.append(_sample(step, steps, clock))


def _quiet(times: list[int]) -> bool:
    return len(times) > QUIET and min(times[-QUIET:]) >= min(times[:-QUIET])


def _sample(step: Callable[[], object], steps: int, clock: Clock) -> tuple[int, int]:
    """Return CPU and wall time of one step, as the mean over a loop."""
    collect_young()
    wall, cpu = clock.wall_ns(), clock.cpu_ns()
    for _ in range(steps):
        step()
    cpu, wall = clock.cpu_ns() - cpu, clock.wall_ns() - wall
    return round(cpu / steps), round(wall / steps)
