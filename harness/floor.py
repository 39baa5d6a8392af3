"""The A/A floor: by how much two measurements of the same thing differ on this machine, now.

A cell is timed by many processes in turn, as a run would. Each two neighbours are a pair; which of
a pair belongs to A and which to B is chance, so that every assignment is a fair draw of "the same
measured twice". The floor is what 95 % of the draws stay below. A difference that is not well above
it tells of the machine, not of the code.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness import stats
from harness.schema import Cell, Job, Outcome, Protocol, Result

DRAWS = 1000
QUANTILE = 0.95
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
PROTOCOL = Protocol(launches=8)


class FloorError(RuntimeError):
    """The cell could not be measured; the message says how it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Relative differences between two equal measurements, by clock."""

    cpu: float  # of process CPU time: 0.02 means that 95 % of the pairs differ by at most 2 %
    wall: float
    median_ns: float  # process CPU time of a step
    wall_over_cpu: float  # above 1.15 others had the processor
    launches: int  # that make one measurement
    pairs: int  # of launches


def measure(
    execute: Callable[[Job], Result],
    *,
    cell: Cell = CELL,
    protocol: Protocol = PROTOCOL,
    pairs: int = 12,
    seed: int = 0,
) -> Floor:
    """Time a cell `2 * pairs` times, each by a process of its own, and return the floor.

    Args:
        execute: measures one job.
        cell: what is timed.
        protocol: as a run would have; its launches make one measurement.
        pairs: of neighbouring launches.
        seed: of the assignments.

    Raises:
        FloorError: a launch did not end well.
    """
    job = Job(cell=cell, metrics=("latency",), protocol=protocol, launch=1)
    results = [_launch(execute, replace(job, launch=1 + i)) for i in range(2 * pairs)]
    cpu, wall = ([_samples(r, name) for r in results] for name in ("latency", "latency_wall"))
    total = [sum(map(sum, samples)) for samples in (wall, cpu)]
    return Floor(
        cpu=floor(cpu, protocol.launches, seed=seed),
        wall=floor(wall, protocol.launches, seed=seed),
        median_ns=stats.median([x for samples in cpu for x in samples]),
        wall_over_cpu=total[0] / total[1],
        launches=protocol.launches,
        pairs=pairs,
    )


def floor(launches: Sequence[Sequence[float]], size: int, *, seed: int = 0) -> float:
    """Return the 95 % quantile of |A / B - 1| over random assignments of neighbouring launches.

    Args:
        launches: samples by launch, in order of time; an even number of launches.
        size: launches on each side of a draw; at most half of all.
        seed: of the draws.
    """
    pairs = list(zip(launches[::2], launches[1::2], strict=True))
    size = min(size, len(pairs))
    chance = random.Random(seed)
    differences: list[float] = []
    for _ in range(DRAWS):
        sides = [chance.sample(pair, 2) for pair in chance.sample(pairs, size)]
        a, b = (stats.median([x for side in sides for x in side[i]]) for i in (0, 1))
        differences.append(max(a, b) / min(a, b) - 1)
    return stats.quantile(differences, QUANTILE)


def _launch(execute: Callable[[Job], Result], job: Job) -> Result:
    result = execute(job)
    if result.outcome is not Outcome.OK:
        raise FloorError(f"{job.cell.id} ended as {result.outcome}: {result.reason}")
    return result


def _samples(result: Result, metric: str) -> tuple[float, ...]:
    return next(m.samples for m in result.measurements if m.metric == metric)
