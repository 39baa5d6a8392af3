"""Laws of the clocks on a real device; each compares two readings of the same step."""

from collections.abc import Callable
from statistics import median

import pytest
import torch

from harness.schema import Protocol
from harness.worker import spin
from harness.worker.clock import Clock
from harness.worker.clocks import open_clocks
from harness.worker.compiling import compiles
from harness.worker.device_timing import DeviceTimes, time_device
from harness.worker.flush import make_flush
from harness.worker.graph import capture
from harness.worker.instruments import Instruments

MIB = 1 << 20
MS = 1_000_000


def timed(step: Callable[[], object], **changes) -> DeviceTimes:
    limits = {"min_samples": 20, "max_samples": 100, "min_time_s": 0.2, "max_time_s": 3.0}
    flush = make_flush(torch.cuda, torch.device("cuda", 0))
    with open_clocks() as clocks:
        tools = Instruments(clock=Clock(), cuda=torch.cuda, state=clocks.read, compiles=compiles)
        return time_device(step, flush.queue, Protocol(**limits | changes), tools)


@pytest.fixture
def small() -> torch.Tensor:
    """A tensor that fits the L2 cache of any card since Ampere."""
    return torch.randn(4 * MIB, device="cuda")


def test_a_flushed_cache_is_slower_than_a_warm_one(small) -> None:
    times = timed(lambda: small * 1.5)
    assert times.graph is not None, times.graph_reason
    assert median(times.cold.samples) > median(times.graph.samples)


def test_back_to_back_events_add_up_to_the_wall_time_of_a_long_step() -> None:
    one = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    times = timed(lambda: one @ one)
    wall = median(times.warmup.rounds)
    assert 0.75 * wall <= median(times.hot.samples) <= 1.25 * wall
    assert not times.launch_bound


def test_the_launch_of_many_short_kernels_is_hidden_and_flagged() -> None:
    one = torch.randn(64, device="cuda")

    def step():
        out = one
        for _ in range(50):
            out = out * 1.5
        return out

    times = timed(step)
    assert times.launch_bound
    assert times.cover.hidden, (times.cover.exposed, times.cover.samples, times.cover.reason)
    assert median(times.cold.samples) < median(times.hot.samples)
    assert times.graph is not None, times.graph_reason
    assert median(times.graph.samples) < median(times.hot.samples)


def test_a_spin_lasts_as_long_as_it_is_asked_to() -> None:
    warm = torch.randn(4096, 4096, device="cuda")
    for _ in range(20):
        warm = (warm @ warm).clamp(-1, 1)
    wait = spin.calibrate(torch.cuda)
    assert wait.reason is None
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    wait.queue(5 * MS)
    end.record()
    torch.cuda.synchronize()
    assert 3.5 < start.elapsed_time(end) < 7


def test_a_step_that_waits_is_refused_and_the_context_stays_sound(small) -> None:
    def waits():
        return small * small.sum().item()

    refused = capture(waits, torch.cuda)
    assert refused.replay is None
    assert "synchroniz" in str(refused.reason)
    assert torch.cuda.get_sync_debug_mode() == 0
    assert torch.isfinite(torch.randn(5, device="cuda")).all()
    sound = capture(lambda: small * 2, torch.cuda)
    assert sound.reason is None
    sound.release()


def test_a_capture_that_fails_midway_leaves_context_stream_and_generator_sound(small) -> None:
    stream = torch.cuda.current_stream()

    def fails_in_capture():
        out = small * 2
        if torch.cuda.is_current_stream_capturing():
            raise RuntimeError("planted")
        return out

    assert capture(fails_in_capture, torch.cuda).reason == "the capture failed: planted"
    assert torch.cuda.current_stream() == stream
    drawn = torch.randn(1000, device="cuda")
    assert torch.isfinite(drawn).all()
    assert timed(lambda: small * 2).graph is not None


def test_the_clock_of_the_device_is_told_or_the_reason_why_not(small) -> None:
    with open_clocks() as clocks:
        for _ in range(100):
            small.mul_(1.0001)
        state, unknown = clocks.read(), clocks.unknown
    print(state, state.words, unknown)  # noqa: T201 - what the machine tells is worth keeping
    assert (state.sm_mhz is None) == (unknown is not None)
    assert state.sm_mhz is None or state.sm_mhz > 100


def test_the_first_call_of_a_compiled_step_is_apart_and_no_sample_compiles(small) -> None:
    pytest.importorskip("triton", reason="torch.compile on CUDA needs triton")
    step = torch.compile(lambda: torch.nn.functional.gelu(small) * 2)
    times = timed(step)
    assert times.warmup.first_compiles > 0
    assert times.compiles == 0
    assert times.warmup.first > 10 * median(times.hot.samples)
