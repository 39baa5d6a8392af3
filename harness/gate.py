"""The gate: two runs to one verdict. Pure; what measures stands in `harness.duet`.

A verdict is a regression, which is shown, or a pass, which is shown too, or it cannot be told, with
the reason. A missing cell is a regression, and comparing nothing is no pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from harness.judging import samples, slowdowns, waivers
from harness.judging.conditions import Difference, differences
from harness.judging.families import WALL
from harness.judging.finding import Finding, Judgement
from harness.judging.hearing import Hearing, Terms, hear, suspects
from harness.judging.outcomes import change
from harness.judging.rule import Mode, Rule
from harness.judging.times import Shift
from harness.judging.waivers import Waiver
from harness.schema import Run

__all__ = [
    "Case",
    "Hearing",
    "Mode",
    "Rule",
    "Terms",
    "Verdict",
    "hear",
    "judge",
    "suspects",
]

EXIT_PASS, EXIT_REGRESSION, EXIT_INCONCLUSIVE, EXIT_INCOMPARABLE = 0, 1, 3, 4
PASS, REGRESSION = "pass", "regression"
INCONCLUSIVE, INCOMPARABLE = "inconclusive", "not-comparable"
CODES = {
    PASS: EXIT_PASS,
    REGRESSION: EXIT_REGRESSION,
    INCONCLUSIVE: EXIT_INCONCLUSIVE,
    INCOMPARABLE: EXIT_INCOMPARABLE,
}

NO_COMPARISON = (Judgement.NOT_COMPARED, Judgement.NEW, Judgement.UNCHANGED_FAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a gate is asked to judge."""

    base: Run
    candidate: Run
    terms: Terms
    again: tuple[Run, Run] | None = None  # suspicious cells, measured again: only this counts
    waivers: tuple[Waiver, ...] = ()
    today: date  # for waivers and for the age of a stored base
    names: tuple[str, str] = ("base", "candidate")  # as people call them: revisions, files, runs
    floor: float | None = None  # by how much the same code measured twice differed in this job
    restless: str | None = None  # what the rule found in identical code; then times prove nothing
    caveats: tuple[str, ...] = ()  # of how it was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a gate says."""

    verdict: str  # one of CODES
    sentence: str
    case: Case
    differences: tuple[Difference, ...]  # of the environments
    contended: tuple[float, float]  # share of launches during which others had the processor
    shift: Shift
    findings: tuple[Finding, ...]  # the worst first
    caveats: tuple[str, ...]
    counts: dict[Judgement, int] = field(default_factory=dict[Judgement, int])

    @property
    def exit_code(self) -> int:
        """0 pass, 1 regression, 3 inconclusive, 4 not comparable."""
        return CODES[self.verdict]

    @property
    def stage(self) -> int:
        """2 if something was measured again."""
        return 1 if self.case.again is None else 2


def judge(case: Case) -> Verdict:
    """Judge a case; a pure function of it."""
    terms, rule = case.terms, case.terms.rule
    first = hear(case.base, case.candidate, terms)
    contended = _contended(case.base, rule), _contended(case.candidate, rule)
    doubt = _doubt(case, first.shift, contended)
    shift = first.shift
    if case.again is None:
        told = [*first.findings, *(_told(first, doubt))]
    else:
        told, shift = _second(case, first)
    found, problems = waivers.apply(_at_rest(told, case.restless), case.waivers, case.today)
    found.sort(key=lambda each: each.order)
    caveats = (*case.caveats, *_warnings(case, contended), *problems)
    verdict, sentence = _verdict(found, case)
    return Verdict(
        verdict=verdict,
        sentence=sentence,
        case=case,
        differences=differences(case.base, case.candidate),
        contended=contended,
        shift=shift,
        findings=tuple(found),
        caveats=caveats,
        counts={j: sum(f.judgement is j for f in found) for j in Judgement},
    )


def _told(heard: Hearing, doubt: tuple[str, str] | None = None) -> list[Finding]:
    found = [slowdowns.finding(s, heard.shift) for s in heard.slowdowns]
    return [_doubted(each, *doubt) for each in found] if doubt else found


def _second(case: Case, first: Hearing) -> tuple[list[Finding], Shift]:
    """Return what is told after suspicious cells were measured again: of them the fresh data only.

    A cell that failed when it was measured again has failed.
    """
    assert case.again is not None
    base, candidate = case.again
    terms, rule = case.terms, case.terms.rule
    again, pads = suspects(first, rule)
    only = replace(terms, declared=(frozenset(again), frozenset(again)))
    beside = {cell.id for cell in candidate.header.cells} - set(again)
    heard = hear(base, candidate, only, pads={*pads, *beside})
    told = [replace(each, stage=2) for each in _told(heard)]
    fresh = {each.cell for each in told}
    ours, theirs = base.by_cell, candidate.by_cell
    for cell in again:
        failed = change(cell, ours.get(cell), theirs.get(cell), declared=(True, True))
        few = [f for f in heard.findings if f.cell == cell and f.metric == "latency"]
        if failed is not None:
            told.append(replace(failed, stage=2))
        elif cell not in fresh:
            told += [replace(each, stage=2) for each in few]
    kept = [each for each in _told(first) if each.cell not in again]
    return [*first.findings, *kept, *told], heard.shift


def _at_rest(told: Sequence[Finding], restless: str | None) -> list[Finding]:
    """Return findings of which slower times do not stand where identical code differs as well."""
    if restless is None:
        return list(told)
    return [
        _doubted(f, "restless", restless)
        if f.judgement is Judgement.REGRESSION and f.metric == "latency"
        else f
        for f in told
    ]


def _contended(run: Run, rule: Rule) -> float:
    ratios = samples.contention(run.results, "latency", WALL)
    return sum(ratio > rule.contended for ratio in ratios) / len(ratios) if ratios else 0.0


def _doubt(case: Case, shift: Shift, contended: tuple[float, float]) -> tuple[str, str] | None:
    """Return why times against a stored base prove nothing, kind and reason; None if they do."""
    rule = case.terms.rule
    if case.terms.mode is not Mode.STORED:
        return None
    if max(contended) > rule.contended_share:
        share = f"{max(contended) * 100:.0f} % of the launches"
        return "contended", f"others had the processor during {share} of a side"
    age = _age_days(case)
    if age is not None and age > rule.stale_days:
        return (
            "stale-baseline",
            f"the base is {age} days old; its times count for {rule.stale_days}",
        )
    if shift.is_real:
        moved = f"{math.expm1(shift.estimate) * 100:+.1f} %"
        return "environment-drift", f"the whole suite moved by {moved}: the machine is not the same"
    return None


def _doubted(finding: Finding, kind: str, reason: str) -> Finding:
    """Return a finding that conditions do not allow to stand."""
    told = f"{reason} (seen: {finding.reason})"
    return replace(finding, judgement=Judgement.INCONCLUSIVE, kind=kind, reason=told)


def _age_days(case: Case) -> int | None:
    try:
        created = datetime.fromisoformat(case.base.header.created_at).date()
    except ValueError:
        return None
    return (case.today - created).days


def _warnings(case: Case, contended: tuple[float, float]) -> list[str]:
    rule = case.terms.rule
    found: list[str] = []
    if case.terms.forced:
        found.append("forced: the environments differ, and times were compared all the same")
    if case.terms.mode is not Mode.STORED and max(contended) > rule.contended_share:
        share = f"{max(contended) * 100:.0f} % of the launches"
        found.append(f"others had the processor during {share}; both sides met them alike")
    return found


def _verdict(found: Sequence[Finding], case: Case) -> tuple[str, str]:
    """Return the worst that can be said of all, and one sentence."""
    base, candidate = case.names
    red = [each for each in found if each.is_red]
    compared = [f for f in found if f.judgement not in NO_COMPARISON and f.kind != "missing"]
    barred = [f for f in found if f.judgement is Judgement.NOT_COMPARED and f.metric == "latency"]
    gone = [f for f in found if f.judgement is Judgement.REMOVED and f.waiver is None]
    open_ = [f for f in found if f.judgement is Judgement.INCONCLUSIVE]
    cells = len({f.cell for f in compared})
    if not compared:
        why = found[0].reason if found else "neither side has a cell"
        return INCOMPARABLE, f"nothing of {candidate} could be compared with {base}: {why}"
    if red:
        return REGRESSION, f"{candidate} regressed against {base}: {_reds(red)}"
    if gone:
        return INCOMPARABLE, _removed(gone, found, base)
    if barred:
        why = f"times of {candidate} and {base} cannot be compared: {barred[0].reason}"
        return INCOMPARABLE, why
    if _cannot_tell(open_, cells, case.terms.rule):
        return INCONCLUSIVE, _inconclusive(open_, cells)
    rest = f"; {_cells(open_)} could not be judged" if open_ else ""
    return PASS, f"{candidate} is no worse than {base} in {cells} cells{rest}"


def _reds(red: Sequence[Finding]) -> str:
    worst = red[0]
    more = f", and {len(red) - 1} more" if len(red) > 1 else ""
    return f"{worst.cell} {worst.metric}: {worst.reason}{more}"


def _removed(gone: Sequence[Finding], found: Sequence[Finding], base: str) -> str:
    new = {f.cell for f in found if f.judgement is Judgement.NEW}
    return (
        f"the suite is not that of {base}: {_cells(gone)} gone ({gone[0].cell}), {len(new)} new; "
        "update the baseline, or waive what was removed"
    )


def _cannot_tell(open_: Sequence[Finding], cells: int, rule: Rule) -> bool:
    unclear = len({f.cell for f in open_})
    return unclear > rule.inconclusive_share * cells


def _inconclusive(open_: Sequence[Finding], cells: int) -> str:
    return f"it cannot be told for {_cells(open_)} of {cells}: {open_[0].cell}: {open_[0].reason}"


def _cells(found: Sequence[Finding]) -> str:
    count = len({each.cell for each in found})
    return f"{count} cell{'s' * (count != 1)}"
