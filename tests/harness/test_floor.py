"""Laws of the A/A floor."""

from dataclasses import replace

import numpy as np
import pytest

from harness import floor
from harness.schema import Job, Measurement, Outcome, Protocol, Result


def launches(seed: int, count: int, luck: float, noise: float = 0.01) -> list[list[float]]:
    """Samples of processes whose levels differ by luck."""
    generator = np.random.default_rng(seed)
    levels = generator.lognormal(sigma=luck, size=count)
    return [(level * generator.lognormal(sigma=noise, size=30)).tolist() for level in levels]


def test_equal_launches_have_no_floor() -> None:
    assert floor.floor([[1.0, 2.0, 3.0]] * 8, 4) == 0


def test_a_floor_tells_the_spread_between_processes_not_that_within() -> None:
    narrow, wide = (floor.floor(launches(0, 40, luck), 1) for luck in (0.01, 0.1))
    assert wide > 5 * narrow
    # The ratio of two log-normal levels: 95 % lie within 1.96 * sqrt(2) * sigma.
    assert 0.14 < wide < 0.5


def test_more_launches_lower_the_floor() -> None:
    samples = launches(1, 60, 0.05)
    found = [floor.floor(samples, size) for size in (1, 5, 15)]
    assert found[0] > found[1] > found[2]


def test_the_floor_does_not_depend_on_the_unit() -> None:
    samples = launches(2, 20, 0.05)
    scaled = [[8 * x for x in values] for values in samples]
    assert floor.floor(scaled, 5) == pytest.approx(floor.floor(samples, 5))


def test_a_slow_drift_of_the_machine_counts_little_as_neighbours_are_paired() -> None:
    drifting = [[1 + i / 10] * 5 for i in range(24)]  # more than threefold in all
    assert floor.floor(drifting, 8) < 0.35


class Machine:
    """Measures in no time; each launch a per cent slower than the one before."""

    def __init__(self, outcome: Outcome = Outcome.OK) -> None:
        self.jobs: list[Job] = []
        self.outcome = outcome

    def __call__(self, job: Job) -> Result:
        self.jobs.append(job)
        step = 1_000_000 + 10_000 * len(self.jobs)
        measured = tuple(
            Measurement(metric=name, unit="ns", better="lower", samples=(factor * step,) * 3)
            for name, factor in (("latency", 1), ("latency_wall", 2))
        )
        reason = None if self.outcome is Outcome.OK else "told so"
        return Result(cell=job.cell, outcome=self.outcome, reason=reason, measurements=measured)


def test_each_launch_is_a_job_of_its_own_that_only_times() -> None:
    machine = Machine()
    found = floor.measure(machine, pairs=3, protocol=Protocol(launches=2))
    assert [job.launch for job in machine.jobs] == [1, 2, 3, 4, 5, 6]
    assert {job.metrics for job in machine.jobs} == {("latency",)}
    assert (found.launches, found.pairs) == (2, 3)
    assert found.wall_over_cpu == pytest.approx(2)
    assert 0 < found.cpu < 0.05
    assert found.cpu == pytest.approx(found.wall)


def test_a_launch_that_fails_is_named() -> None:
    with pytest.raises(floor.FloorError, match="ended as crashed: told so"):
        floor.measure(Machine(Outcome.CRASHED), pairs=1)


def test_the_cell_of_the_floor_is_one_that_any_machine_can_run() -> None:
    assert (floor.CELL.device, floor.CELL.threads, floor.CELL.model) == ("cpu", 1, "transformer")
    assert replace(floor.CELL, seq_len=1).tokens == 1
