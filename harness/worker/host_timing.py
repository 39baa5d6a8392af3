"""Time of a step on the host: process CPU time and wall time of the same samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.schema import Protocol
from harness.worker.clock import Clock
from harness.worker.sampling import NS, collect_young, collector_paused, stop_reason
from harness.worker.turns import CHUNK_NS, Alone, Turns

SHORT_NS = 1_000_000  # a shorter step is looped until a sample lasts so long
SHARED_NS = CHUNK_NS // 2  # the same at a sitting: few samples a turn, so that turns are many
MOST_STEPS = 1000  # in one sample
QUIET = 3  # warm-ups in a row without a new minimum: caches and allocator have settled
WARM_SHARE = 0.25  # of min_time_s that waiting for this may take
# Who comes back from others' turns finds the caches full of theirs: a shorter step is taken once
# before the clock is read again. A longer one loses little: to fill 16 MiB takes a millisecond.
COLD_NS = 50_000_000
MOST_WAIT = 8  # wall time over processor time, up to which a turn is measured by the latter


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTimes:
    """Nanoseconds of one step, per sample; warm-ups and calibration are kept apart."""

    cpu: tuple[int, ...]
    wall: tuple[int, ...]
    cpu_warmups: tuple[int, ...]
    wall_warmups: tuple[int, ...]
    steps: int  # in each sample
    stop: str


def time_host(
    step: Callable[[], object], protocol: Protocol, clock: Clock, turns: Turns | None = None
) -> HostTimes:
    """Time a step until the protocol is satisfied.

    The first warm-up is the first call, lazy initialisation included. At least one is taken, as it
    tells whether a sample must be a loop of several steps; a sample is then the loop's time divided
    by its steps. Warm-ups go on until three in a row bring no new minimum, or until they have
    taken a quarter of `min_time_s`.

    Args:
        step: does one step and returns when it is done.
        protocol: warm-ups, samples and budgets; only own turns are charged to the budgets.
        clock: read around each sample, nowhere else but for the budget.
        turns: when this process may time; None: all the time.
    """
    turns = turns or Alone()
    with collector_paused():
        # In turns the second step tells how long a sample is: the first also loads and compiles.
        fewest = 2 if turns.shared else 1
        warmups = [_sample(step, 1, clock) for _ in range(max(fewest, protocol.warmups))]
        steps = _calibrate(step, clock, warmups, SHARED_NS if turns.shared else SHORT_NS)
        _settle(step, steps, protocol, clock, warmups)
        sampler = _Sampler(step, steps, protocol, clock, turns.shared, warmups[-1][0])
        stop = sampler.take(turns)
    return HostTimes(
        cpu=tuple(cpu for cpu, _ in sampler.samples),
        wall=tuple(wall for _, wall in sampler.samples),
        cpu_warmups=tuple(cpu for cpu, _ in warmups),
        wall_warmups=tuple(wall for _, wall in warmups),
        steps=steps,
        stop=stop,
    )


@dataclass(slots=True)
class _Sampler:
    """Takes samples of a step until there is enough of them."""

    step: Callable[[], object]
    steps: int  # in a sample
    protocol: Protocol
    clock: Clock
    shared: bool
    last_ns: int  # processor time of the last step
    samples: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    spent_ns: float = 0  # of the budget

    def refresh(self) -> None:
        """Fill the caches again after others had them."""
        if self.last_ns < COLD_NS:
            self.step()

    def turn(self, length_ns: int) -> str | None:
        """Take samples for about so long, one at least; return why they are enough, or None."""
        end = self.spent_ns + length_ns
        while True:
            begin = self.clock.wall_ns()
            self.samples.append(_sample(self.step, self.steps, self.clock))
            self.last_ns = self.samples[-1][0]
            self.spent_ns += self._charge(self.clock.wall_ns() - begin)
            if self.shared and len(self.samples) >= self.protocol.max_samples:
                return "max_samples"
            if self.spent_ns >= end:
                return stop_reason(self.protocol, len(self.samples), int(self.spent_ns))

    def _charge(self, wall_ns: int) -> float:
        """Return what a sample costs of the budget.

        Alone: its wall time. In turns: its processor time, so that a crowded machine gets as many
        samples as a quiet one, but a share of the wall time at least: a step may sleep.
        """
        if not self.shared:
            return wall_ns
        return max(self.last_ns * self.steps, wall_ns / MOST_WAIT)

    def take(self, turns: Turns) -> str:
        """Sample in the turns given until nobody needs more; return why these were enough."""
        turns.ready()
        reason: str | None = None
        while turns.mine():
            if turns.shared:
                self.refresh()
            stop = self.turn(CHUNK_NS if turns.shared else 0)
            reason = reason or stop
            turns.end(stop)
        return reason or "ended"


def _calibrate(
    step: Callable[[], object], clock: Clock, warmups: list[tuple[int, int]], short_ns: int
) -> int:
    """Return how many steps make a sample long enough; what it takes to find out is a warm-up."""
    steps = 1
    while (total := warmups[-1][0] * steps) < short_ns and steps < MOST_STEPS:
        wanted = math.ceil(steps * short_ns / max(total, 1))
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
