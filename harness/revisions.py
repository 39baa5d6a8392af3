"""The gate of the code as it is now against a revision: measured here, in turns, in two stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness import duet, gate, planning, store, suite, trees
from harness.cases import Asked
from harness.gate import Case, Mode, Terms
from harness.judging import samples, times
from harness.judging.times import LOW, MIDDLE, Timing
from harness.planning import Plan, Request
from harness.schema import Job, Run
from harness.sides import Servers, longer
from harness.suite import SuiteError

ROOT = Path(__file__).resolve().parents[1]  # of the code that is running
MODES = {"chunked": Mode.PAIRED, "apart": Mode.INTERLEAVED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Duet:
    """What the command line asks of a gate against a revision."""

    request: Request
    base: str  # revision
    pairing: str | None = None  # None: the suite's
    asked: Asked
    out: Path  # folder of the results


def case(
    asked: Duet, checker: planning.Checker, say: Callable[[str], None], repository: Path = ROOT
) -> Case:
    """Measure both revisions of a suite and return the case.

    Suspicious cells and those that are not proven are measured again, and only that counts then.
    Every run is stored, whatever comes of it.

    Raises:
        TreeError: the revision cannot be used.
        SuiteError: the suite cannot be run.
    """
    revision = trees.resolve(repository, asked.base)
    plan = planning.plan(asked.request, checker)
    before, caveats = _declared_before(plan, asked.request, repository, revision)
    with ExitStack() as stack:
        both = stack.enter_context(trees.side_by_side(repository, revision))
        servers = stack.enter_context(Servers(both))
        return carry_out(plan, servers, asked, say, declared=before, caveats=caveats)


def carry_out(
    plan: Plan,
    sides: duet.Sides,
    asked: Duet,
    say: Callable[[str], None],
    *,
    declared: frozenset[str] | None = None,
    caveats: Sequence[str] = (),
    in_full: bool = True,
    controls: int = duet.CONTROLS,
) -> Case:
    """Measure a plan on two sides, again where that is needed, and return the case.

    Args:
        plan: what is measured.
        sides: who measures.
        asked: how.
        say: hears how far it is.
        declared: cells of the base's suite; None: those of the candidate's.
        caveats: what the verdict must say of how it came about.
        in_full: measure everything else before times; else times only.
        controls: cells of which the base is timed against itself.
    """
    rule = asked.asked.rule
    jobs = [_paired(job, asked.pairing) for job in plan.jobs]
    planned = frozenset(cell.id for cell in plan.header.cells)
    mode = MODES[jobs[0].protocol.pairing] if jobs else Mode.PAIRED
    first, measured = _stage(plan, jobs, sides, asked, say, "", first=in_full, controls=controls)
    terms = Terms(
        mode=mode,
        declared=(planned if declared is None else declared, planned),
        rule=rule,
        limits=plan.header.gate,
        forced=asked.asked.forced,
    )
    found = Case(
        base=first[0],
        candidate=first[1],
        terms=terms,
        waivers=asked.asked.accepted(),
        today=asked.asked.day,
        names=(asked.base, "this tree"),
        floor=_floor(_controls(measured, mode)),
        restless=_restless(_controls(measured, mode), terms),
        caveats=tuple(caveats),
    )
    suspects, pads = gate.suspects(gate.hear(*first, terms), rule)
    if not suspects:
        return found
    say(f"{len(suspects)} cells are measured again, and {len(pads)} beside them")
    chosen = [longer(job, rule.again) for job in jobs if job.cell.id in {*suspects, *pads}]
    again, _ = _stage(plan, chosen, sides, asked, say, "-again", first=False)
    return replace(found, again=again)


def _stage(
    plan: Plan,
    jobs: Sequence[Job],
    sides: duet.Sides,
    asked: Duet,
    say: Callable[[str], None],
    name: str,
    *,
    first: bool = True,
    controls: int = 0,
) -> tuple[tuple[Run, Run], duet.Measured]:
    """Measure jobs on both sides and store the two runs."""
    with ExitStack() as stack:
        writers: list[store.Writer] = []
        for side in ("base", "candidate"):
            header = replace(
                plan.header,
                run_id=f"{plan.header.run_id}-{side}{name}",
                protocol=jobs[0].protocol if jobs else plan.header.protocol,
                cells=tuple(job.cell for job in jobs),
            )
            writers.append(stack.enter_context(store.Writer.create(asked.out, header)))
        measured = duet.measure(
            jobs, sides, (writers[0], writers[1]), first=first, controls=controls, say=say
        )
        for writer, skipped in ((w, r) for w in writers for r in plan.skipped if first):
            writer.end(skipped)
        for writer in writers:
            writer.finish("finished")
    return (store.open(writers[0].folder), store.open(writers[1].folder)), measured


def _paired(job: Job, pairing: str | None) -> Job:
    """Return a job that is timed in turns or apart; on CUDA always apart."""
    wanted = pairing or job.protocol.pairing
    if job.cell.device != "cpu":
        wanted = "apart"
    return replace(job, protocol=replace(job.protocol, pairing=wanted))


def _controls(measured: duet.Measured, mode: Mode) -> list[Timing]:
    """Return what the base timed against itself says."""
    found: list[Timing] = []
    for one, other in measured.controls:
        pair = [
            next((m for m in r.measurements if m.metric == "latency"), None) for r in (one, other)
        ]
        if pair[0] is None or pair[1] is None:
            continue
        base, candidate = samples.matched(pair[0], pair[1], mode)
        if base and candidate:
            q = MIDDLE if one.cell.device == "cuda" else LOW
            found.append(Timing(cell=one.cell.id, base=base, candidate=candidate, quantile=q))
    return found


def _floor(controls: Sequence[Timing]) -> float | None:
    """Return the largest difference between medians of identical code; None without any."""
    sizes = [
        abs(float(np.median(_levels(t.candidate, t)) - np.median(_levels(t.base, t))))
        for t in controls
    ]
    return float(np.expm1(max(sizes))) if sizes else None


def _levels(launches: times.Launches, timing: Timing) -> list[float]:
    return [float(np.log(np.quantile(samples_, timing.quantile))) for samples_ in launches]


def _restless(controls: Sequence[Timing], terms: Terms) -> str | None:
    """Return what the gate's own rule finds in identical code; None if nothing."""
    found, _ = times.judge(controls, terms.rule, terms.mode)
    for each in found:
        if each.slower or each.faster:
            told = f"{np.expm1(each.estimate) * 100:+.1f} %"
            return f"the base against itself differs by {told} in {each.timing.cell}"
    return None


def _declared_before(
    plan: Plan, request: Request, repository: Path, revision: str
) -> tuple[frozenset[str] | None, tuple[str, ...]]:
    """Return the cells that the suite had in a revision, and what is to be said about that."""
    text = trees.show(repository, revision, request.suite)
    if text is None:
        return None, (f"{request.suite} is new: no cell of it can have been removed",)
    if text == plan.header.suite_text:
        return None, ()
    try:
        loaded = suite.parse(text, f"{request.suite} of {revision[:7]}", request.overrides)
        device = plan.jobs[0].cell.device if plan.jobs else "cpu"
        grid = suite.expand(loaded, device)
        cells = suite.select(grid.cells, request.only, request.skip).cells
        cells = (*cells, *(ruled.cell for ruled in grid.excluded))
    except SuiteError as error:
        return None, (f"the suite of the base cannot be read: {error.problems[0]}",)
    return frozenset(cell.id for cell in cells), ()
