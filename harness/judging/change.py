"""One measurement in two runs: the ratio with its interval, and the verdict on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness import replicates, stats
from harness.judging.conditions import forbids
from harness.schema import Better, Measurement
from harness.stats import Interval

REPEATING_UNITS = frozenset({"byte", "flop", "1"})  # one value says it: no six samples needed
COUNTED_UNITS = frozenset({"flop", "1"})  # the same on every machine
COUNTED_METHODS = ("allocator", "allocated")  # bytes that torch counts, the same on every machine
# Where the suite's gate says none.
NOISE_BAND = {"ns": 0.05, "byte": 0.01, "flop": 0.0, "J": 0.05, "1": 0.0}


class Verdict(StrEnum):
    """What came of a comparison, worst first."""

    REGRESSED = "regressed"
    MISSING = "missing"  # measured on one side only
    INCOMPARABLE = "incomparable"  # the environment or the instrument differs
    INCONCLUSIVE = "inconclusive"  # the interval reaches over the edge of the noise band
    IMPROVED = "improved"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Candidate over base."""

    base: float  # median of all samples
    candidate: float
    # Of those medians, or of launches, pair by pair. None: the base is zero, the candidate is not
    value: float | None
    interval: Interval | None  # 95 %; of counted values their range; None: it cannot be told

    @property
    def shown(self) -> bool:
        """Whether a difference can be shown: the interval leaves out 1."""
        if self.interval is None:
            return self.value is None
        return not self.interval.lo <= 1 <= self.interval.hi


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One metric of one cell in both runs."""

    metric: str
    unit: str
    better: Better
    verdict: Verdict
    reason: str | None  # why there is no ratio, or no verdict from it
    ratio: Ratio | None  # None: missing; where incomparable it informs and proves nothing
    band: float  # relative noise band that the verdict took
    judged: bool = True  # whether it counts for the cell's verdict; others only explain


def relate(base: Measurement, candidate: Measurement) -> Ratio:
    """Return the ratio of two measurements with its interval.

    Where both were taken by several launches, the launch is the unit and pairs of one sitting are
    related to each other (`replicates.ratio`); else it is the ratio of medians.

    Bytes and FLOPs need no repetition: where their samples are too few the interval is the range of
    all ratios, a single point where nothing varies.
    """
    ours, theirs = base.samples, candidate.samples
    before, after = stats.median(ours), stats.median(theirs)
    if min(*ours, *theirs) <= 0:
        same = {*ours} == {*theirs} and len({*ours}) == 1
        value = after / before if before > 0 else (1.0 if after == before else None)
        return Ratio(
            base=before, candidate=after, value=value, interval=Interval(1, 1) if same else None
        )
    launched = replicates.ratio(base, candidate)
    value = after / before if launched is None else launched.value
    interval = replicates.ratio_interval(base, candidate)
    if interval is None and base.unit in REPEATING_UNITS:
        interval = Interval(min(theirs) / max(ours), max(theirs) / min(ours))
    return Ratio(base=before, candidate=after, value=value, interval=interval)


def judge(ratio: Ratio, better: Better, band: float) -> tuple[Verdict, str | None]:
    """Return the verdict of the whole interval against the band [1 / (1 + band), 1 + band].

    Wholly outside is `improved` or `regressed`, wholly inside `unchanged`, else `inconclusive`.
    """
    if ratio.value is None:
        worse = better == "lower"
        return (Verdict.REGRESSED if worse else Verdict.IMPROVED), "the base is zero"
    if ratio.interval is None:
        return Verdict.INCONCLUSIVE, "too few launches or samples for an interval"
    noise = Interval(1 / (1 + band), 1 + band)
    if ratio.interval.within(noise):
        return Verdict.UNCHANGED, None
    if ratio.interval.overlaps(noise):
        return Verdict.INCONCLUSIVE, None
    fell = ratio.interval.hi < noise.lo
    return (Verdict.IMPROVED if fell == (better == "lower") else Verdict.REGRESSED), None


def change(
    base: Measurement | None,
    candidate: Measurement | None,
    *,
    band: float | None = None,
    differing: Sequence[str] = (),
    judged: bool = True,
) -> Change:
    """Compare one metric of one cell.

    Args:
        base: what is compared with; None where it was not measured.
        candidate: what is judged; None where it was not measured.
        band: relative noise band; None takes the default of the unit.
        differing: conditions that are not the same on both sides and forbid something.
        judged: whether the change counts for the cell's verdict.

    Raises:
        ValueError: neither side was measured.
    """
    some = base or candidate
    if some is None:
        raise ValueError("a comparison needs a measurement on one side at least")
    band = NOISE_BAND[some.unit] if band is None else band
    ratio = None
    if base is None or candidate is None:
        verdict = Verdict.MISSING
        reason = f"the {'base' if base is None else 'candidate'} did not measure it"
    elif instrument(base) != instrument(candidate):
        verdict = Verdict.INCOMPARABLE
        reason = f"measured as {instrument(base)} and as {instrument(candidate)}"
    else:
        ratio = relate(base, candidate)
        verdict, reason = judge(ratio, base.better, band)
        barring = [key for key in differing if forbids(key) == "everything" or not counted(base)]
        if barring:
            verdict, reason = Verdict.INCOMPARABLE, f"other {', '.join(barring)}"
    return Change(
        metric=some.metric,
        unit=some.unit,
        better=some.better,
        verdict=verdict,
        reason=reason,
        ratio=ratio,
        band=band,
        judged=judged,
    )


def counted(measurement: Measurement) -> bool:
    """Say whether a value is the program's alone, so that machines may be compared by it."""
    return measurement.unit in COUNTED_UNITS or measurement.method.startswith(COUNTED_METHODS)


def instrument(measurement: Measurement) -> str:
    """Return what a measurement was taken with: its method up to the first comma, and its unit.

    After the comma stand settings that may vary from run to run, such as steps in a sample.
    """
    return f"{measurement.method.partition(',')[0] or 'an unnamed method'} [{measurement.unit}]"
