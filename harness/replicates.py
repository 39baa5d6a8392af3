"""What launches of a cell say: levels, ratios and intervals with the launch as the unit.

Samples of one process share the luck of its start, so that a thousand of them tell less than two
processes do (Georges, Buytaert and Eeckhout 2007). Each launch counts with one number here, its
level: the logarithm of its median. Launches that took turns at a sitting make pairs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from harness import stats
from harness.stats import CONFIDENCE, Array, Interval

ALONE = "-"  # stands in a text for the name of no sitting
_STEPS = 200  # halvings of an interval: more than a float has bits


class Replicated(Protocol):
    """Samples and how they came about, as `schema.Measurement` has them."""

    @property
    def samples(self) -> Sequence[float]:
        """Raw values of all launches, one after the other."""
        ...

    @property
    def launches(self) -> Sequence[int]:
        """How many of the samples each process took; empty: all one process."""
        ...

    @property
    def sittings(self) -> Sequence[str]:
        """By launch the name of its sitting; equal names make a pair; may be empty."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The plainest `Replicated`, for values that follow from measurements."""

    samples: Sequence[float]
    launches: Sequence[int] = ()
    sittings: Sequence[str] = ()

    @property
    def words(self) -> tuple[str, str]:
        """Launches and sittings as two texts for a column of a table."""
        names = " ".join(name or ALONE for name in self.sittings)
        return " ".join(map(str, self.launches)), names


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean of logarithms, its standard error and the degrees of freedom behind that."""

    log: float
    error: float
    freedom: int

    @property
    def value(self) -> float:
        """The estimate itself, exp(log)."""
        return math.exp(self.log)

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Return the interval exp(log +- t error) by Student's t (1908)."""
        reach = student_t(0.5 + confidence / 2, self.freedom) * self.error
        return Interval(math.exp(self.log - reach), math.exp(self.log + reach))

    def draws(self, count: int, seed: int | Sequence[int]) -> Array:
        """Return logarithms that scatter as our knowledge of this one: log + t error."""
        generator = np.random.default_rng(seed)
        return self.log + self.error * generator.standard_t(self.freedom, size=count)


def of_words(samples: Sequence[float], launches: str, sittings: str) -> Samples:
    """Return samples with their launches and sittings as `Samples.words` tells them."""
    names = tuple("" if name == ALONE else name for name in sittings.split())
    return Samples(samples=samples, launches=tuple(map(int, launches.split())), sittings=names)


def by_launch(values: Replicated) -> list[Sequence[float]]:
    """Return the samples of each process, in order of time; one group where nobody counted."""
    return [group for group, _ in _groups(values)]


def by_sitting(values: Replicated) -> dict[str, Sequence[float]]:
    """Return the samples of the launches that took turns with others, by sitting."""
    return {name: group for group, name in _groups(values) if name}


def level(values: Replicated) -> Estimate | None:
    """Return the mean level of a cell's launches, or None for fewer than two.

    Raises:
        ValueError: a sample is not positive.
    """
    return mean(levels(by_launch(values)))


def interval(values: Replicated) -> Interval | None:
    """Return the 95 % interval of a cell's value, or None where it cannot be told.

    From its launches where there are several; else of the median of the samples, which knows
    nothing of the luck of a start (`stats.median_interval`).
    """
    if len(by_launch(values)) > 1 and min(values.samples) > 0:
        found = level(values)
        return None if found is None else found.interval()
    return stats.median_interval(values.samples)


def ratio(base: Replicated, candidate: Replicated) -> Estimate | None:
    """Return the ratio of candidate to base, or None where a side has fewer than two launches.

    With two or more sittings in common: the mean of the log-ratios of the pairs, whatever their
    other launches were. Else Welch's (1947) difference of the mean levels, with his degrees of
    freedom rounded down.

    Raises:
        ValueError: a sample is not positive.
    """
    ours, theirs = by_sitting(base), by_sitting(candidate)
    common = [name for name in ours if name in theirs]
    if len(common) > 1:
        before, after = (levels([side[name] for name in common]) for side in (ours, theirs))
        return mean([second - first for first, second in zip(before, after, strict=True)])
    first, second = level(base), level(candidate)
    if first is None or second is None:
        return None
    return _difference(first, second)


def ratio_interval(base: Replicated, candidate: Replicated) -> Interval | None:
    """Return the 95 % interval of candidate / base, or None where it cannot be told.

    That of `ratio` where both sides have several launches; one launch each: of the ratio of medians
    from the samples, which knows nothing of the luck of a start. One launch against several says
    nothing about that luck on one side.

    Raises:
        ValueError: a sample is not positive.
    """
    found = ratio(base, candidate)
    if found is not None:
        return found.interval()
    if any(len(by_launch(side)) > 1 for side in (base, candidate)):
        return None
    return stats.ratio_interval(base.samples, candidate.samples)


@functools.cache
def student_t(p: float, freedom: int) -> float:
    """Return the quantile of Student's t for a whole number of degrees of freedom, p >= 0.5.

    By bisection of the distribution function in its finite form, Abramowitz and Stegun 26.7.3-4.

    Raises:
        ValueError: p outside [0.5, 1) or less than one degree of freedom.
    """
    if not 0.5 <= p < 1 or freedom < 1:
        raise ValueError(f"no quantile of t at p = {p:g} with {freedom} degrees of freedom")
    low, high = 0.0, 1.0
    while _within(high, freedom) < 2 * p - 1:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 2 * p - 1 else (low, middle)
    return (low + high) / 2


def _groups(values: Replicated) -> list[tuple[Sequence[float], str]]:
    counts = values.launches or (len(values.samples),)
    names = values.sittings or ("",) * len(counts)
    ends = np.cumsum(counts)
    found = zip(counts, ends, names, strict=True)
    return [(values.samples[end - n : end], name) for n, end, name in found if n]


def levels(groups: Sequence[Sequence[float]]) -> list[float]:
    """Return the level of each launch: the logarithm of its median.

    Raises:
        ValueError: a sample is not positive.
    """
    return [math.log(stats.median(stats.as_positive(group).tolist())) for group in groups]


def mean(values: Sequence[float]) -> Estimate | None:
    """Return the mean of logarithms, one from each launch or pair, or None for fewer than two."""
    n = len(values)
    if n < 2:
        return None
    error = float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(log=float(np.mean(values)), error=error, freedom=n - 1)


def _difference(first: Estimate, second: Estimate) -> Estimate:
    parts = [(each.error**2, each.freedom) for each in (first, second)]
    total = sum(square for square, _ in parts)
    freedom = min(first.freedom, second.freedom)
    if total:
        freedom = int(total**2 / sum(square**2 / n for square, n in parts) + 1e-9)
    return Estimate(log=second.log - first.log, error=math.sqrt(total), freedom=freedom)


def _within(t: float, freedom: int) -> float:
    """Return P(|T| < t)."""
    angle = math.atan(t / math.sqrt(freedom))
    square = math.cos(angle) ** 2
    term = total = 1.0
    if freedom % 2:
        for k in range(2, freedom - 1, 2):
            term *= square * k / (k + 1)
            total += term
        extra = math.sin(angle) * math.cos(angle) * total if freedom > 1 else 0.0
        return 2 / math.pi * (angle + extra)
    for k in range(1, freedom - 1, 2):
        term *= square * k / (k + 1)
        total += term
    return math.sin(angle) * total
