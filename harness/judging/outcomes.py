"""How a cell ended, then and now: what needs no statistics."""

from __future__ import annotations

from harness.judging.finding import OUTCOME, Finding, Judgement
from harness.schema import FAULTS, Outcome, Result


def change(
    cell: str, base: Result | None, candidate: Result | None, *, declared: tuple[bool, bool]
) -> Finding | None:
    """Return what the two endings mean, or None where both are `ok` and numbers decide.

    Args:
        cell: its id.
        base: None where it has no result.
        candidate: None where it has no result.
        declared: whether the suite of the base and that of the candidate have the cell.
    """
    judgement, kind, reason = _judge(base, candidate, declared)
    if judgement is None:
        return None
    return Finding(
        cell=cell,
        metric=OUTCOME,
        unit="",
        judgement=judgement,
        kind=kind,
        reason=reason,
        outcomes=(base.outcome if base else None, candidate.outcome if candidate else None),
    )


_Judged = tuple[Judgement | None, str | None, str]


def _judge(base: Result | None, candidate: Result | None, declared: tuple[bool, bool]) -> _Judged:
    if not declared[1]:
        return Judgement.REMOVED, "removed", "the suite does not declare it any more"
    if candidate is None:
        return Judgement.REGRESSION, "missing", "the suite declares it, and it was not measured"
    if base is None or _is_new(base, candidate, declared=declared[0]):
        return _new(candidate)
    if candidate.outcome is Outcome.SKIPPED:
        return _skipped(base, candidate)
    both_ok = base.outcome is candidate.outcome is Outcome.OK
    return (None, None, "") if both_ok else _changed(base, candidate)


def _is_new(base: Result, candidate: Result, *, declared: bool) -> bool:
    """Say whether the base never had the cell: it left it out, or could not know it."""
    if base.outcome is Outcome.SKIPPED:
        return candidate.outcome is not Outcome.SKIPPED
    return base.outcome is not Outcome.OK and not declared


def _new(candidate: Result) -> _Judged:
    if candidate.outcome in FAULTS:
        return Judgement.NEW, candidate.outcome.value, f"there is no base; it {_ended(candidate)}"
    return Judgement.NEW, None, f"there is no base to compare with ({_said(candidate)})"


def _skipped(base: Result, candidate: Result) -> _Judged:
    if base.outcome is Outcome.SKIPPED:
        return Judgement.UNCHANGED_FAIL, "skipped", f"left out by the suite: {candidate.reason}"
    return Judgement.REMOVED, "removed", f"the suite leaves it out now: {candidate.reason}"


def _changed(base: Result, candidate: Result) -> _Judged:
    told = f"was {_said(base)}, is {_said(candidate)}"
    if candidate.outcome is Outcome.OK:
        return Judgement.IMPROVEMENT, "fixed", told
    worse = base.outcome is Outcome.OK or (
        candidate.outcome in FAULTS and base.outcome not in FAULTS
    )
    if worse:
        why = f": {candidate.reason}" if candidate.reason else ""
        return Judgement.REGRESSION, candidate.outcome.value, told + why
    if base.outcome is candidate.outcome:
        return Judgement.UNCHANGED_FAIL, candidate.outcome.value, f"{_said(base)} on both sides"
    return Judgement.UNCHANGED_FAIL, candidate.outcome.value, f"fails in another way: {told}"


def _ended(result: Result) -> str:
    return f"ended as {_said(result)}: {result.reason}"


def _said(result: Result) -> str:
    return result.outcome.value.replace("_", " ")
