from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from harness.schema import Protocol
from harness.worker.clock import Clock
from harness.worker.clocks import ClockState
from harness.worker.device_timing import time_device
from harness.worker.instruments import Instruments

US, MS, S = 1_000, 1_000_000, 1_000_000_000


class FakeDevice:
    """A host that queues work in some time, and a device that does it in another."""

    def __init__(self, host_ns: int, cold_ns: int, hot_ns: int, *, spins: bool = True) -> None:
        self.host_ns, self.cold_ns, self.hot_ns = host_ns, cold_ns, hot_ns
        self.host = self.device = 0  # the time on each
        self.cold, self.capturing, self.steps, self.log = False, False, 0, []
        self.compiles, self.compiles_at = 0, set()  # steps that compile
        self.states = []  # of the device, one for each look; then an unknown one
        self.debug = "default"
        self.stream = "main"
        self.cuda = SimpleNamespace(
            Event=self.event,
            synchronize=self.synchronize,
            Stream=lambda: SimpleNamespace(wait_stream=lambda _: None),
            current_stream=lambda: SimpleNamespace(wait_stream=lambda _: None),
            set_stream=lambda _: self.log.append("set_stream"),
            stream=self.nothing,
            get_sync_debug_mode=lambda: self.debug,
            set_sync_debug_mode=lambda mode: setattr(self, "debug", mode),
            CUDAGraph=lambda: SimpleNamespace(
                replay=self.replay, reset=lambda: self.log.append("reset")
            ),
            graph=self.capture,
        )
        if spins:
            self.cuda._sleep = self.spin
        self.output = torch.zeros(3)

    def step(self):
        if self.capturing:
            return self.output
        self.steps += 1
        self.compiles += self.steps in self.compiles_at
        self.log.append("step")
        self.host += self.host_ns
        self.device = max(self.device, self.host) + (self.cold_ns if self.cold else self.hot_ns)
        self.cold = False
        return self.output

    def flush(self) -> None:
        self.log.append("flush")
        self.cold = True
        self.device = max(self.device, self.host) + 100 * US

    def spin(self, cycles: int) -> None:
        self.log.append("spin")
        self.device = max(self.device, self.host) + cycles // 2  # two cycles a nanosecond

    def synchronize(self) -> None:
        self.log.append("synchronize")
        self.host = self.device = max(self.host, self.device)

    def replay(self) -> None:
        self.log.append("replay")
        self.host += 1 * US
        self.device = max(self.device, self.host) + self.hot_ns
        self.output.zero_()

    @contextmanager
    def capture(self, _graph):
        self.capturing = True
        yield
        self.capturing = False

    @contextmanager
    def nothing(self, _stream):
        yield

    def state(self) -> ClockState:
        self.log.append("look")
        return self.states.pop(0) if self.states else ClockState()

    def sleep(self, seconds: float) -> None:
        self.log.append("pause")
        self.host += round(seconds * S)

    def event(self, enable_timing: bool) -> SimpleNamespace:
        assert enable_timing
        self.log.append("make")
        event = SimpleNamespace(at=None)

        def record() -> None:
            event.at = max(self.device, self.host)
            self.log.append("record")

        event.record = record
        event.query = lambda: event.at <= self.host
        event.elapsed_time = lambda end: (end.at - event.at) / MS
        return event

    def time(self, **changes):
        limits = {"warmups": 2, "min_samples": 5, "max_samples": 30, "min_time_s": 0.0}
        tools = Instruments(
            clock=Clock(cpu_ns=lambda: self.host, wall_ns=lambda: self.host, sleep_s=self.sleep),
            cuda=self.cuda,
            state=self.state,
            compiles=lambda: self.compiles,
        )
        return time_device(self.step, self.flush, Protocol(**limits | changes), tools)


def slow(**fields) -> ClockState:
    return ClockState(throttled=True, reasons=0x20, **fields)


def test_cold_steps_see_a_flushed_cache_and_hot_steps_do_not() -> None:
    times = FakeDevice(host_ns=10 * US, cold_ns=5 * MS, hot_ns=4 * MS).time()
    assert set(times.hot.samples) == {4 * MS}
    assert set(times.cold.samples) == {5 * MS}
    assert times.cold.stop == times.hot.stop == "stable"


def test_cold_times_hold_no_launch_though_the_host_takes_ten_times_as_long() -> None:
    times = FakeDevice(host_ns=10 * MS, cold_ns=1 * MS, hot_ns=1 * MS).time()
    assert set(times.cold.samples) == {1 * MS}
    assert times.cover.hidden
    assert times.cover.exposed == 0
    assert times.launch_bound
    assert times.graph is not None
    assert set(times.graph.samples) == {1 * MS}
    assert set(times.hot.samples) == {10 * MS}


def test_without_a_spin_kernel_a_short_step_is_told_to_be_exposed() -> None:
    times = FakeDevice(10 * MS, 1 * MS, 1 * MS, spins=False).time()
    assert not times.cover.hidden
    assert times.cover.exposed == len(times.cold.samples)
    assert times.cover.reason == "this torch has no torch.cuda._sleep"
    assert times.launch_bound


def test_without_a_spin_kernel_a_long_step_still_hides_the_launches_of_the_next() -> None:
    times = FakeDevice(10 * US, 5 * MS, 5 * MS, spins=False).time(min_samples=30)
    assert times.cover.hidden


def test_each_sample_is_a_flush_a_spin_and_a_step_between_events() -> None:
    device = FakeDevice(10 * US, 5 * MS, 4 * MS)
    device.time()
    first = device.log.index("flush")
    assert device.log[first : first + 10] == ["flush", "spin", "record", "step", "record"] * 2
    assert device.log[first - 1] == "look"


def test_the_host_waits_once_for_a_block() -> None:
    device = FakeDevice(10 * US, 5 * MS, 5 * MS)
    device.time()
    first = device.log.index("flush")
    last = device.log.index("synchronize", first)
    assert device.log[first:last].count("flush") == 10  # a block of 50 ms
    assert device.log[last - 1] == "look"  # while the device is busy


def test_events_are_made_before_the_samples_that_they_time() -> None:
    device = FakeDevice(10 * US, 5 * MS, 4 * MS)
    device.time()
    first = device.log.index("flush")
    assert "make" not in device.log[first : device.log.index("synchronize", first)]


def test_a_block_of_slow_steps_is_one_step() -> None:
    times = FakeDevice(10 * US, 2 * S, 2 * S).time(max_time_s=5.0, min_samples=10)
    assert len(times.hot.samples) == 4
    assert times.hot.stop == "max_time"


def test_a_slow_host_is_flagged_and_timed_on_an_idle_device() -> None:
    device = FakeDevice(host_ns=3 * MS, cold_ns=1 * MS, hot_ns=1 * MS)
    times = device.time()
    assert set(times.host.samples) == {3 * MS}
    assert times.launch_bound


def test_a_fast_host_is_not_flagged() -> None:
    times = FakeDevice(host_ns=10 * US, cold_ns=1 * MS, hot_ns=1 * MS).time()
    assert not times.launch_bound


@pytest.mark.parametrize(("host_us", "bound"), [(799, False), (801, True)])
def test_the_flag_goes_up_at_four_fifths(host_us: int, bound: bool) -> None:
    assert FakeDevice(host_us * US, 1 * MS, 1 * MS).time().launch_bound is bound


def test_a_throttled_block_is_taken_anew_and_what_was_set_aside_is_kept() -> None:
    device = FakeDevice(10 * US, 5 * MS, 4 * MS)
    device.states = [ClockState()] * 2 + [ClockState(), slow(sm_mhz=600)]  # two rounds, one block
    times = device.time()
    assert device.log.count("pause") == 1
    assert len(times.cold.retaken) == 1
    assert times.cold.throttled_samples == 0
    assert set(times.cold.facts("x")["x_retaken_ns"]) == {5 * MS}
    assert times.cold.samples


def test_a_device_that_never_recovers_still_yields_a_row_with_a_flag() -> None:
    device = FakeDevice(10 * US, 5 * MS, 4 * MS)
    device.states = [slow(sm_mhz=345)] * 1000
    times = device.time()
    assert device.log.count("pause") == 9  # thrice for each of three series
    for series in times.series.values():
        assert len(series.samples) >= 5
        assert series.throttled_samples == len(series.samples)
        assert set(series.facts("x")["x_sm_mhz"]) == {345}


def test_a_compilation_while_samples_are_taken_is_counted() -> None:
    device = FakeDevice(10 * US, 5 * MS, 4 * MS)
    device.compiles_at = {1, 20}
    times = device.time()
    assert (times.warmup.first_compiles, times.warmup.compiles, times.compiles) == (1, 0, 1)


def test_a_step_that_cannot_be_captured_says_why_and_keeps_all_other_figures() -> None:
    device = FakeDevice(10 * US, 5 * MS, 4 * MS)
    del device.cuda.CUDAGraph
    times = device.time()
    assert times.graph is None
    assert times.graph_reason == "this torch has no CUDA graphs"
    assert set(times.series) == {"latency", "latency_hot"}


def test_a_graph_gives_its_memory_back() -> None:
    device = FakeDevice(10 * US, 5 * MS, 4 * MS)
    device.time()
    assert device.log[-1] == "reset"


@pytest.mark.parametrize("cold_ns", [0, 1])
def test_a_step_that_events_cannot_see_still_yields_samples(cold_ns: int) -> None:
    times = FakeDevice(0, cold_ns, 0).time()
    assert times.cold.samples
    assert times.hot.samples
