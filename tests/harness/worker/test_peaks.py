from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from harness.schema import Job, Protocol
from harness.worker import peaks, server
from harness.worker.clock import Clock
from tests.harness.worker.conftest import CELL


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "_known", {})
    monkeypatch.setattr(peaks, "BUDGET_NS", 0)


def stepping(ns: int) -> Clock:
    """A clock on which everything takes so long."""
    ticks = iter(range(0, 1 << 60, ns))
    return Clock(cpu_ns=lambda: next(ticks), wall_ns=lambda: next(ticks))


def test_rates_are_work_by_time() -> None:
    found = peaks.peaks(CELL, stepping(20_000_000))
    # The smallest product lasts long enough on this clock.
    assert found["flops_per_s"] == pytest.approx(2 * 128**3 / 0.02)
    assert found["bytes_per_s"] == pytest.approx(2 * (96 << 20) / 0.02)
    assert found["unknown"] is None
    assert "process CPU time" in found["method"]


def test_a_product_grows_until_it_lasts_long_enough() -> None:
    found = peaks.peaks(CELL, Clock())
    assert 1e6 < found["flops_per_s"] < 1e15
    assert 1e6 < found["bytes_per_s"] < 1e14


def test_rates_are_measured_once_for_a_device_dtype_and_number_of_threads() -> None:
    first = peaks.peaks(CELL, stepping(20_000_000))
    assert peaks.peaks(replace(CELL, seq_len=128), stepping(40_000_000)) is first
    assert peaks.peaks(replace(CELL, dtype="float64"), stepping(40_000_000)) is not first


def test_what_a_child_has_measured_is_not_measured_again() -> None:
    rates = {"flops_per_s": 1.0, "bytes_per_s": 2.0, "method": "", "unknown": None}
    peaks.learn(peaks.key(CELL), rates)
    assert peaks.peaks(CELL, stepping(1)) == rates


def test_a_rate_that_cannot_be_measured_is_none_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_args, **_kwargs):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "mm", full)
    found = peaks.peaks(CELL, stepping(20_000_000))
    assert found["flops_per_s"] is None
    assert found["bytes_per_s"] is not None
    assert found["unknown"].startswith("matrix product: [enforce fail]")


def test_on_cuda_the_shortest_call_between_events_counts() -> None:
    times: Iterator[float] = iter([5.0, 4.0, 9.0, 3.0, 2.0, 4.0])
    event = SimpleNamespace(record=lambda: None, elapsed_time=lambda _end: next(times))
    cuda = SimpleNamespace(Event=lambda enable_timing: event, synchronize=lambda: None)
    timer = peaks._Timer("cuda", stepping(1), cuda)
    assert timer(lambda: None) == 5_000_000
    assert timer.repeated(lambda: None) == 2_000_000


def test_the_fork_server_learns_rates_from_a_cell_s_facts_but_no_failure_to_measure() -> None:
    asked = Job(cell=CELL, metrics=("flops",), protocol=Protocol())
    rates = {"flops_per_s": 1.0, "bytes_per_s": None, "method": "", "unknown": "copy: no memory"}
    server._learn(asked, {"stage": "flops"})
    server._learn(asked, {"facts": {"peaks": rates}})
    assert peaks._known == {}
    server._learn(asked, {"facts": {"peaks": {**rates, "unknown": None}}})
    assert peaks._known == {peaks.key(CELL): {**rates, "unknown": None}}
