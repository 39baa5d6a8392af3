"""Laws of the A/A floor."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from harness import floor
from harness.schema import Job, Measurement, Outcome, Protocol, Result

Pairs = list[list[list[float]]]


def sittings(seed: int, count: int, luck: float, weather: float = 0.0) -> Pairs:
    """Both sides of so many sittings: what they share is weather, what they do not is luck."""
    generator = np.random.default_rng(seed)
    shared = weather * generator.standard_normal((count, 1, 1))
    own = luck * generator.standard_normal((count, 2, 1))
    return np.exp(shared + own + 0.001 * generator.standard_normal((count, 2, 30))).tolist()


def test_equal_launches_have_no_floor() -> None:
    assert floor.floor([[[1.0, 2.0, 3.0]] * 2] * 8, 4) == (0, 1)


def test_a_floor_tells_what_the_sides_do_not_share() -> None:
    """Log-normal luck: 95 % of the ratios of one pair lie within 1.96 sqrt(2) sigma."""
    found, _ = floor.floor(sittings(0, 400, 0.01), 1)
    assert found == pytest.approx(1.96 * 2**0.5 * 0.01, rel=0.15)
    stormy, _ = floor.floor(sittings(0, 400, 0.01, weather=0.5), 1)
    assert stormy == pytest.approx(found, rel=0.2)


def test_more_launches_lower_the_floor() -> None:
    pairs = sittings(1, 60, 0.05)
    found = [floor.floor(pairs, size)[0] for size in (1, 5, 15)]
    assert found[0] > found[1] > found[2]


def test_the_floor_does_not_depend_on_the_unit() -> None:
    pairs = sittings(2, 20, 0.05)
    scaled = [[[8 * x for x in side] for side in pair] for pair in pairs]
    assert floor.floor(scaled, 5) == pytest.approx(floor.floor(pairs, 5))


def test_intervals_hold_1_in_about_95_of_100() -> None:
    assert 0.92 < floor.floor(sittings(3, 200, 0.02), 5)[1] < 0.98


class Machine:
    """Measures in no time; the second side of a sitting is a per cent slower."""

    def __init__(self, outcome: Outcome = Outcome.OK) -> None:
        self.sat: list[tuple[str, Sequence[Job]]] = []
        self.outcome = outcome

    def __call__(self, jobs: Sequence[Job], name: str, on_stage: Callable) -> list:
        self.sat.append((name, jobs))
        return [(self.result(job, 1_000_000 + 10_000 * i), None) for i, job in enumerate(jobs)]

    def result(self, job: Job, step: int) -> Result:
        measured = tuple(
            Measurement(metric=name, unit="ns", better="lower", samples=(factor * step,) * 3)
            for name, factor in (("latency", 1), ("latency_wall", 2))
        )
        reason = None if self.outcome is Outcome.OK else "told so"
        return Result(cell=job.cell, outcome=self.outcome, reason=reason, measurements=measured)


def test_each_sitting_times_one_cell_against_itself() -> None:
    machine = Machine()
    found = floor.measure(machine, sittings=3, protocol=Protocol(launches=2))
    assert [[job.launch for job in jobs] for _, jobs in machine.sat] == [[1] * 2, [2] * 2, [3] * 2]
    assert len({name for name, _ in machine.sat}) == 3
    a, b = machine.sat[0][1]
    assert a.cell.contender != b.cell.contender
    assert replace(a.cell, contender="x") == replace(b.cell, contender="x")
    assert {job.metrics for _, jobs in machine.sat for job in jobs} == {("latency",)}
    assert (found.launches, found.sittings) == (2, 3)
    assert found.wall_over_cpu == pytest.approx(2)
    assert found.cpu == pytest.approx(found.wall) == pytest.approx(0.01)


def test_a_launch_that_fails_is_named() -> None:
    with pytest.raises(floor.FloorError, match="ended as crashed: told so"):
        floor.measure(Machine(Outcome.CRASHED), sittings=1)


def test_the_cell_of_the_floor_is_one_that_any_machine_can_run() -> None:
    assert (floor.CELL.device, floor.CELL.threads, floor.CELL.model) == ("cpu", 1, "transformer")
    assert replace(floor.CELL, seq_len=1).tokens == 1
