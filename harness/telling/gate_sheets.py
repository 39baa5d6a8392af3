"""A gate's verdict as tables: what is red first, each with its reason in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from harness.gate import Verdict
from harness.history import MIN_SEGMENT, Series
from harness.judging.conditions import Difference
from harness.judging.finding import Finding, Judgement
from harness.stats import median
from harness.telling import units, words
from harness.telling.tables import Sheet

SHOWN = (  # in the table; the rest is counted
    Judgement.REGRESSION,
    Judgement.REMOVED,
    Judgement.INCONCLUSIVE,
    Judgement.UNCHANGED_FAIL,
    Judgement.IMPROVEMENT,
)
HEADER = ("", "cell", "metric", "base", "candidate", "ratio", "90 % interval", "blind below", "why")


def sheets(verdict: Verdict, *, every: bool = False) -> list[Sheet]:
    """Return the conditions that differ, the findings by severity, and the verdict.

    Args:
        verdict: what to tell.
        every: show what passed, is new or was not compared as well.
    """
    found = [f for f in verdict.findings if every or f.judgement in SHOWN]
    table = Sheet(
        title=f"gate: {verdict.case.names[1]} against {verdict.case.names[0]}",
        header=HEADER,
        rows=tuple(row(f) for f in found),
        notes=tuple(notes(verdict)),
    )
    forbidding = barring(verdict)
    conditions = Sheet(
        title="conditions that differ",
        header=("", "base", "candidate", "forbids to compare"),
        rows=tuple((d.key, d.base, d.candidate, d.forbids) for d in forbidding),
    )
    return [conditions, table] if forbidding else [table]


def barring(verdict: Verdict) -> list[Difference]:
    """Return the conditions that kept something from being compared; none if all was."""
    if not any(f.judgement is Judgement.NOT_COMPARED for f in verdict.findings):
        return []
    return [d for d in verdict.differences if d.forbids != "nothing"]


def history_sheet(found: Sequence[Series], runs: int) -> Sheet:
    """Return every step and drift of series of runs, what is slower now first."""
    changed = sorted(
        (s for s in found if s.steps or s.drift is not None),
        key=lambda s: (not s.is_slower, s.cell),
    )
    rows: list[tuple[str, ...]] = []
    for each in changed:
        for step in each.steps:
            at = step.at.revision or step.at.run
            rows.append((each.cell, "step", f"{step.ratio:.3f}x", f"{step.p:.1g}", at))
        if each.drift is not None:
            rows.append(
                (each.cell, "drift", f"{each.drift:.3f}x", "", "the last five, to the anchor")
            )
    longest = max((len(s.points) for s in found), default=0)
    notes = [f"{len(found)} series of {runs} runs"]
    if longest < 2 * MIN_SEGMENT:
        notes.append(f"the longest has {longest} runs; {2 * MIN_SEGMENT} are the fewest")
    return Sheet(
        title="history",
        header=("cell", "", "ratio", "p", "from"),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def row(finding: Finding) -> tuple[str, ...]:
    """Return one finding as a line of `HEADER`."""
    judged = finding.judgement.value
    if finding.waiver is not None:
        judged = f"waived {judged}"
    ends = finding.interval
    return (
        judged,
        finding.cell,
        finding.metric,
        _center(finding, 0),
        _center(finding, 1),
        "" if finding.ratio is None else f"{finding.ratio:.3f}x",
        "" if ends is None else f"{ends.lo:.3f} to {ends.hi:.3f}",
        "" if finding.mde is None else f"{(finding.mde - 1) * 100:+.1f} %",
        why(finding),
    )


def why(finding: Finding) -> str:
    """Return the reason with what else there is to say: waiver, notes, that it was confirmed."""
    parts = [finding.reason]
    parts += [f"waived: {finding.waiver}"] if finding.waiver is not None else []
    parts += ["measured again on its own"] if finding.stage == 2 else []
    parts += list(finding.notes)
    return "; ".join(parts)


def notes(verdict: Verdict) -> list[str]:
    """Return what stands below the table: counts, what could be seen, caveats, the verdict."""
    rule = verdict.case.terms.rule
    counts = [f"{number} {judgement}" for judgement, number in verdict.counts.items() if number]
    found = [", ".join(counts) or "no finding"]
    seen = blindness(verdict.findings)
    if seen is not None:
        found.append(
            f"a slowdown of {(seen - 1) * 100:.1f} % would be found in four of five gates in the "
            f"median cell; a cell that passes is not {rule.fail_over * 100:g} % slower"
        )
    if verdict.case.floor is not None:
        found.append(
            f"the same code measured twice in this job: {units.percent(verdict.case.floor)}"
        )
    found += verdict.caveats
    return [*found, f"{verdict.verdict}: {verdict.sentence}"]


def blindness(findings: Sequence[Finding]) -> float | None:
    """Return the median over cells of the smallest ratio that would have been found."""
    found = [f.mde for f in findings if f.mde is not None]
    return median(found) if found else None


def _center(finding: Finding, side: int) -> str:
    figures = (finding.base, finding.candidate)[side]
    if figures is not None:
        return units.quantity(figures.center, finding.unit)
    outcome = finding.outcomes[side]
    return words.outcome(outcome) if outcome is not None else "-"
