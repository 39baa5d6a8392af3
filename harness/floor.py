"""The A/A floor: by how much two measurements of the same thing differ on this machine, now.

Two contenders that are the same cell are timed at sittings, as a run would time them, and related
as a report would relate them (`replicates.ratio`). Which of a pair is A and which is B is chance,
so that every assignment is a fair draw of "the same measured twice". The floor is what 95 % of the
draws stay below. A difference that is not well above it tells of the machine, not of the code.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness import replicates, stats
from harness.schema import Cell, Environment, Job, Outcome, Protocol, Result

DRAWS = 1000
QUANTILE = 0.95
Together = Callable[
    [Sequence[Job], str, Callable[[str], None]], Sequence[tuple[Result, Environment | None]]
]
# Small, so that it takes seconds, and with a step of some milliseconds, so that it is no toy.
CELL = Cell(
    contender="floor",
    model="transformer",
    attention="full",
    impl="sdpa",
    phase="forward",
    seq_len=512,
    batch=1,
    d_model=64,
    heads=4,
    d_ff=256,
    layers=2,
    vocab=256,
    causal=True,
    dtype="float32",
    device="cpu",
    threads=1,
    data="stdlib",
    seed=0,
)
PROTOCOL = Protocol(launches=5, pairing="chunked", min_time_s=2.0)  # a suite's defaults on a CPU


class FloorError(RuntimeError):
    """The cell could not be measured; the message says how it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Relative differences between two equal measurements, by clock."""

    cpu: float  # of process CPU time: 0.02 means that 95 % of the ratios are within 2 % of 1
    wall: float
    covered: float  # share of the 95 % intervals of CPU time's ratio that hold 1
    median_ns: float  # process CPU time of a step
    wall_over_cpu: float  # above 1.15 others had the processor
    launches: int  # on either side of a ratio
    sittings: int  # that were measured


def measure(
    together: Together,
    *,
    cell: Cell = CELL,
    protocol: Protocol = PROTOCOL,
    sittings: int = 12,
    seed: int = 0,
) -> Floor:
    """Time a cell against itself at so many sittings and return the floor.

    Args:
        together: measures jobs in turns, as `Local.together` does.
        cell: what is timed.
        protocol: as a run would have; its launches make one measurement.
        sittings: at least one; with fewer than `protocol.launches` the floor is that of so few.
        seed: of the assignments.

    Raises:
        FloorError: a launch did not end well.
    """
    results = [_sit(together, cell, protocol, i) for i in range(sittings)]
    cpu, wall = (
        [tuple(_samples(side, name) for side in pair) for pair in results]
        for name in ("latency", "latency_wall")
    )
    total = [sum(sum(side) for pair in pairs for side in pair) for pairs in (wall, cpu)]
    differences, covered = floor(cpu, protocol.launches, seed=seed)
    return Floor(
        cpu=differences,
        wall=floor(wall, protocol.launches, seed=seed)[0],
        covered=covered,
        median_ns=stats.median([x for pair in cpu for side in pair for x in side]),
        wall_over_cpu=total[0] / total[1],
        launches=min(protocol.launches, sittings),
        sittings=sittings,
    )


def floor(
    pairs: Sequence[Sequence[Sequence[float]]], size: int, *, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % quantile of |A / B - 1| and the share of intervals that hold 1.

    Over random choices of `size` sittings and of who is A in each.

    Args:
        pairs: samples of both sides, by sitting.
        size: sittings in one ratio; at most all.
        seed: of the choices.
    """
    chance = random.Random(seed)
    gaps = [after - before for before, after in map(replicates.levels, pairs)]
    differences: list[float] = []
    covered = told = 0
    for _ in range(DRAWS):
        logs = [gap * chance.choice((-1, 1)) for gap in chance.sample(gaps, min(size, len(gaps)))]
        found = replicates.mean(logs)  # as `replicates.ratio` has it
        if found is not None:
            lo, hi = found.interval()
            told += 1
            covered += lo <= 1 <= hi
        differences.append(math.exp(abs(math.fsum(logs) / len(logs))) - 1)
    return stats.quantile(differences, QUANTILE), covered / told if told else 1.0


def _sit(together: Together, cell: Cell, protocol: Protocol, number: int) -> list[Result]:
    """Time the cell against itself."""
    jobs = [
        Job(
            cell=replace(cell, contender=f"{cell.contender}-{side}"),
            metrics=("latency",),
            protocol=protocol,
            launch=1 + number,
        )
        for side in "ab"
    ]
    results = [result for result, _ in together(jobs, f"floor-{number}", lambda _: None)]
    for result in results:
        if result.outcome is not Outcome.OK:
            raise FloorError(f"{result.cell.id} ended as {result.outcome}: {result.reason}")
    return results


def _samples(result: Result, metric: str) -> tuple[float, ...]:
    return next(m.samples for m in result.measurements if m.metric == metric)
