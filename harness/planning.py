"""From what the user asked to what will be done: header, jobs in order, cells that are left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from harness import frontier, launches, runner, store, suite
from harness.codec import decode, encode
from harness.schema import Cell, Job, Outcome, Result, RunHeader
from harness.suite import Suite, SuiteError
from models.catalog import Catalog, UnknownNameError

EXECUTORS = Catalog("harness.executors", "EXECUTOR")


class PlanError(ValueError):
    """A request that fits no executor, plugin or stored run; the message says what would."""


class Checker(Protocol):
    """What planning asks of an executor."""

    def devices(self) -> list[str]:
        """Return the devices that cells may name."""
        ...

    def check(self, jobs: Sequence[Job]) -> list[str | None]:
        """Return for each job why it can never be measured, or None."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for."""

    suite: Path
    overrides: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    plugins: tuple[Path, ...] = ()
    command: tuple[str, ...] = ()  # as typed, after `python -m harness`


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done."""

    header: RunHeader
    jobs: tuple[Job, ...]  # without a result yet, in order of execution
    known: tuple[Result, ...] = ()  # of earlier attempts at the same run
    again: tuple[Job, ...] = ()  # have a result that may lack launches
    skipped: tuple[Result, ...] = ()  # left out by the suite, with its reason
    folder: Path | None = None  # of the run that is resumed


def executor(name: str) -> Any:
    """Return a new executor.

    Raises:
        PlanError: there is none of this name.
    """
    try:
        return EXECUTORS.load(name)()
    except UnknownNameError as error:
        raise PlanError(str(error)) from error


def plan(
    request: Request, checker: Checker, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Plan:
    """Plan a new run; nothing is written.

    Raises:
        SuiteError: the suite, or a cell of it, cannot be run as written.
        PlanError: a plugin cannot be used.
    """
    loaded = suite.load(request.suite, request.overrides, _variants(request.plugins))
    device = "cuda" if "cuda" in checker.devices() else "cpu"
    grid = suite.expand(loaded, device)
    chosen = suite.select(grid.cells, request.only, request.skip)
    protocol = suite.protocol(loaded, device)
    searched = suite.search(loaded, device)
    cells = suite.order(chosen.cells, protocol.order_seed)
    training, evaluation = suite.learning(loaded, device)
    moment = now()
    header = RunHeader(
        run_id=store.new_run_id(loaded.name, moment, (moment, request.command)),
        suite=loaded.name,
        suite_text=loaded.text,
        overrides=loaded.overrides,
        question=loaded.question,
        command=request.command,
        created_at=moment.isoformat(timespec="seconds"),
        contenders=loaded.contenders,
        metrics=loaded.metrics,
        protocol=protocol,
        cells=(*cells, *(ruled.cell for ruled in grid.excluded)),
        gate=loaded.gate,
        plugins=tuple(file.stem for file in request.plugins),
        frontier=None if searched is None else encode(searched),
        training=training,
        evaluation=evaluation,
    )
    jobs = _jobs(cells, header, loaded, request.plugins)
    _check(jobs, checker, loaded.source)
    skipped = tuple(
        Result(cell=ruled.cell, outcome=Outcome.SKIPPED, reason=ruled.reason)
        for ruled in grid.excluded
    )
    return Plan(header=header, jobs=jobs, skipped=skipped)


def resume(folder: Path, given: Path | None, plugins: Sequence[Path], checker: Checker) -> Plan:
    """Plan what is left of a stored run, exactly as it was asked for then.

    Args:
        folder: of the run.
        given: the suite file that the user names again; it must not have changed.
        plugins: the files of the variants from outside, which the run knows by name only.
        checker: the executor.

    Raises:
        SuiteError: the stored suite cannot be run any more.
        PlanError: the suite changed, or a plugin is missing.
        StoreError: the run cannot be read.
    """
    run = store.open(folder)
    header = run.header
    if given is not None and suite.read(given) != header.suite_text:
        raise PlanError(f"{given} has changed since {header.run_id} began: start a new run")
    missing = set(header.plugins) - {file.stem for file in plugins}
    if missing:
        raise PlanError(f"{header.run_id} needs --plugin FILE for {', '.join(sorted(missing))}")
    loaded = suite.parse(header.suite_text, f"{folder.name}", header.overrides, _variants(plugins))
    done = store.finished(run)
    left: Sequence[Cell] = [cell for cell in header.cells if cell.id not in done]
    search = frontier.settings(run)
    if search is not None:
        ended = [result for result in run.results if result.cell.id in done]
        left = frontier.next_cells(header.cells, ended, search)
    jobs = _jobs(left, header, loaded, plugins)
    _check(jobs, checker, folder.name)
    short = [r.cell for r in run.results if launches.wanting(r, header.protocol)]
    return Plan(
        header=header,
        jobs=jobs,
        known=run.results,
        again=_jobs(short, header, loaded, plugins),
        folder=folder,
    )


def further(plan: Plan, results: Iterable[Result]) -> tuple[Job, ...]:
    """Return the jobs that follow from the results so far: the next cell of each search."""
    if plan.header.frontier is None:
        return ()
    search = decode(frontier.Search, plan.header.frontier)
    alike = {frontier.line(job.cell): job for job in plan.jobs}
    cells = frontier.next_cells([job.cell for job in plan.jobs], results, search)
    return tuple(replace(alike[frontier.line(cell)], cell=cell) for cell in cells)


def carry_out(plan: Plan, executor: Any, writer: store.Writer, watcher: runner.Watcher) -> None:
    """Measure what is planned, and what then follows from it, until nothing does.

    An executor that knows turns has `together`; everybody shall meet the baseline there.
    """
    jobs, known, again = plan.jobs, (*plan.known, *plan.skipped), plan.again
    while jobs or again:
        jobs = with_artifacts(jobs, writer.folder)
        known += runner.run(
            jobs,
            executor.execute,
            writer,
            watcher,
            known=known,
            again=again,
            together=getattr(executor, "together", None),
            baseline=plan.header.contenders[0].id,
        )
        jobs, again = further(plan, known), ()


def with_artifacts(jobs: Sequence[Job], folder: Path) -> tuple[Job, ...]:
    """Tell each job where its worker may leave files beside its answer."""
    return tuple(
        replace(job, artifacts=str((folder / "artifacts" / job.cell.id).resolve())) for job in jobs
    )


def _variants(plugins: Sequence[Path]) -> Catalog:
    try:
        return suite.VARIANTS.with_files(*plugins)
    except ValueError as error:
        raise PlanError(str(error)) from error


def _jobs(
    cells: Sequence[Cell], header: RunHeader, loaded: Suite, plugins: Sequence[Path]
) -> tuple[Job, ...]:
    files = tuple(str(file.resolve()) for file in plugins)
    return tuple(
        Job(
            cell=cell,
            metrics=header.metrics,
            protocol=header.protocol,
            data_path=loaded.data_path,
            plugins=files,
            training=header.training if cell.task is not None else None,
            evaluation=header.evaluation if cell.task is not None else None,
            audit="--audit" in header.command,  # a resumed run audits as it began
        )
        for cell in cells
    )


def _check(jobs: Sequence[Job], checker: Checker, source: str) -> None:
    found = zip(jobs, checker.check(jobs), strict=True)
    problems = [f"{source}: {job.cell.contender}: {why}" for job, why in found if why is not None]
    if problems:
        raise SuiteError(*dict.fromkeys(problems))
