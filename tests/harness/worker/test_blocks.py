from types import SimpleNamespace

import pytest

from harness.schema import Protocol
from harness.worker.blocks import BLOCK_NS, MOST_STEPS, RETAKES, block_size, sample_blocks
from harness.worker.clock import Clock
from harness.worker.clocks import ClockState
from harness.worker.instruments import Instruments

S = 1_000_000_000
HOT = ClockState(throttled=True, reasons=0x20)
FINE = ClockState(sm_mhz=1900, memory_mhz=3000, temperature_c=50, power_w=300.0, reasons=0x4)


class Bench:
    """Samples of 10 ms; the device's states come from a list, its last one for ever."""

    def __init__(self, *states: ClockState) -> None:
        self.states, self.now, self.slept, self.taken = list(states), 0, [], []

    def state(self) -> ClockState:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def take(self, count, look):
        self.taken.append(count)
        look()
        self.now += count * S // 100
        return [S // 100] * count

    def run(self, size: int = 4, **changes):
        limits = {"min_samples": 8, "max_samples": 30, "min_time_s": 0.0, "max_time_s": 10.0}
        clock = Clock(cpu_ns=lambda: 0, wall_ns=lambda: self.now, sleep_s=self.slept.append)
        tools = Instruments(
            clock=clock, cuda=SimpleNamespace(), state=self.state, compiles=lambda: 0
        )
        return sample_blocks(self.take, size, Protocol(**limits | changes), tools)


def test_the_columns_have_one_entry_for_each_block() -> None:
    assert Bench(FINE).run().facts("x") == {
        "x_block_samples": [4, 4],
        "x_sm_mhz": [1900, 1900],
        "x_memory_mhz": [3000, 3000],
        "x_temperature_c": [50, 50],
        "x_power_w": [300.0, 300.0],
        "x_reasons": [["sw_power_cap"], ["sw_power_cap"]],
        "x_throttled": [False, False],
        "x_retaken_ns": [],
    }


def test_where_nothing_is_told_there_are_no_columns_of_it() -> None:
    facts = Bench(ClockState()).run().facts("x")
    assert facts == {"x_block_samples": [4, 4], "x_retaken_ns": []}


def test_a_column_keeps_its_places_where_readings_failed() -> None:
    part = ClockState(sm_mhz=1900)
    facts = Bench(FINE, part, part, part, FINE).run().facts("x")
    assert facts["x_temperature_c"] == [None, None]
    assert facts["x_sm_mhz"] == [1900, 1900]


def test_the_idling_of_the_device_between_blocks_is_no_reason() -> None:
    facts = Bench(ClockState(reasons=0x1)).run().facts("x")
    assert facts["x_reasons"] == [[], []]


@pytest.mark.parametrize("states", [(HOT, FINE), (FINE, HOT, FINE)])
def test_a_block_that_was_throttled_before_or_during_is_taken_anew(states) -> None:
    bench = Bench(*states)
    series = bench.run()
    assert bench.slept == [0.5]
    assert (len(series.retaken), len(series.kept)) == (1, 2)
    assert series.throttled_samples == 0


def test_retakes_are_bounded_and_the_row_is_never_empty() -> None:
    bench = Bench(HOT)
    series = bench.run()
    assert bench.slept == [0.5, 1.0, 1.5]
    assert len(series.retaken) == RETAKES
    assert series.throttled_samples == len(series.samples) == 8
    assert series.facts("x")["x_throttled"] == [True, True]
    assert series.facts("x")["x_retaken_ns"] == [S // 100] * 12


def test_a_budget_that_throttling_ate_leaves_the_throttled_samples() -> None:
    series = Bench(HOT).run(max_time_s=0.01)
    assert series.stop == "max_time"
    assert series.throttled_samples == len(series.samples) == 4
    assert series.retaken == ()


def test_the_last_block_is_no_longer_than_the_budget_of_samples() -> None:
    bench = Bench(ClockState())
    series = bench.run(min_samples=10, max_samples=10, min_time_s=9.0)
    assert bench.taken == [4, 4, 2]
    assert series.stop == "max_samples"


@pytest.mark.parametrize(
    ("step_ns", "most", "size"),
    [(1, 10**9, MOST_STEPS), (0, 5, 5), (BLOCK_NS // 10, 100, 10), (10 * BLOCK_NS, 100, 1)],
)
def test_a_block_lasts_fifty_milliseconds_or_one_step(step_ns, most, size) -> None:
    assert block_size(step_ns, most) == size
