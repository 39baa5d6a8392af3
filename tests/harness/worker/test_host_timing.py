import gc

import pytest

from harness.schema import Protocol
from harness.worker.clock import Clock
from harness.worker.host_timing import MOST_STEPS, time_host

MS, S = 1_000_000, 1_000_000_000


class FakeTime:
    """A machine on which the n-th step takes a given time, half of it on another process."""

    def __init__(self, *steps_ns: int) -> None:
        self.steps, self.taken, self.now = list(steps_ns), 0, 0
        self.clock = Clock(cpu_ns=lambda: self.now // 2, wall_ns=lambda: self.now)

    def step(self) -> None:
        self.now += self.steps[min(self.taken, len(self.steps) - 1)]
        self.taken += 1


def protocol(**changes) -> Protocol:
    return Protocol(
        **{"warmups": 1, "min_samples": 3, "max_samples": 6, "min_time_s": 0.0} | changes
    )


def test_samples_are_the_times_of_the_steps_in_order() -> None:
    fake = FakeTime(90 * MS, 10 * MS, 30 * MS, 20 * MS)
    times = time_host(fake.step, protocol(), fake.clock)
    assert times.wall == (10 * MS, 30 * MS, 20 * MS)
    assert times.cpu == (5 * MS, 15 * MS, 10 * MS)
    assert times.stop == "enough"
    assert times.steps == 1


def test_warmups_are_kept_apart_and_counted() -> None:
    fake = FakeTime(90 * MS, 80 * MS, 70 * MS, 10 * MS)
    times = time_host(fake.step, protocol(warmups=3), fake.clock)
    assert times.wall_warmups == (90 * MS, 80 * MS, 70 * MS)
    assert times.cpu_warmups == (45 * MS, 40 * MS, 35 * MS)
    assert set(times.wall) == {10 * MS}


def test_an_outlier_is_kept() -> None:
    fake = FakeTime(10 * MS, 10 * MS, 10_000 * MS, 10 * MS)
    times = time_host(fake.step, protocol(), fake.clock)
    assert times.wall == (10 * MS, 10_000 * MS, 10 * MS)


def test_the_minimum_of_samples_is_taken_however_slow_a_step_is_within_the_budget() -> None:
    fake = FakeTime(1 * S)
    times = time_host(
        fake.step, protocol(min_samples=10, max_samples=50, max_time_s=20), fake.clock
    )
    assert len(times.cpu) == 10


def test_past_the_budget_four_samples_are_enough() -> None:
    fake = FakeTime(30 * S)
    times = time_host(fake.step, protocol(min_samples=10, max_time_s=20), fake.clock)
    assert (len(times.cpu), times.stop) == (4, "max_time")


def test_sampling_goes_on_until_the_minimum_time() -> None:
    fake = FakeTime(10 * MS)
    times = time_host(fake.step, protocol(min_time_s=0.05, max_samples=100), fake.clock)
    assert (len(times.cpu), times.stop) == (5, "enough")


def test_the_maximum_of_samples_ends_it() -> None:
    fake = FakeTime(10 * MS)
    times = time_host(fake.step, protocol(min_time_s=5.0), fake.clock)
    assert (len(times.cpu), times.stop) == (6, "max_samples")


def test_a_short_step_is_looped_until_a_sample_lasts_a_millisecond() -> None:
    fake = FakeTime(20_000)  # 10 us of CPU time
    times = time_host(fake.step, protocol(), fake.clock)
    assert times.steps == 100
    assert times.cpu == (10_000,) * 3
    assert times.wall == (20_000,) * 3
    assert times.cpu_warmups == (10_000, 10_000)  # the first call and one calibration
    assert fake.taken == 1 + 100 + 3 * 100


def test_a_slow_first_call_does_not_spoil_the_calibration_forever() -> None:
    fake = FakeTime(1 * MS, 2_000)  # 500 us at first, then 1 us
    times = time_host(fake.step, protocol(), fake.clock)
    assert times.steps == MOST_STEPS
    assert times.cpu == (1_000,) * 3


def test_a_step_that_the_clock_cannot_see_still_yields_samples() -> None:
    fake = FakeTime(0)
    times = time_host(fake.step, protocol(), fake.clock)
    assert (times.cpu, times.steps) == ((0, 0, 0), MOST_STEPS)


def test_a_loops_mean_is_rounded_to_nanoseconds() -> None:
    fake = FakeTime(2 * 300_001)
    times = time_host(fake.step, protocol(), fake.clock)
    assert times.steps == 4
    assert all(isinstance(sample, int) for sample in (*times.cpu, *times.wall))


def test_without_warmups_the_first_call_is_still_kept_apart() -> None:
    fake = FakeTime(90 * MS, 10 * MS)
    times = time_host(fake.step, protocol(warmups=0), fake.clock)
    assert times.wall_warmups == (90 * MS,)
    assert set(times.wall) == {10 * MS}


def test_the_collector_does_not_run_inside_a_sample() -> None:
    states = []
    fake = FakeTime(10 * MS)

    def step() -> None:
        states.append(gc.isenabled())
        fake.step()

    was = gc.isenabled()
    time_host(step, protocol(), fake.clock)
    assert states == [False] * 4
    assert gc.isenabled() is was


def test_a_failing_step_leaves_the_collector_as_it_was() -> None:
    was = gc.isenabled()

    def step() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        time_host(step, protocol(), Clock())
    assert gc.isenabled() is was


def test_warming_goes_on_until_three_steps_bring_no_new_minimum() -> None:
    falling = [90 * MS, 40 * MS, 30 * MS, 20 * MS, 20 * MS, 21 * MS, 20 * MS]
    fake = FakeTime(*falling, 20 * MS)
    times = time_host(fake.step, protocol(min_time_s=10.0, max_samples=3), fake.clock)
    assert times.wall_warmups == tuple(falling)
    assert set(times.wall) == {20 * MS}


def test_warming_takes_no_more_than_a_quarter_of_the_time() -> None:
    fake = FakeTime(*(1000 * MS - i * MS for i in range(100)))  # never quiet
    times = time_host(fake.step, protocol(min_time_s=20.0, max_samples=3), fake.clock)
    assert sum(times.wall_warmups[1:]) <= 0.25 * 20 * S + 1 * S
