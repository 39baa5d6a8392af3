"""The verbs `gate` and `baseline` in steps: what is asked, the verdict, where it is told."""

from __future__ import annotations

import os
import signal
from argparse import Namespace
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from harness import baseline, cases, gate, history, planning, revisions, store
from harness.cases import Asked
from harness.gate import INCONCLUSIVE, Case, Verdict
from harness.history import Series
from harness.planning import PlanError, Request
from harness.revisions import Duet
from harness.schema import Run
from harness.telling import gate_comment, gate_document, junit

SUMMARY = "GITHUB_STEP_SUMMARY"  # variable that names the file of a job's summary on GitHub


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The series of a folder of runs, and what they come to."""

    series: tuple[Series, ...]
    runs: int

    @property
    def exit_code(self) -> int:
        """1 if a cell is slower than it was and still is, 4 if no series is long enough."""
        long = [s for s in self.series if len(s.points) >= 2 * history.MIN_SEGMENT]
        if not long:
            return gate.EXIT_INCOMPARABLE
        return gate.EXIT_REGRESSION if any(s.is_slower for s in long) else gate.EXIT_PASS


def verdict(args: Namespace, say: Callable[[str], None]) -> Verdict:
    """Return the verdict that the command line asks for; measures only for `--base`.

    Raises:
        PlanError: the arguments do not fit together.
    """
    return gate.judge(_case(args, say))


def past(folder: Path, anchor: str | None) -> Past:
    """Return the change points over the runs of a folder.

    Raises:
        StoreError: a run cannot be read.
    """
    runs = [store.open(each.run_id, folder) for each in store.runs(folder) if not each.problem]
    return Past(series=history.series(runs, anchor), runs=len(runs))


def exit_code(found: Verdict, on_inconclusive: str) -> int:
    """Return how a gate exits; where the user says so, not knowing is no failure."""
    if found.verdict == INCONCLUSIVE and on_inconclusive == "pass":
        return gate.EXIT_PASS
    return found.exit_code


def write(found: Verdict, args: Namespace, environ: dict[str, str] | None = None) -> None:
    """Write a verdict to the files that were asked for, and to GitHub's summary of the job."""
    variables = dict(os.environ) if environ is None else environ
    if args.json is not None:
        args.json.write_text(gate_document.text(found), encoding="utf-8")
    if args.junit is not None:
        strict = args.on_inconclusive == "fail"
        args.junit.write_text(junit.text(found, strict=strict), encoding="utf-8")
    comment = gate_comment.text(found)
    if args.markdown is not None:
        args.markdown.write_text(comment, encoding="utf-8")
    if variables.get(SUMMARY):
        with Path(variables[SUMMARY]).open("a", encoding="utf-8") as file:
            file.write(comment)


def update(run: Run, file: Path, accept: str | None) -> Verdict | None:
    """Write a run as the baseline; return what the old one said of it, None where there was none.

    Raises:
        PlanError: the run is not fit to be a norm, or does not pass the old one and nobody says
            why it should be the new one.
    """
    problems = baseline.unacceptable(run, cases.declared(run))
    if problems:
        raise PlanError(f"{run.header.run_id} cannot be a baseline: {problems[0]}")
    old = None
    if file.exists():
        old = gate.judge(cases.against_baseline(run, file, Asked()))
        if old.exit_code != gate.EXIT_PASS and not accept:
            raise PlanError(
                f"{run.header.run_id} does not pass {file} ({old.sentence}); "
                "say why it is the new norm with --accept REASON"
            )
    file.parent.mkdir(parents=True, exist_ok=True)
    text = baseline.text(run, accepted=accept or ("first" if old is None else "passed the old one"))
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)
    return old


def _case(args: Namespace, say: Callable[[str], None]) -> Case:
    asked = Asked(waivers=args.waivers, forced=args.force)
    if args.base_files is not None:
        if not args.candidate_files:
            raise PlanError("--base-files needs --candidate-files FILE ... to compare with")
        return cases.files(args.base_files, args.candidate_files, asked)
    if args.subject is None:
        what = "a suite to measure" if args.base is not None else "a run to judge"
        raise PlanError(
            f"name {what}: python -m harness gate {'SUITE' if args.base else 'RUN'} ..."
        )
    if args.baseline is not None:
        return cases.against_baseline(store.open(args.subject, args.out), args.baseline, asked)
    return _duet(args, asked, say)


def _duet(args: Namespace, asked: Asked, say: Callable[[str], None]) -> Case:
    request = Request(
        suite=Path(args.subject),
        overrides=tuple(args.set),
        only=tuple(args.only),
        skip=tuple(args.skip),
        plugins=tuple(args.plugin),
        command=args.typed,
    )
    duet = Duet(request=request, base=args.base, pairing=args.pairing, asked=asked, out=args.out)
    # A job that is called off gets SIGTERM: then too the base's tree must go.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with closing(planning.executor(args.executor)) as checker:
            return revisions.case(duet, checker, say)
    finally:
        signal.signal(signal.SIGTERM, before)
