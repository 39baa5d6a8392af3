"""From what the launches say of a cell to a finding in plain words."""

from __future__ import annotations

import math

from harness.judging.finding import Figures, Finding, Judgement
from harness.judging.times import Launches, Shift, Slowdown
from harness.schema import Outcome
from harness.stats import Interval, quantile

SHAPE = "shape"  # the median moved and the lower decile did not


def finding(found: Slowdown, shift: Shift) -> Finding:
    """Return the finding of one cell.

    Args:
        found: what its launches say.
        shift: of the suite.
    """
    judgement, kind, reason = _judgement(found, shift)
    timing = found.timing
    lo, hi = found.interval
    bounded = math.isfinite(lo) and math.isfinite(hi)
    return Finding(
        cell=timing.cell,
        metric="latency",
        unit="ns",
        judgement=judgement,
        kind=kind,
        reason=reason,
        outcomes=(Outcome.OK, Outcome.OK),
        base=_figures(timing.base, timing.quantile, found.spread[0]),
        candidate=_figures(timing.candidate, timing.quantile, found.spread[1]),
        ratio=math.exp(found.estimate),
        interval=Interval(math.exp(lo), math.exp(hi)) if bounded else None,
        p=found.p,
        p_adjusted=found.adjusted,
        mde=math.exp(found.detectable) if math.isfinite(found.detectable) else None,
        notes=(SHAPE,) if _shape_moved(found) else (),
    )


def _judgement(found: Slowdown, shift: Shift) -> tuple[Judgement, str | None, str]:
    told = _percent(found.estimate)
    if found.slower:
        sure = f"adjusted p {found.adjusted:.2g}"
        if found.suite_wide:
            all_of = f"the whole suite is {_percent(shift.estimate)} slower, p {shift.p:.2g}"
            return Judgement.REGRESSION, "suite-wide", f"{told}: {all_of}"
        return (
            Judgement.REGRESSION,
            "slower",
            f"{told} beyond {_percent(found.timing.margin)}, {sure}",
        )
    if found.faster:
        return Judgement.IMPROVEMENT, None, f"{told}, adjusted p {found.adjusted_faster:.2g}"
    limit = _percent(found.timing.fail_over)
    if found.proven:
        return Judgement.PASS, None, f"{told}; {limit} or more is excluded"
    blind = f", and less than {_percent(found.detectable)} could not be seen"
    blind = blind if math.isfinite(found.detectable) else ""
    return Judgement.INCONCLUSIVE, "noise", f"{told}; {limit} is not excluded{blind}"


def _percent(log_ratio: float) -> str:
    return f"{math.expm1(log_ratio) * 100:+.1f} %"


def _figures(launches: Launches, q: float, spread: float) -> Figures:
    values = [quantile(samples, q) for samples in launches]
    return Figures(
        center=quantile(values, 0.5),
        launches=len(launches),
        iterations=sum(map(len, launches)),
        sd_log=spread,
    )


def _shape_moved(found: Slowdown) -> bool:
    """Say whether some samples became slower though the lower decile did not."""
    timing = found.timing
    if found.slower or timing.quantile >= 0.5:
        return False
    before, after = (
        quantile([quantile(samples, 0.5) for samples in side], 0.5)
        for side in (timing.base, timing.candidate)
    )
    return math.log(after / before) > 5 * timing.margin > 5 * found.estimate
