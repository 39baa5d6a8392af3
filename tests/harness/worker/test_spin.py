from types import SimpleNamespace

import pytest

from harness.worker.spin import LONGEST_NS, PROBE_CYCLES, Spin, calibrate


def cuda(elapsed_ms: float, sleep):
    event = SimpleNamespace(record=lambda: None, elapsed_time=lambda _: elapsed_ms)
    return SimpleNamespace(
        Event=lambda enable_timing: event, synchronize=lambda: None, _sleep=sleep
    )


def test_the_spin_learns_how_long_a_cycle_is() -> None:
    slept = []
    spin = calibrate(cuda(1.0, slept.append))  # two million cycles in a millisecond
    spin.queue(500_000)
    assert slept == [PROBE_CYCLES, PROBE_CYCLES, 1_000_000]


def test_the_spin_ends_by_itself_within_a_second() -> None:
    slept = []
    Spin(sleep=slept.append, cycles_per_ns=2.0).queue(10**15)
    assert slept == [2 * LONGEST_NS]


def refuse(_):
    raise RuntimeError("not on this device")


@pytest.mark.parametrize(
    ("fake", "reason"),
    [
        (SimpleNamespace(), "no torch.cuda._sleep"),
        (cuda(1.0, refuse), "not on this device"),
        (cuda(0.0, lambda _: None), "does not wait"),
    ],
)
def test_where_there_is_no_spin_it_does_nothing_and_says_why(fake, reason: str) -> None:
    spin = calibrate(fake)
    spin.queue(1000)
    assert reason in str(spin.reason)
