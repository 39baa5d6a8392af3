"""Laws of taking cells to results. No process, no file, no clock: fakes with names."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from harness import runner
from harness.schema import Cell, Environment, Job, Outcome, Protocol, Result

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MACHINE = Environment(fields={"torch": "2.13.0"})


def job(seq_len: int, contender: str = "a", phase: str = "forward") -> Job:
    cell = Cell(
        contender=contender, model="transformer", attention="full", impl="sdpa", phase=phase,
        seq_len=seq_len, batch=1, d_model=8, heads=2, d_ff=16, layers=1, vocab=256, causal=True,
        dtype="float32", device="cpu", threads=1, data="stdlib", seed=0,
    )  # fmt: skip
    return Job(cell=cell, metrics=("latency",), protocol=Protocol())


@dataclass
class Ledger:
    """A sink and a watcher that remember."""

    log: list[tuple] = field(default_factory=list)

    def environment(self, environment: Environment) -> None:
        self.log.append(("environment", environment.id))

    def start(self, cell: Cell, attempt: int) -> None:
        self.log.append(("start", cell.seq_len, attempt))

    def end(self, result: Result) -> None:
        self.log.append(("end", result.cell.seq_len, result.outcome))

    def abandon(self, cell: Cell, reason: str) -> None:
        self.log.append(("abandon", cell.seq_len, reason))

    def started(self, cell: Cell) -> None:
        self.log.append(("watch", cell.seq_len))

    def stage(self, name: str) -> None:
        self.log.append(("stage", name))

    def ended(self, result: Result) -> None:
        self.log.append(("watched", result.cell.seq_len))

    def launch(self, number: int, of: int, cells: int) -> None:
        self.log.append(("launch", number, of, cells))


@dataclass
class Executor:
    """Ends cells as told; everything else is ok."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    def __call__(self, job: Job, on_stage: Callable) -> tuple[Result, Environment | None]:
        on_stage("latency")
        self.asked.append(job.cell.seq_len)
        outcome = self.outcomes.get(job.cell.seq_len, Outcome.OK)
        reason = None if outcome is Outcome.OK else "told so"
        return Result(cell=job.cell, outcome=outcome, reason=reason), MACHINE


def run(jobs: list[Job], execute: Callable, ledger: Ledger | None = None, known: tuple = ()):
    ledger = ledger or Ledger()
    return runner.run(jobs, execute, ledger, ledger, known=known, now=lambda: NOW)


def outcomes(results: tuple[Result, ...]) -> list[str]:
    return [str(result.outcome) for result in results]


def test_each_cell_is_started_measured_and_kept_before_the_next() -> None:
    ledger = Ledger()
    run([job(8), job(16)], Executor(), ledger)
    each = [
        [("start", n, 1), ("watch", n), ("stage", "latency"), ("environment", MACHINE.id),
         ("end", n, Outcome.OK), ("watched", n)]
        for n in (8, 16)
    ]  # fmt: skip
    assert ledger.log == each[0] + each[1]


@pytest.mark.parametrize("failure", [Outcome.OUT_OF_MEMORY, Outcome.TIMEOUT])
def test_after_a_failure_one_longer_cell_is_probed_and_the_rest_is_implied(
    failure: Outcome,
) -> None:
    execute = Executor(dict.fromkeys((16, 32, 64, 128), failure))
    results = run([job(n) for n in (8, 16, 32, 64, 128)], execute)
    assert execute.asked == [8, 16, 32]
    assert outcomes(results) == ["ok", failure, failure, "implied", "implied"]
    assert "32 tokens" in (results[-1].reason or "")


def test_a_probe_that_succeeds_lifts_the_ceiling() -> None:
    execute = Executor(dict.fromkeys((16, 64, 128), Outcome.OUT_OF_MEMORY))
    results = run([job(n) for n in (16, 32, 64, 128, 256)], execute)
    assert execute.asked == [16, 32, 64, 128]
    assert outcomes(results)[-1] == "implied"


@pytest.mark.parametrize("failure", [Outcome.WRONG, Outcome.CRASHED, Outcome.ERROR])
def test_other_failures_imply_nothing(failure: Outcome) -> None:
    execute = Executor(dict.fromkeys((8, 16, 32), failure))
    run([job(n) for n in (8, 16, 32, 64)], execute)
    assert execute.asked == [8, 16, 32, 64]


def test_a_ceiling_holds_for_its_own_contender_and_phase_only() -> None:
    execute = Executor(dict.fromkeys((8, 16, 32), Outcome.OUT_OF_MEMORY))
    jobs = [job(n, c, p) for n in (8, 16, 32) for c, p in (("a", "forward"), ("b", "train_step"))]
    assert outcomes(run(jobs, execute)).count("implied") == 2
    assert execute.asked == [8, 8, 16, 16]


def test_shorter_cells_are_measured_whatever_longer_ones_did() -> None:
    execute = Executor(dict.fromkeys((64, 128), Outcome.OUT_OF_MEMORY))
    run([job(n) for n in (64, 128, 8, 16)], execute)
    assert execute.asked == [64, 128, 8, 16]


def test_earlier_attempts_count_and_imply() -> None:
    earlier = ((8, Outcome.OUT_OF_MEMORY, 2), (16, Outcome.OUT_OF_MEMORY, 2))
    known = tuple(
        Result(cell=job(n).cell, outcome=outcome, reason="x", attempt=attempt)
        for n, outcome, attempt in (*earlier, (4, Outcome.CRASHED, 3))
    )
    ledger = Ledger()
    results = run([job(4), job(32)], Executor(), ledger, known)
    assert ledger.log[0] == ("start", 4, 4)
    assert outcomes(results) == ["ok", "implied"]


def test_an_interrupt_abandons_the_cell_and_keeps_what_is_finished() -> None:
    def execute(job: Job, on_stage: Callable) -> tuple[Result, None]:
        if job.cell.seq_len == 16:
            raise KeyboardInterrupt
        return Result(cell=job.cell, outcome=Outcome.OK), None

    ledger = Ledger()
    with pytest.raises(KeyboardInterrupt):
        run([job(8), job(16), job(32)], execute, ledger)
    assert ledger.log[-1] == ("abandon", 16, "interrupted")
    assert ("end", 8, Outcome.OK) in ledger.log


def test_results_carry_when_they_were_started() -> None:
    (result,) = run([job(8)], Executor())
    assert result.started_at == "2026-01-02T03:04:05.000+00:00"
