"""What repeats exactly: bytes of an allocator, counts, errors of fixed inputs."""

from __future__ import annotations

from collections.abc import Sequence

from harness.judging.families import Family, family
from harness.judging.finding import Figures, Finding, Judgement
from harness.judging.rule import Rule
from harness.schema import Measurement, Outcome

ROUNDING = 1e-6  # of an error so small that it is the dtype's


def judge(
    cell: str, base: Measurement, candidate: Measurement, rule: Rule, *, share: float | None = None
) -> Finding:
    """Compare the worst value of either side with a bound.

    Bytes may grow by `memory_share` and 1 MiB, which an allocator rounds; counts by nothing, an
    error by a quarter.

    Args:
        cell: its id.
        base: what is compared with.
        candidate: what is judged.
        rule: the tolerances.
        share: the suite's tolerance instead of the rule's.
    """
    kind = family(candidate) or Family.COUNT
    before, after = max(base.samples), max(candidate.samples)
    relative, absolute = _tolerance(kind, rule, share)
    if after > before * (1 + relative) + absolute:
        judgement, name = Judgement.REGRESSION, _KINDS[kind]
        reason = f"{_grown(before, after)}, more than the {_allowed(relative, absolute)} allowed"
    elif after * (1 + relative) + absolute < before:
        judgement, name, reason = Judgement.IMPROVEMENT, None, _grown(before, after)
    else:
        judgement, name = Judgement.PASS, None
        reason = "the same" if after == before else f"{_grown(before, after)}, within what rounds"
    return Finding(
        cell=cell,
        metric=candidate.metric,
        unit=candidate.unit,
        judgement=judgement,
        kind=name,
        reason=reason,
        outcomes=(Outcome.OK, Outcome.OK),
        base=figures(base.samples, before),
        candidate=figures(candidate.samples, after),
        ratio=after / before if before > 0 else None,
        notes=_notes(kind, base, candidate),
    )


def figures(samples: Sequence[float], center: float) -> Figures:
    """Return one side whose samples are not launches."""
    return Figures(center=center, launches=1, iterations=len(samples))


_KINDS = {Family.BYTES: "memory", Family.COUNT: "work", Family.ERROR: "accuracy"}


def _tolerance(kind: Family, rule: Rule, share: float | None) -> tuple[float, float]:
    if kind is Family.BYTES:
        return (rule.memory_share if share is None else share), rule.memory_bytes
    if kind is Family.ERROR:
        return (rule.error_share if share is None else share), ROUNDING
    return share or 0.0, 0.0


def _grown(before: float, after: float) -> str:
    if before <= 0:
        return f"grew from {before:g} to {after:g}"
    return f"{(after / before - 1) * 100:+.3g} %"


def _allowed(relative: float, absolute: float) -> str:
    share = f"{relative * 100:g} %"
    return f"{share} and {absolute / 2**20:g} MiB" if absolute >= 1 else share


def _notes(kind: Family, base: Measurement, candidate: Measurement) -> tuple[str, ...]:
    varies = len(set(base.samples)) > 1 or len(set(candidate.samples)) > 1
    return ("nondeterministic",) if varies and kind is not Family.ERROR else ()
