"""Takes planned cells to results: in order, one at a time, nothing measured is ever lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from harness.schema import Cell, Environment, Job, Outcome, Result, canonical, encode

Execute = Callable[[Job, Callable[[str], None]], tuple[Result, Environment | None]]
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
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[Result, ...]:
    """Measure the jobs in the order given and return their results.

    Args:
        jobs: the cells that have no result yet, in order of execution.
        execute: measures one; whatever happens to the cell, it returns a result.
        sink: takes every result as soon as it is there.
        watcher: hears how far the run is.
        known: results of earlier attempts at this run, which imply longer cells and count attempts.
        now: the clock for time stamps.

    Raises:
        KeyboardInterrupt: the user stopped; everything finished so far is in the sink.
    """
    ceiling = Ceiling()
    attempts: dict[str, int] = {}
    for result in known:
        ceiling.learn(result)
        attempts[result.cell.id] = result.attempt
    results: list[Result] = []
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
        results.append(result)
    return tuple(results)


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
