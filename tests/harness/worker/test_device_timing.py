from types import SimpleNamespace

import pytest

from harness.schema import Protocol
from harness.worker.clock import Clock
from harness.worker.device_timing import time_device

US, MS, S = 1_000, 1_000_000, 1_000_000_000


class FakeDevice:
    """A host that queues work in some time, and a device that does it in another."""

    def __init__(self, host_ns: int, cold_ns: int, hot_ns: int) -> None:
        self.host_ns, self.cold_ns, self.hot_ns = host_ns, cold_ns, hot_ns
        self.host = self.device = 0  # the time on each
        self.cold, self.made, self.steps, self.log = False, 0, 0, []
        self.clock = Clock(cpu_ns=lambda: self.host, wall_ns=lambda: self.host)
        self.cuda = SimpleNamespace(Event=self.event, synchronize=self.synchronize)

    def step(self) -> None:
        self.steps += 1
        self.log.append("step")
        self.host += self.host_ns
        self.device = max(self.device, self.host) + (self.cold_ns if self.cold else self.hot_ns)
        self.cold = False

    def flush(self) -> None:
        self.log.append("flush")
        self.cold = True
        self.device = max(self.device, self.host) + 100 * US

    def synchronize(self) -> None:
        self.log.append("synchronize")
        self.host = self.device = max(self.host, self.device)

    def event(self, enable_timing: bool) -> SimpleNamespace:
        assert enable_timing
        self.made += 1
        self.log.append("make")
        event = SimpleNamespace(at=None)

        def record() -> None:
            event.at = max(self.device, self.host)
            self.log.append("record")

        event.record = record
        event.elapsed_time = lambda end: (end.at - event.at) / MS
        return event

    def time(self, **changes):
        limits = {"warmups": 2, "min_samples": 5, "max_samples": 30, "min_time_s": 0.0}
        protocol = Protocol(**limits | changes)
        return time_device(self.step, self.flush, protocol, self.clock, self.cuda)


def test_cold_steps_see_a_flushed_cache_and_hot_steps_do_not() -> None:
    times = FakeDevice(host_ns=10 * US, cold_ns=5 * MS, hot_ns=4 * MS).time()
    assert set(times.hot.samples) == {4 * MS}
    assert times.cold.samples == (5 * MS,) * 5
    assert times.cold.stop == times.hot.stop == "enough"


def test_the_cache_is_flushed_before_each_cold_step_and_outside_the_events() -> None:
    device = FakeDevice(10 * US, 5 * MS, 4 * MS)
    device.time()
    first = device.log.index("flush")
    assert device.log[first - 1 : first + 5] == [
        *("synchronize", "flush", "record", "step", "record", "synchronize")
    ]
    assert device.log.count("flush") == 5


def test_events_are_made_before_the_first_step_that_they_time() -> None:
    device = FakeDevice(10 * US, 5 * MS, 4 * MS)
    device.time()
    made = [i for i, word in enumerate(device.log) if word == "make"]
    recorded = [i for i, word in enumerate(device.log) if word == "record"]
    assert made[1] < recorded[0]
    assert recorded[10] > made[-1]


def test_the_host_waits_once_for_a_block_of_hot_steps() -> None:
    device = FakeDevice(10 * US, 5 * MS, 5 * MS)
    times = device.time()
    assert len(times.hot.samples) == 10  # a block of 50 ms
    assert device.log[-21:] == [*(["step", "record"] * 10), "synchronize"]


def test_a_block_of_slow_steps_is_one_step() -> None:
    times = FakeDevice(10 * US, 2 * S, 2 * S).time(max_time_s=5.0)
    assert len(times.hot.samples) == 3
    assert times.hot.stop == "max_time"


def test_a_slow_host_is_flagged() -> None:
    times = FakeDevice(host_ns=3 * MS, cold_ns=1 * MS, hot_ns=1 * MS).time()
    assert set(times.host.samples) == {3 * MS}
    assert times.launch_bound


def test_a_fast_host_is_not_flagged() -> None:
    times = FakeDevice(host_ns=10 * US, cold_ns=1 * MS, hot_ns=1 * MS).time()
    assert not times.launch_bound


def test_the_device_warms_up_for_the_minimum_time() -> None:
    times = FakeDevice(10 * US, 5 * MS, 10 * MS - 10 * US).time(min_time_s=0.1, max_samples=100)
    assert len(times.warmups) == 10
    assert sum(times.warmups) == 100 * MS


def test_the_warm_up_of_a_fast_step_ends() -> None:
    times = FakeDevice(1 * US, 1 * US, 1 * US).time(min_time_s=0.5)
    assert len(times.warmups) == 30


@pytest.mark.parametrize("cold_ns", [0, 1])
def test_a_step_that_events_cannot_see_still_yields_samples(cold_ns: int) -> None:
    times = FakeDevice(0, cold_ns, 0).time()
    assert len(times.cold.samples) == 5
    assert times.hot.samples
