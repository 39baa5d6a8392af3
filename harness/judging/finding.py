"""What a gate found of one metric of one cell, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.schema import Outcome
from harness.stats import Interval


class Judgement(StrEnum):
    """What a gate says of one metric of one cell, worst first."""

    REGRESSION = "regression"
    REMOVED = "removed"  # the suite does not declare it any more
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARED = "not-compared"  # another environment, instrument or library
    UNCHANGED_FAIL = "unchanged-fail"  # failed on both sides
    NEW = "new"  # no base
    IMPROVEMENT = "improvement"
    PASS = "pass"


RANK: Mapping[Judgement, int] = {judgement: i for i, judgement in enumerate(Judgement)}
OUTCOME = "outcome"  # the metric of findings about how a cell ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One side of a comparison."""

    center: float  # median over launches, in the metric's unit
    launches: int  # or seeds, of a score
    iterations: int  # samples of all launches
    sd_log: float | None = None  # standard deviation over launches of the logarithm


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One metric of one cell: the judgement and what it rests on."""

    cell: str  # id
    metric: str
    unit: str
    judgement: Judgement
    kind: str | None = None  # slower, memory, accuracy, missing, out_of_memory, noise...
    reason: str  # in plain words
    outcomes: tuple[Outcome | None, Outcome | None] = (None, None)  # None: no result
    base: Figures | None = None
    candidate: Figures | None = None
    ratio: float | None = None
    interval: Interval | None = None  # 90 %, of the ratio: its ends are one-sided 95 % bounds
    p: float | None = None
    p_adjusted: float | None = None
    mde: float | None = None  # smallest ratio that would have been found in four of five gates
    notes: tuple[str, ...] = ()
    waiver: str | None = None  # why a regression is accepted
    stage: int = 1  # 2: measured again, and only what was measured again counts

    @property
    def is_red(self) -> bool:
        """Whether it is a regression that nobody has waived."""
        return self.judgement is Judgement.REGRESSION and self.waiver is None

    @property
    def order(self) -> tuple[int, int, float, str, str]:
        """A key that sorts findings by severity, then by size."""
        size = abs((self.ratio or 1.0) - 1.0)
        waived = int(self.waiver is not None)
        return (waived, RANK[self.judgement], -size, self.cell, self.metric)
