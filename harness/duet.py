"""A duet: two trees measured on this machine in turns, so that drift and neighbours meet both.

Each cell is measured once in full (memory, proof, counts) on either side; then its processes, one
of each tree, sit together and are timed in turns, several times over. The launch stays the unit.
A few cells are timed with the base on both sides: what the gate finds there, it finds in identical
code.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from harness import launches
from harness.schema import Cell, Environment, Job, Outcome, Result

Answer = tuple[Result, Environment | None]
# Launches that one pair of servers forks. How they started is luck as well, though little: of 20
# cells of identical code, means over 5 sittings scattered by 1.40 % where the sittings alone make
# 1.34 %, and the suite as a whole by up to 0.8 % from one pair of servers to the next.
GENERATION = 5
TIMED = "latency"  # the metric that needs many processes
CONTROLS = 4  # cells that are timed with the base on both sides
RETRIED = "retried_launches"  # fact of a cell: launches that failed once and not again


class Sides(Protocol):
    """Who measures: two trees, or fakes in a test."""

    def alone(self, side: int, job: Job) -> Answer:
        """Measure one job with the base (0) or the candidate (1)."""
        ...

    def together(self, sides: Sequence[int], job: Job, name: str) -> list[Answer]:
        """Time one job with each of these sides in turns, as a sitting of this name.

        The base twice, `(0, 0)`, is two processes of two servers.
        """
        ...

    def renew(self) -> None:
        """Start servers anew, so that the luck of their start is drawn again."""
        ...


class Sink(Protocol):
    """Where results of one side go: `store.Writer`, or a list in a test."""

    def environment(self, environment: Environment) -> None:
        """Keep an environment, once."""
        ...

    def end(self, result: Result) -> None:
        """Keep a result."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The results of both sides, and those of the base against itself."""

    base: tuple[Result, ...]
    candidate: tuple[Result, ...]
    controls: tuple[tuple[Result, Result], ...] = ()


def measure(
    jobs: Sequence[Job],
    sides: Sides,
    sinks: tuple[Sink, Sink],
    *,
    first: bool = True,
    controls: int = CONTROLS,
    say: Callable[[str], None] = lambda _: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Measured:
    """Measure jobs on both sides.

    Args:
        jobs: of the cells; their protocol says how many launches a side.
        sides: who measures.
        sinks: take the results of the base and of the candidate.
        first: measure in full before timing; else only time, as what is measured again.
        controls: cells of which the base is timed against itself.
        say: hears how far it is.
        now: the clock for time stamps.
    """
    chance = random.Random(f"{jobs[0].protocol.order_seed} {len(jobs)}" if jobs else "")
    book = _Book(sides, sinks, now().isoformat(timespec="milliseconds"))
    if first:
        for number, job in enumerate(chance.sample(jobs, len(jobs)), start=1):
            say(f"[{number}/{len(jobs)}] {job.cell.id}: memory, proof, counts")
            for side in chance.sample((0, 1), 2):
                book.take(side, [sides.alone(side, replace(job, launch=0))])
    timed = [job for job in jobs if TIMED in job.metrics]
    rounds = timed[0].protocol.launches if timed else 0
    chosen = {job.cell.id for job in _spread(timed, controls)}
    for number in range(1, rounds + 1):
        due = [job for job in timed if not book.failed(job.cell)]
        say(f"launch {number} of {rounds}: {len(due)} cells in turns")
        if (number - 1) % GENERATION == 0:
            sides.renew()
        for job in chance.sample(due, len(due)):
            once = replace(job, launch=number)
            book.sit(once, f"{number}-{job.cell.id}", chance)
            if job.cell.id in chosen:
                book.control(once, f"control-{number}-{job.cell.id}")
    return book.close([job.cell for job in jobs])


class _Book:
    """Keeps what every launch tells."""

    def __init__(self, sides: Sides, sinks: tuple[Sink, Sink], stamp: str) -> None:
        self._sides, self._sinks, self._stamp = sides, sinks, stamp
        self._results: tuple[dict[str, Result], dict[str, Result]] = ({}, {})
        self._controls: dict[str, list[Result]] = {}

    def take(self, side: int, answers: Iterable[Answer]) -> None:
        """Add the answers of one side."""
        known = self._results[side]
        for result, environment in answers:
            if environment is not None:
                self._sinks[side].environment(environment)
            before = known.get(result.cell.id)
            known[result.cell.id] = (
                replace(result, started_at=self._stamp)
                if before is None
                else launches.merge(before, result)
            )

    def failed(self, cell: Cell) -> bool:
        """Say whether a side has failed already: then there is no time to compare."""
        found = (known.get(cell.id) for known in self._results)
        return any(r is not None and r.outcome is not Outcome.OK for r in found)

    def sit(self, job: Job, name: str, chance: random.Random) -> None:
        """Time a job on both sides in turns; if a process fails, once more."""
        order = chance.sample((0, 1), 2)
        answers = self._sides.together(order, job, name)
        if _any_failed(answers):
            answers = self._sides.together(order, job, f"{name}-again")
            if not _any_failed(answers):
                answers = [(_retried(result), where) for result, where in answers]
        for side, answer in zip(order, answers, strict=True):
            self.take(side, [answer])

    def control(self, job: Job, name: str) -> None:
        """Time the base against itself."""
        answers = self._sides.together((0, 0), job, name)
        if _any_failed(answers):
            return
        fresh = [result for result, _ in answers]
        known = self._controls.get(job.cell.id)
        if known is not None:
            fresh = [launches.merge(a, b) for a, b in zip(known, fresh, strict=True)]
        self._controls[job.cell.id] = fresh

    def close(self, cells: Sequence[Cell]) -> Measured:
        """Store and return everything."""
        found: list[tuple[Result, ...]] = []
        for known, sink in zip(self._results, self._sinks, strict=True):
            results = tuple(known[cell.id] for cell in cells if cell.id in known)
            for result in results:
                sink.end(result)
            found.append(results)
        controls = tuple((a, b) for a, b in self._controls.values())
        return Measured(base=found[0], candidate=found[1], controls=controls)


def _spread(jobs: Sequence[Job], count: int) -> list[Job]:
    """Return so many jobs from all over the suite."""
    step = max(1, len(jobs) // count) if count else 0
    return list(jobs[::step][:count]) if step else []


def _any_failed(answers: Sequence[Answer]) -> bool:
    return any(result.outcome is not Outcome.OK for result, _ in answers)


def _retried(result: Result) -> Result:
    facts: dict[str, Any] = {**result.facts, RETRIED: [1]}
    return replace(result, facts=facts)
