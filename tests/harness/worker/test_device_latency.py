from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from harness.schema import Protocol
from harness.worker import workload
from harness.worker.clock import Clock
from harness.worker.clocks import Clocks, ClockState
from harness.worker.device_latency import first_call
from harness.worker.metric import Bench
from harness.worker.metrics.latency import collect
from harness.worker.nvml import Session
from harness.worker.stopping import STOPS

REASON = "nvidia-ml-py is not installed"


class FakeClocks:
    unknown = None

    def __init__(self, state: ClockState) -> None:
        self.state = state

    def read(self) -> ClockState:
        return self.state


@contextmanager
def unknown_clocks():
    yield Clocks(session=Session(reason=REASON))


def clocks(**fields):
    @contextmanager
    def opened():
        yield FakeClocks(ClockState(**fields))

    return opened


def fake_cuda(l2_bytes: int = 1 << 20, *, begun: bool = False):
    event = SimpleNamespace(record=lambda: None, query=lambda: begun, elapsed_time=lambda _: 2.5)
    return SimpleNamespace(
        Event=lambda enable_timing: event,
        synchronize=lambda: None,
        get_device_properties=lambda _: SimpleNamespace(L2_cache_size=l2_bytes),
        _sleep=lambda _: None,
    )


@pytest.fixture
def measured(job):
    on_cpu = workload.build(job())

    def measure(cuda=None, opened=unknown_clocks):
        protocol = Protocol(warmups=1, min_samples=3, max_samples=5, min_time_s=0.0)
        bench = Bench(
            job=job(device="cuda", protocol=protocol),
            build=lambda _: on_cpu,
            cuda=cuda or fake_cuda(),
            clocks=opened,
            clock=Clock(sleep_s=lambda _: None),
        )
        findings = collect(bench)
        return {found.metric: found for found in findings.measurements}, findings.facts

    return measure


def test_the_first_call_is_one_step_of_a_fresh_network_and_the_wait_for_it(job) -> None:
    work, log = workload.build(job()), []
    bench = Bench(
        job=job(device="cuda"),
        build=lambda _: replace(work, step=lambda: log.append("step")),
        cuda=SimpleNamespace(synchronize=lambda: log.append("wait")),
        clock=Clock(wall_ns=lambda: log.append("clock") or 1000 * len(log)),
    )
    (first,) = first_call(bench).measurements
    assert log == ["wait", "clock", "step", "wait", "clock"]
    assert (first.metric, first.samples, first.stop) == ("latency_first", (3000,), "single")


def test_cold_hot_and_host_are_figures_of_their_own(measured) -> None:
    found, facts = measured()
    assert set(found) == {"latency", "latency_hot", "latency_host"}
    assert set(found["latency"].samples) == {2_500_000}
    assert found["latency"].warmups
    assert all(m.stop in STOPS and m.unit == "ns" and m.method for m in found.values())
    assert facts["graph_unavailable"] == "this torch has no CUDA graphs"
    assert facts["launch_bound"] in {True, False}
    assert facts["sampling_compiles"] == [0]


@pytest.mark.parametrize(("l2_bytes", "flushed"), [(1 << 20, 2 << 20), (0, 256 << 20)])
def test_the_method_says_what_was_flushed(measured, l2_bytes: int, flushed: int) -> None:
    found, facts = measured(fake_cuda(l2_bytes))
    assert f"{flushed:,} bytes" in found["latency"].method
    assert facts["l2_flush_bytes"] == flushed
    assert facts["l2_bytes"] == (l2_bytes or None)


@pytest.mark.parametrize(("begun", "words"), [(False, "launch hidden"), (True, "not hidden")])
def test_the_method_says_whether_the_launch_was_hidden(measured, begun, words: str) -> None:
    found, facts = measured(fake_cuda(begun=begun))
    assert words in found["latency"].method
    assert facts["launch_hidden"] is not begun


def test_clocks_that_cannot_be_read_are_told_with_their_reason(measured) -> None:
    _, facts = measured()
    assert facts["clocks_unknown"] == REASON
    assert sum(facts["latency_block_samples"]) == 5
    assert "latency_sm_mhz" not in facts
    assert facts["throttled_samples"] == [0]


def test_a_throttled_device_yields_a_full_row_with_a_flag(measured) -> None:
    found, facts = measured(opened=clocks(throttled=True, reasons=0x40, sm_mhz=300))
    assert len(found["latency"].samples) == 5
    assert facts["throttled_samples"] == [10]
    assert facts["retaken_samples"] == [30]
    assert facts["latency_reasons"] == [["hw_thermal_slowdown"]]
    assert facts["latency_hot_sm_mhz"] == [300]
    assert facts["latency_throttled"] == [True]


def test_a_power_cap_is_told_and_nothing_is_taken_anew(measured) -> None:
    _, facts = measured(opened=clocks(reasons=0x4, sm_mhz=1500, power_w=700.0))
    assert facts["power_capped"] == [True]
    assert facts["throttled_samples"] == facts["retaken_samples"] == [0]
    assert facts["latency_power_w"] == [700.0]


@pytest.mark.parametrize("phase", ["forward", "train_step"])
def test_no_gradient_is_there_when_an_event_starts(job, phase: str) -> None:
    work = workload.build(job(phase=phase))
    seen = []
    cuda = fake_cuda()
    event = SimpleNamespace(
        record=lambda: seen.extend(p.grad is None for p in work.model.parameters()),
        query=lambda: False,
        elapsed_time=lambda _: 2.5,
    )
    cuda.Event = lambda enable_timing: event
    collect(
        Bench(
            job=job(device="cuda", phase=phase),
            build=lambda _: work,
            cuda=cuda,
            clocks=unknown_clocks,
        )
    )
    assert seen
    assert all(seen)
