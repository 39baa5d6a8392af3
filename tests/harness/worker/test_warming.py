from types import SimpleNamespace

import pytest

from harness.schema import Protocol
from harness.worker.clock import Clock
from harness.worker.clocks import ClockState
from harness.worker.instruments import Instruments
from harness.worker.warming import warm_up

MS = 1_000_000


class Device:
    """Steps of 10 ms; the first takes a second; some compile; clocks come from a list."""

    def __init__(self, *clocks: int | None, compiles_at=(), step_ms: int = 10) -> None:
        self.clocks, self.compiles_at, self.step_ms = list(clocks), compiles_at, step_ms
        self.now = self.steps = self.compiled = self.waits = 0

    def step(self) -> None:
        self.steps += 1
        self.compiled += self.compiles_at == "always" or self.steps in self.compiles_at
        self.now += (1000 if self.steps == 1 else self.step_ms) * MS

    def state(self) -> ClockState:
        return ClockState(sm_mhz=self.clocks.pop(0) if self.clocks else 1900)

    def warm(self, **changes):
        limits = {"warmups": 1, "max_samples": 100, "min_time_s": 0.0, "max_time_s": 5.0}
        cuda = SimpleNamespace(synchronize=lambda: setattr(self, "waits", self.waits + 1))
        clock = Clock(cpu_ns=lambda: 0, wall_ns=lambda: self.now)
        tools = Instruments(
            clock=clock, cuda=cuda, state=self.state, compiles=lambda: self.compiled
        )
        return warm_up(self.step, Protocol(**limits | changes), tools)


def test_the_first_call_is_timed_apart() -> None:
    warm = Device(compiles_at={1}).warm()
    assert warm.first == 1000 * MS
    assert warm.first_compiles == 1
    assert set(warm.rounds) == {10 * MS}
    assert warm.compiles == 0
    assert warm.stop == "quiet"


def test_a_round_keeps_the_device_busy_and_waits_once() -> None:
    device = Device()
    warm = device.warm(min_time_s=0.1)
    assert device.waits == len(warm.rounds) + 1
    assert device.steps == 1 + 1 + 5 * (len(warm.rounds) - 1)


@pytest.mark.parametrize("field", ["warmups", "min_time_s"])
def test_the_protocols_least_is_kept(field: str) -> None:
    device = Device()
    device.warm(**{field: 30 if field == "warmups" else 0.3})
    assert device.steps >= 30


def test_a_late_compilation_makes_the_warm_up_longer() -> None:
    device = Device(compiles_at={1, 6})
    warm = device.warm()
    assert warm.compiles == 1
    assert device.steps > 10
    assert warm.stop == "quiet"


def test_a_rising_clock_makes_the_warm_up_longer() -> None:
    warm = Device(345, 1200, 1700, 1980, 1975).warm()
    assert len(warm.rounds) == 5


def test_a_clock_that_nobody_tells_is_no_bar() -> None:
    assert len(Device(None, None, None).warm().rounds) == 2


def test_a_step_that_always_compiles_ends_at_the_budget() -> None:
    device = Device(compiles_at="always")
    warm = device.warm(max_time_s=1.0)
    assert warm.stop == "max_time"
    assert 90 <= device.steps <= 110


def test_a_step_beyond_the_budget_is_warmed_up_once() -> None:
    warm = Device(step_ms=20_000).warm()
    assert len(warm.rounds) == 1
    assert warm.stop == "max_time"
