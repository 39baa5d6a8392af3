"""Laws of history: steps are found where they are, creep is seen from the anchor, noise is not."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from harness import history
from harness.history import Point
from harness.schema import Cell, Run
from tests.harness.launched import timed


def points(logs: list[float]) -> list[Point]:
    """A series of so many runs."""
    return [
        Point(run=f"r{i:03}", created_at=f"2026-01-01T00:{i:02}", revision=None, value=math.exp(x))
        for i, x in enumerate(logs)
    ]


def noise(seed: int, count: int = 60) -> np.ndarray:
    """Levels of runs of identical code: 1.5 % each, and a machine that wanders a little."""
    chance = np.random.default_rng(seed)
    return chance.normal(16, 0.015, count)


def test_identical_code_has_no_history() -> None:
    found = [points(noise(seed).tolist()) for seed in range(25)]
    assert sum(bool(history.steps(p)) for p in found) == 0
    assert sum(history.drift(p) is not None for p in found) == 0


@pytest.mark.parametrize("share", [0.10, -0.10, 0.20])
def test_a_step_is_found_at_its_run(share: float) -> None:
    hits = 0
    for seed in range(20):
        logs = noise(seed)
        logs[30:] += math.log1p(share)
        found = history.steps(points(logs.tolist()))
        near = [s for s in found if abs(int(s.at.run[1:]) - 30) <= 1]
        hits += len(found) == 1 and len(near) == 1
    assert hits >= 18


def test_a_creep_of_steps_too_small_to_see_is_seen_from_the_anchor() -> None:
    logs = noise(2) + np.linspace(0, 0.12, 60)
    found = history.drift(points(logs.tolist()))
    assert found == pytest.approx(1.11, abs=0.03)
    late = history.drift(points(logs.tolist()), anchor="r050")
    assert late is None


def test_a_series_that_is_too_short_says_nothing() -> None:
    short = points([1.0] * 4 + [2.0] * 5)
    assert history.steps(short) == []
    assert history.drift(short) is None


def test_a_run_that_was_slow_as_a_whole_moves_the_suite_and_no_cell(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    cells = [make_cell(f"c{i}", 256 + i) for i in range(9)]
    runs: list[Run] = []
    for i in range(12):
        slow = 1.3 if i >= 6 else 1.0
        own = 1.5 if i >= 6 else 1.0
        results = [timed(c, seed=i, ratio=slow * (own if c is cells[0] else 1)) for c in cells]
        run = make_run(results, run_id=f"r{i:02}")
        runs.append(replace(run, header=replace(run.header, created_at=f"2026-01-{i + 1:02}")))
    found = {s.cell: s for s in history.series(runs)}
    assert len(found) == 10
    (step,) = found[cells[0].id].steps
    assert (step.at.run, step.ratio) == ("r06", pytest.approx(1.5, rel=0.05))
    assert all(not found[c.id].steps for c in cells[1:])
    (whole,) = found[history.SUITE].steps
    assert whole.ratio == pytest.approx(1.3, rel=0.05)
    assert found[history.SUITE].is_slower


def test_other_conditions_make_other_series(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    results = [timed(make_cell("c0"), seed=1)]
    runs = [make_run(results), make_run(results, fields={"cpu": "Another CPU"})]
    assert len(history.series(runs)) == 2
