"""The numbers of the gate's rule, what they mean, and how two sides were measured."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

VERSION = "1"  # of the rule: it changes when the same inputs may get another verdict


class Mode(StrEnum):
    """How the launches of two sides stand to each other in time."""

    PAIRED = "paired"  # both processes of a pair alive at once, chunks in turn
    INTERLEAVED = "interleaved"  # launches in random order within pairs, on one machine
    STORED = "stored"  # the base was measured at another time


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The gate's rule; two limits with two meanings come first."""

    margin: float = 0.02  # a slowdown that nobody wants to hear about
    fail_over: float = 0.10  # the largest slowdown that a cell which passes may hide
    q: float = 0.05  # expected share of false ones among the regressions found (Benjamini-Hochberg)
    trim: float = 0.2  # of either end, from `trim_from` launches on
    trim_from: int = 8  # with fewer, trimming costs more than outliers do
    screen: float = 0.2  # p-value below which a slower cell is measured again
    shift_level: float = 0.01  # of the test for a slowdown of the whole suite
    confidence: float = 0.95  # of the bound that a cell passes by
    launches: int = 5  # a side; fewer are never judged
    again: int = 10  # a side, when a cell is measured again
    iterations: int = 10  # a launch; fewer are never judged
    effect_cells: int = 8  # cells from which the effect of a launch is estimated
    floor_ns: float = 2000.0  # smaller differences are the clock's
    contended: float = 1.15  # wall over CPU time of a launch during which others had the processor
    contended_share: float = 0.30  # of a side's launches: more forbid to use stored times
    stored_shift: float = 0.03  # of the whole suite against a stored baseline: the machine's
    inconclusive_share: float = 0.10  # of the cells: more, and the gate cannot tell
    stale_days: int = 30  # age of a stored baseline beyond which its times are not used
    memory_share: float = 0.01  # of bytes, with the next
    memory_bytes: int = 1 << 20  # what an allocator rounds
    error_share: float = 0.25  # of a numerical error
    score: float = 0.01  # of a score between 0 and 1: a loss that nobody wants to hear about
    seeds: int = 3  # with fewer, trained scores are not judged

    def trimming(self, launches: int, mode: Mode) -> float:
        """Return the share to trim; pairs have no outliers to speak of and too few to spare."""
        return self.trim if launches >= self.trim_from and mode is not Mode.PAIRED else 0.0
