"""The null experiment: the same cell measured twice, and how far the two headline figures differ.

    python -m pytest tests/benchmarks/test_null_experiment.py --benchmark-enable -s

`extra_info` holds the floors in per cent: 95 % of the ratios of equal measurements differ from 1 by
less. With one launch it is what every harness does that times one process a contender, though in
turns; `covered_percent` says how many of the 95 % intervals of the ratio hold 1.
"""

from contextlib import closing
from dataclasses import replace

import pytest

from harness import floor
from harness.executors.local import Local

CELLS = {
    "1 ms": replace(floor.CELL, seq_len=128),
    "5 ms": floor.CELL,
    "80 ms": replace(floor.CELL, seq_len=1024, d_model=128, d_ff=512, phase="train_step"),
}
QUICK = replace(floor.PROTOCOL, launches=1, min_samples=1, max_samples=1, min_time_s=0.0)


@pytest.mark.benchmark(group="null experiment")
@pytest.mark.parametrize("launches", [1, floor.PROTOCOL.launches])
@pytest.mark.parametrize("cell", CELLS)
def test_equal_measurements_differ_by_the_floor(benchmark, cell: str, launches: int) -> None:
    enabled = benchmark.enabled
    found = []

    with closing(Local()) as executor:

        def experiment() -> None:
            found.append(
                floor.measure(
                    executor.together,
                    cell=CELLS[cell],
                    # One launch takes as long as each of several does.
                    protocol=replace(
                        floor.PROTOCOL,
                        launches=launches,
                        min_time_s=floor.PROTOCOL.min_time_s * launches / floor.PROTOCOL.launches,
                    )
                    if enabled
                    else QUICK,
                    sittings=24 if enabled else 1,
                )
            )

        benchmark.pedantic(experiment, rounds=1)
    (result,) = found
    assert result.cpu >= 0
    benchmark.extra_info |= {
        "cpu_percent": round(100 * result.cpu, 2),
        "wall_percent": round(100 * result.wall, 2),
        "covered_percent": round(100 * result.covered, 1),
        "wall_over_cpu": round(result.wall_over_cpu, 3),
        "launches": result.launches,
    }
