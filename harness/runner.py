"""Takes planned cells to results: in order, one at a time, nothing measured is ever lost."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from harness import launches
from harness.codec import canonical, encode
from harness.schema import Cell, Environment, Job, Outcome, Result

Answer = tuple[Result, Environment | None]
Execute = Callable[[Job, Callable[[str], None]], Answer]
Together = Callable[[Sequence[Job], str, Callable[[str], None]], Sequence[Answer]]
_CEILING = frozenset({Outcome.OUT_OF_MEMORY, Outcome.TIMEOUT})


class Sink(Protocol):
    """Where results go: `store.Writer`, or a list in a test."""

    def environment(self, environment: Environment) -> None:
        """Keep an environment, once."""
        ...

    def start(self, cell: Cell, attempt: int) -> None:
        """Note that a cell is about to be measured."""
        ...

    def end(self, result: Result) -> None:
        """Keep a result, for good, before returning."""
        ...

    def abandon(self, cell: Cell, reason: str) -> None:
        """Note that a started cell will not get a result."""
        ...


class Watcher(Protocol):
    """Who wants to know how far the run is: `progress.Progress`, or nobody in a test."""

    def started(self, cell: Cell) -> None:
        """Report that a cell is at work."""
        ...

    def stage(self, name: str) -> None:
        """Report that the cell entered a pass."""
        ...

    def ended(self, result: Result) -> None:
        """Report that the cell has a result."""
        ...

    def launch(self, number: int, of: int, cells: int) -> None:
        """Report that cells which have a result are about to be timed by another process each."""
        ...


@dataclass(slots=True)
class Ceiling:
    """Which lengths a line of cells cannot reach, learnt from the shorter ones.

    A line is everything of a cell but its length. After an out-of-memory or a time-out the next
    longer cell is still tried, as a probe that failure is monotonic; if that fails too, the rest
    is implied.
    """

    _failures: dict[str, list[Result]] = field(default_factory=dict[str, list[Result]])

    def learn(self, result: Result) -> None:
        """Take one result into account."""
        failures = self._failures.setdefault(_line(result.cell), [])
        if result.outcome in _CEILING:
            failures.append(result)
        elif result.outcome is Outcome.OK:  # what failed below this length is no ceiling
            failures[:] = [f for f in failures if f.cell.seq_len > result.cell.seq_len]

    def implied(self, cell: Cell) -> Result | None:
        """Return the implied result of a cell that need not be tried, else None."""
        shorter = [
            failure
            for failure in self._failures.get(_line(cell), [])
            if failure.cell.seq_len < cell.seq_len
        ]
        if len({failure.cell.seq_len for failure in shorter}) < 2:
            return None
        last = max(shorter, key=lambda failure: failure.cell.seq_len)
        words = "ran out of memory" if last.outcome is Outcome.OUT_OF_MEMORY else "timed out"
        return Result(
            cell=cell,
            outcome=Outcome.IMPLIED,
            reason=f"{words} at {last.cell.seq_len} tokens already",
        )


def run(
    jobs: Sequence[Job],
    execute: Execute,
    sink: Sink,
    watcher: Watcher,
    *,
    known: Sequence[Result] = (),
    again: Sequence[Job] = (),
    together: Together | None = None,
    baseline: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    name: Callable[[], str] = lambda: secrets.token_hex(4),
) -> tuple[Result, ...]:
    """Measure the jobs in the order given and return their results.

    Cells that several processes shall time are then timed, once a round, each round in a random
    order of its own. Where the protocol says so, contenders of one phase and length sit together
    and are timed in turns: what disturbs the machine for a while meets all of them.

    Args:
        jobs: the cells that have no result yet, in order of execution.
        execute: measures one; whatever happens to the cell, it returns a result.
        sink: takes every result as soon as it is there.
        watcher: hears how far the run is.
        known: results of earlier attempts at this run, which imply longer cells and count attempts.
        again: jobs of the known cells, which may still lack launches.
        together: measures several jobs in turns, as a sitting of a given name, and returns the
            results in their order; None: `execute` measures one after the other.
        baseline: the contender with whom all others shall sit.
        now: the clock for time stamps.
        name: makes a name for a sitting, each time another.

    Raises:
        KeyboardInterrupt: the user stopped; everything finished so far is in the sink.
    """
    ceiling = Ceiling()
    attempts: dict[str, int] = {}
    for result in known:
        ceiling.learn(result)
        attempts[result.cell.id] = result.attempt
    results: dict[str, Result] = {}
    for job in jobs:
        attempt = attempts.get(job.cell.id, 0) + 1
        stamp = now().isoformat(timespec="milliseconds")
        result = ceiling.implied(job.cell)
        if result is None:
            sink.start(job.cell, attempt)
            watcher.started(job.cell)
            result = _execute(job, execute, sink, watcher)
        result = replace(result, attempt=attempt, started_at=stamp)
        sink.end(result)
        watcher.ended(result)
        ceiling.learn(result)
        results[result.cell.id] = result
    planned = {job.cell.id for job in again}
    earlier = {result.cell.id: result for result in known if result.cell.id in planned}
    results = earlier | results
    _repeat([*jobs, *again], results, together or _apart(execute), sink, watcher, name, baseline)
    return tuple(results[job.cell.id] for job in jobs)


def _repeat(
    jobs: Sequence[Job],
    results: dict[str, Result],
    sit: Together,
    sink: Sink,
    watcher: Watcher,
    name: Callable[[], str],
    baseline: str | None,
) -> None:
    """Time cells by further processes, in rounds, until none lacks a launch."""
    most = max((job.protocol.launches for job in jobs), default=0)
    for number in range(1, most + 1):
        left = [job for job in jobs if launches.wanting(results[job.cell.id], job.protocol)]
        if not left:
            return
        companies = launches.companies(left, results, baseline)
        random.Random(f"{left[0].protocol.order_seed} {number}").shuffle(companies)
        done = min(launches.count(results[job.cell.id]) for job in left)
        watcher.launch(done + 1, most, len(left))
        for company in companies:
            watcher.started(company[0].cell)
            asked = [replace(job, launch=number) for job in company]
            for once, environment in _sit(asked, sit, name(), watcher):
                if environment is not None:
                    sink.environment(environment)
                merged = launches.merge(results[once.cell.id], once)
                sink.end(merged)
                results[once.cell.id] = merged


def _apart(execute: Execute) -> Together:
    """Return a way to measure jobs one after the other."""

    def together(jobs: Sequence[Job], _name: str, on_stage: Callable[[str], None]) -> list[Answer]:
        return [execute(job, on_stage) for job in jobs]

    return together


def _sit(jobs: Sequence[Job], sit: Together, name: str, watcher: Watcher) -> Sequence[Answer]:
    """Time a company; who ran out of memory beside the others has one try alone."""
    answers = sit(jobs, name, watcher.stage)
    short = {r.cell.id for r, _ in answers if r.outcome is Outcome.OUT_OF_MEMORY}
    if len(jobs) == 1 or not short:
        return answers
    alone = {job.cell.id: job for job in jobs if job.cell.id in short}
    return [
        sit([alone[r.cell.id]], f"{name}-{r.cell.contender}", watcher.stage)[0]
        if r.cell.id in short
        else (r, environment)
        for r, environment in answers
    ]


def _execute(job: Job, execute: Execute, sink: Sink, watcher: Watcher) -> Result:
    try:
        result, environment = execute(job, watcher.stage)
    except KeyboardInterrupt:
        sink.abandon(job.cell, "interrupted")
        raise
    if environment is not None:
        sink.environment(environment)
    return result


def _line(cell: Cell) -> str:
    fields = encode(cell)
    del fields["seq_len"]
    return canonical(fields)
