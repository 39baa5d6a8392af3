"""The command line: parse, call, print, exit code. Only this module prints and exits."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from harness import (
    checking,
    compare,
    doctor,
    export,
    gatehouse,
    imports,
    planning,
    profiling,
    progress,
    report,
    store,
    suite,
    template,
)
from harness.arguments import LISTINGS, parse
from harness.baseline import BaselineError
from harness.executors.local import Local, WorkerError
from harness.imports import ImportFileError
from harness.planning import PlanError, Request
from harness.schema import FAULTS, PHASES
from harness.store import StoreError
from harness.suite import SuiteError
from harness.trees import TreeError
from models.catalog import UnknownNameError, unknown

EXIT_OK = 0
EXIT_FAULT = 1  # a cell was wrong, crashed or in error
EXIT_USAGE = 2  # bad usage, bad input, or a fault of ours: never taken for a verdict
EXIT_INCOMPARABLE = 4  # nothing could be compared
EXIT_INTERRUPTED = 130

SUITES = Path("suites")
PIPE_WIDTH = 110  # characters
# What a bad command, file or name raises: one message, no traceback.
BAD_INPUT = (
    *(SuiteError, StoreError, PlanError, WorkerError, UnknownNameError),
    *(ImportFileError, BaselineError, TreeError),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    typed = tuple(sys.argv[1:] if arguments is None else arguments)
    args = parse(typed)
    args.typed = typed
    try:
        return COMMANDS[args.verb](args, _console())
    except BAD_INPUT as error:
        for problem in getattr(error, "problems", (str(error),)):
            print(f"error: {problem}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except Exception:  # noqa: BLE001 - the last resort: a fault of ours is not a regression
        Console(stderr=True).print_exception()
        return EXIT_USAGE


def run(args: argparse.Namespace, out: Console) -> int:
    """Measure a suite, or what is left of a run."""
    with closing(planning.executor(args.executor)) as executor:
        if args.resume:
            folder = store.resolve(args.resume, args.out)
            plan = planning.resume(folder, args.suite, args.plugin, executor)
        else:
            plan = planning.plan(_request(args), executor)
        if args.dry_run:
            out.print(report.plan([job.cell for job in plan.jobs]))
            return EXIT_OK
        folder = _carry_out(plan, executor, args.out, out)
    if folder is None:
        return EXIT_INTERRUPTED
    done = store.open(folder)
    for table in report.tables(done):
        out.print(table)
    out.print(report.answer(done))
    out.print(str(folder), soft_wrap=True)
    return EXIT_FAULT if any(r.outcome in FAULTS for r in done.results) else EXIT_OK


def profile(args: argparse.Namespace, out: Console) -> int:
    """Measure one cell with every instrument and tell where its time goes."""
    with closing(planning.executor(args.executor)) as executor:
        instruments = [name for name, _ in suite.metric_summaries()]
        plan = profiling.one_cell(planning.plan(_request(args), executor), instruments)
        folder = _carry_out(plan, executor, args.out, out)
    if folder is None:
        return EXIT_INTERRUPTED
    done = store.open(folder)
    (result,) = done.results
    out.print(report.profile(done, result, store.artifacts(folder, result.cell.id)))
    out.print(str(folder), soft_wrap=True)
    return EXIT_FAULT if result.outcome in FAULTS else EXIT_OK


def list_(args: argparse.Namespace, out: Console) -> int:
    """Print what there is, one line each."""
    variants = suite.VARIANTS
    listings: dict[str, Callable[[], Iterable[Sequence[str]]]] = {
        "variants": lambda: [(name, variants.summary(name)) for name in variants.names()],
        "metrics": suite.metric_summaries,
        "tasks": suite.task_summaries,
        "suites": lambda: suite.summaries(SUITES),
        "runs": lambda: report.run_lines(store.runs(args.out)),
        "phases": lambda: [(phase,) for phase in PHASES],
    }
    if args.what not in LISTINGS:
        raise PlanError(unknown("listing", args.what, list(LISTINGS)))
    out.print(report.listing(listings[args.what]()))
    return EXIT_OK


def show(args: argparse.Namespace, out: Console) -> int:
    """Print a run or one of its cells in full."""
    run = store.open(args.run, args.out)
    if args.cell is None:
        out.print(report.run(run))
    else:
        out.print(report.cell(run, store.find(run, args.cell)))
    return EXIT_OK


def compare_(args: argparse.Namespace, out: Console) -> int:
    """Print the ratios of two runs, cell by cell, environment differences first."""
    found = compare.compare_runs(store.open(args.base, args.out), store.open(args.run, args.out))
    out.print(report.comparison(found))
    return EXIT_OK if found.comparable else EXIT_INCOMPARABLE


def gate_(args: argparse.Namespace, out: Console) -> int:
    """Judge a change, or find when cells became slower."""
    if args.history is not None:
        found = gatehouse.past(args.history, args.anchor)
        out.print(report.history(found.series, found.runs))
        return found.exit_code
    verdict = gatehouse.verdict(args, lambda text: out.print(text, soft_wrap=True))
    out.print(report.gate(verdict, every=args.every))
    gatehouse.write(verdict, args)
    return gatehouse.exit_code(verdict, args.on_inconclusive)


def baseline_(args: argparse.Namespace, out: Console) -> int:
    """Write an accepted run as a file to gate against."""
    old = gatehouse.update(store.open(args.run, args.out), args.to, args.accept)
    out.print(f"{args.to}: {'first' if old is None else old.sentence}", soft_wrap=True)
    return EXIT_OK


def export_(args: argparse.Namespace, out: Console) -> int:
    """Write a run in another format, to a file or to standard output."""
    if args.to == "html":  # drawn by the storey above, by name: the harness never imports it
        target = [] if args.output is None else ["--output", args.output]
        return _upstairs("dashboard.bundle", args.run, "--root", args.out, *target)
    text = export.export(store.open(args.run, args.out), args.to)
    if args.output is None:
        out.file.write(text)
    else:
        args.output.write_text(text, encoding="utf-8")
    return EXIT_OK


def import_(args: argparse.Namespace, out: Console) -> int:
    """Store benchmarks of pytest-benchmark as a run."""
    run = imports.read(args.file)
    with store.Writer.create(args.out, run.header) as writer:
        for environment in run.environments.values():
            writer.environment(environment)
        for result in run.results:
            writer.end(result)
        writer.finish("finished")
    out.print(str(writer.folder), soft_wrap=True)
    return EXIT_OK


def doctor_(args: argparse.Namespace, out: Console) -> int:
    """Print what of this machine makes numbers noisy, with advice and the A/A floor."""
    with closing(Local()) as executor:
        found = doctor.examine(executor, pairs=args.pairs)
    if args.json:
        out.file.write(found.json)
    else:
        out.print(report.examination(found.findings))
    return EXIT_OK


def check(args: argparse.Namespace, out: Console) -> int:
    """Try the laws on a variant's file and print what is found."""
    if not args.file.is_file():
        raise PlanError(f"{args.file}: no such file")
    findings: list[checking.Finding] = []
    for finding in checking.check(args.file):
        findings.append(finding)
        if args.verbose or finding.outcome != checking.HOLDS:
            out.print(report.finding(finding), soft_wrap=True)
    out.print(report.verdict_of_laws(findings), soft_wrap=True)
    return EXIT_FAULT if any(f.outcome in checking.FAULTY for f in findings) else EXIT_OK


def new_variant(args: argparse.Namespace, out: Console) -> int:
    """Print the file that an own variant begins with."""
    try:
        text = template.variant(args.name)
    except ValueError as error:
        raise PlanError(str(error)) from error
    out.file.write(text)
    return EXIT_OK


def dashboard(args: argparse.Namespace, _out: Console) -> int:
    """Serve the dashboard on this machine until Ctrl-C."""
    return _upstairs("dashboard", "--root", args.out, "--port", args.port, *args.runs)


def _upstairs(module: str, *words: object) -> int:
    """Run a program of the dashboard in a process of its own and return its exit code."""
    return subprocess.call([sys.executable, "-m", module, *map(str, words)])


COMMANDS = {
    "check": check,
    "new-variant": new_variant,
    "run": run,
    "profile": profile,
    "list": list_,
    "show": show,
    "compare": compare_,
    "gate": gate_,
    "baseline": baseline_,
    "export": export_,
    "dashboard": dashboard,
    "doctor": doctor_,
    "import": import_,
}


def _console() -> Console:
    """Return standard output; into a file or a pipe as wide as the tables like it."""
    is_told = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if is_told else PIPE_WIDTH, highlight=False)


def _request(args: argparse.Namespace) -> Request:
    if args.suite is None:
        raise PlanError("name a suite, such as suites/long_seq.yaml, or --resume a run")
    return Request(
        suite=args.suite,
        overrides=tuple(args.set),
        only=tuple(args.only),
        skip=tuple(args.skip),
        plugins=tuple(args.plugin),
        command=args.typed,
    )


def _carry_out(plan: planning.Plan, executor: Any, root: Path, out: Console) -> Path | None:
    """Measure and store what is planned; return the run's folder, or None if the user stopped."""
    with _writer(plan, root) as writer:
        for result in plan.skipped:
            writer.end(result)
        watcher = progress.Progress(out, [job.cell for job in plan.jobs], plan.header.protocol)
        try:
            planning.carry_out(plan, executor, writer, watcher)
        except KeyboardInterrupt:
            writer.finish("interrupted")
            out.print(f"\nstopped; go on with: python -m harness run --resume {writer.folder}")
            return None
        writer.finish("finished")
    return writer.folder


def _writer(plan: planning.Plan, root: Path) -> store.Writer:
    if plan.folder is not None:
        return store.Writer.resume(plan.folder)
    return store.Writer.create(root, plan.header)
