"""A difference of two groups, or of pairs, by trimmed means: estimate, tests, bounds.

Yuen (1974), "The two-sample trimmed t for unequal population variances"; without trimming it is
Welch's test. Nothing is assumed of the scatter within a group but that its core is near normal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.judging import student
from harness.stats import Array, as_samples

POWER = 0.8  # with which the minimum detectable difference is found


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A mean difference with its standard error and degrees of freedom."""

    mean: float
    error: float  # standard error; 0 where nothing varies
    df: float

    def above(self, limit: float) -> float:
        """Return the one-sided p-value of "the difference is at most `limit`"."""
        if self.error == 0:
            return 1.0 if self.mean <= limit else 0.0
        return student.tail((self.mean - limit) / self.error, self.df)

    def below(self, limit: float) -> float:
        """Return the one-sided p-value of "the difference is at least `limit`"."""
        return Contrast(mean=-self.mean, error=self.error, df=self.df).above(-limit)

    def upper(self, confidence: float) -> float:
        """Return the one-sided upper bound."""
        return self.mean + student.point(1 - confidence, self.df) * self.error

    def lower(self, confidence: float) -> float:
        """Return the one-sided lower bound."""
        return self.mean - student.point(1 - confidence, self.df) * self.error

    def detectable(self, level: float) -> float:
        """Return by how much a limit must be exceeded to be found with 80 % power at a level."""
        reach = student.point(level, self.df) + student.point(1 - POWER, self.df)
        return reach * self.error


def two_groups(candidate: Sequence[float], base: Sequence[float], trim: float) -> Contrast | None:
    """Return candidate minus base; None for fewer than two values a side.

    With n values, g = floor(trim n) of either end left out and h = n - 2 g kept, d = (n - 1) s_w^2
    / (h (h - 1)) where s_w^2 is the winsorized variance; the standard error is sqrt(d1 + d2), and
    df = (d1 + d2)^2 / (d1^2 / (h1 - 1) + d2^2 / (h2 - 1)).
    """
    ours, theirs = _core(candidate, trim), _core(base, trim)
    if ours is None or theirs is None:
        return None
    total = ours.square + theirs.square
    parts = ours.square**2 / (ours.kept - 1) + theirs.square**2 / (theirs.kept - 1)
    return Contrast(
        mean=ours.mean - theirs.mean,
        error=math.sqrt(total),
        df=total**2 / parts if parts > 0 else ours.kept + theirs.kept - 2,
    )


def pairs(differences: Sequence[float], trim: float) -> Contrast | None:
    """Return the mean of differences within pairs; None for fewer than two pairs."""
    core = _core(differences, trim)
    if core is None:
        return None
    return Contrast(mean=core.mean, error=math.sqrt(core.square), df=core.kept - 1)


@dataclass(frozen=True, slots=True)
class _Core:
    mean: float
    square: float  # of the standard error of the mean
    kept: int


def _core(values: Sequence[float], trim: float) -> _Core | None:
    if len(values) < 2:
        return None
    ordered: Array = np.sort(as_samples(values))
    n = len(ordered)
    cut = math.floor(trim * n)
    kept = n - 2 * cut
    if kept < 2:
        cut, kept = 0, n
    winsorized = np.clip(ordered, ordered[cut], ordered[n - 1 - cut])
    square = (n - 1) * float(winsorized.var(ddof=1)) / (kept * (kept - 1))
    return _Core(float(ordered[cut : n - cut].mean()), square, kept)
