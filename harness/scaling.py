"""Curves over sequence length: the exponent of a power law, and where two curves cross.

Values at a length are what was measured there, by one launch or several, its raw samples, or one
number where it was measured once. Only measured lengths are used: nothing is imputed and nothing is
extrapolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness import replicates
from harness.replicates import Estimate, Replicated
from harness.stats import CONFIDENCE, MIN_SAMPLES, RESAMPLES, SEED, Array, as_positive, resample

# What one length has: launches with their samples, the samples of one launch, or the one value.
Values = Replicated | Sequence[float] | float
MIN_LENGTHS = 3  # two points always lie on a line
CLEAR = 4  # times the smallest value: what is fixed is at most a quarter from there on


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponent:
    """The p of value ~ length^p between two measured lengths."""

    exponent: float
    lo: float
    hi: float
    from_length: int
    to_length: int
    method: Literal["bootstrap", "neighbours"]  # what lo and hi are, see `fit_exponent`
    fixed_share: float  # of the first value that takes part, at most so much is fixed cost

    @property
    def per_doubling(self) -> float:
        """Factor by which the value grows when the length doubles."""
        return 2.0**self.exponent


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """The length from which a contender stays below the baseline, up to the longest measured."""

    length: float  # between two measured lengths; the shortest measured one if changes == 0
    lo: float | None  # 95 %; None where the samples set no bound within the measured lengths
    hi: float | None
    changes: int  # how often the order changes over the measured lengths; 0: below at all of them

    @property
    def everywhere(self) -> bool:
        """Whether the contender is below the baseline at every measured length."""
        return self.changes == 0


def fit_exponent(
    lengths: Sequence[int], values: Sequence[Values], *, seed: int = SEED
) -> Exponent | None:
    """Fit value ~ length^p by least squares on logarithms of medians; None below three lengths.

    Launches and weights cost the same at every length and bend the lower end of every curve. They
    cannot cost more than the smallest median measured, so that only lengths whose median is at
    least four times the smallest take part: there they are a quarter at most. Where fewer than
    three lengths are so far, it is the upper half, three at least, and `fixed_share` tells how much
    may be fixed. The interval is a 95 % bootstrap and so covers noise, not curvature: at a length
    with several launches the level of the curve is drawn from Student's t about their mean, with
    one launch its samples are drawn again. Where a length has fewer than six samples of one launch,
    it is the range of the slopes between neighbouring lengths, of which p is a weighted mean.

    Raises:
        ValueError: a value is not positive and finite, or a length occurs twice.
    """
    points = _points(lengths, values)
    if len(points) < MIN_LENGTHS:
        return None
    smallest = min(point.middle for point in points)
    points = _beyond_fixed_cost(points, smallest)
    x = np.log([point.length for point in points])
    y = np.array([point.log for point in points])
    slopes: Array = np.diff(y) / np.diff(x)
    method: Literal["bootstrap", "neighbours"] = "neighbours"
    if all(point.is_sure for point in points):
        draws = [point.draws((seed, i)) for i, point in enumerate(points)]
        method, slopes = "bootstrap", _slope(x, np.stack(draws, axis=1))
    tails = (0.0, 1.0) if method == "neighbours" else ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    lo, hi = np.quantile(slopes, tails)
    return Exponent(
        exponent=float(_slope(x, y[None])[0]),
        lo=float(lo),
        hi=float(hi),
        from_length=points[0].length,
        to_length=points[-1].length,
        method=method,
        fixed_share=smallest / points[0].middle,
    )


def crossover(
    lengths: Sequence[int],
    baseline: Sequence[Values],
    contender: Sequence[Values],
    *,
    seed: int = SEED,
) -> Crossover | None:
    """Find the length from which the contender's median stays below the baseline's.

    Interpolated on logarithms between the two measured neighbours where log(contender / baseline)
    turns negative for the last time. None: the contender is not below the baseline at the longest
    length, "not reached". Where the order changes several times, the last change counts and
    `changes` tells. Bounds are 95 % bootstrap quantiles; a resample without a crossing lies beyond
    the measured lengths. Pairs of one sitting are drawn as pairs. Without several launches or six
    samples at every length there are no bounds.

    Raises:
        ValueError: a value is not positive and finite, or a length occurs twice.
    """
    base, other = _points(lengths, baseline), _points(lengths, contender)
    if not base:
        return None
    x = np.log([point.length for point in base])
    pairs = [_Pair(*both) for both in zip(base, other, strict=True)]
    difference = np.array([[pair.log for pair in pairs]])
    length = _last_change(x, difference)[0]
    if math.isinf(length) and length > 0:
        return None
    lo = hi = None
    if all(pair.is_sure for pair in pairs):
        draws = np.stack([pair.draws(seed, i) for i, pair in enumerate(pairs)], axis=1)
        tails = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
        found = np.quantile(_last_change(x, draws), tails, method="inverted_cdf")
        lo, hi = (float(np.exp(bound)) if np.isfinite(bound) else None for bound in found)
    below = difference[0] < 0
    changes = int(np.count_nonzero(below[1:] != below[:-1]))
    start = float(base[0].length) if changes == 0 else math.exp(length)
    return Crossover(length=start, lo=lo, hi=hi, changes=changes)


@dataclass(frozen=True, slots=True)
class _Point:
    """What a curve has at one length."""

    length: int
    samples: Array
    source: Replicated | None  # None: samples of whom nobody knows how they came about

    @property
    def level(self) -> Estimate | None:
        """What its launches say; None for one."""
        return None if self.source is None else replicates.level(self.source)

    @property
    def middle(self) -> float:
        """The median of all samples."""
        return float(np.median(self.samples))

    @property
    def log(self) -> float:
        """The logarithm of its value."""
        return math.log(self.middle) if self.level is None else self.level.log

    @property
    def is_sure(self) -> bool:
        """Whether its uncertainty is known."""
        return self.level is not None or len(self.samples) >= MIN_SAMPLES

    def draws(self, seed: Sequence[int]) -> Array:
        """Return logarithms that scatter as our knowledge of it."""
        if self.level is not None:
            return self.level.draws(RESAMPLES, seed)
        return np.log(np.median(resample(self.samples.tolist(), seed=seed), axis=1))


@dataclass(frozen=True, slots=True)
class _Pair:
    """What two curves have at one length."""

    base: _Point
    other: _Point

    @property
    def ratio(self) -> Estimate | None:
        """What launches say of other over base; None where a side has only one."""
        if self.base.source is None or self.other.source is None:
            return None
        return replicates.ratio(self.base.source, self.other.source)

    @property
    def log(self) -> float:
        """The logarithm of other over base."""
        return self.other.log - self.base.log if self.ratio is None else self.ratio.log

    @property
    def is_sure(self) -> bool:
        """Whether its uncertainty is known."""
        return self.base.is_sure and self.other.is_sure

    def draws(self, seed: int, index: int) -> Array:
        """Return logarithms of the ratio that scatter as our knowledge of it."""
        if self.ratio is not None:
            return self.ratio.draws(RESAMPLES, (seed, index))
        return self.other.draws((seed + 1, index)) - self.base.draws((seed, index))


def _points(lengths: Sequence[int], values: Sequence[Values]) -> list[_Point]:
    """Return what there is by growing length."""
    if len(set(lengths)) != len(lengths):
        raise ValueError(f"each length may occur once, not {sorted(lengths)}")
    points = (_point(n, each) for n, each in zip(lengths, values, strict=True))
    return sorted(points, key=lambda point: point.length)


def _point(length: int, values: Values) -> _Point:
    if isinstance(values, float | int | Sequence):
        samples = np.atleast_1d(np.asarray(values, dtype=np.float64)).tolist()
        return _Point(length, as_positive(samples), None)
    return _Point(length, as_positive(values.samples), values)


def _beyond_fixed_cost(points: list[_Point], smallest: float) -> list[_Point]:
    """Return the longest tail of a curve in which every median is far above the smallest."""
    far = [point.middle >= CLEAR * smallest * (1 - 1e-9) for point in points]
    first = len(far) - far[::-1].index(False) if False in far else 0
    if len(points) - first >= MIN_LENGTHS:
        return points[first:]
    return points[-max(MIN_LENGTHS, math.ceil(len(points) / 2)) :]


def _slope(x: Array, y: Array) -> Array:
    """Return the least-squares slope of each row of y `[rows, lengths]` over x `[lengths]`."""
    centred = x - x.mean()
    return (y @ centred) / (centred @ centred)


def _last_change(x: Array, difference: Array) -> Array:
    """Return, per row of `[rows, lengths]`, the x where it turns negative for good.

    +inf: not negative at the end; -inf: negative throughout.
    """
    columns = np.arange(len(x))
    last = np.where(difference < 0, -1, columns).max(axis=1)  # last column that is not negative
    found = np.where(last < 0, -np.inf, np.inf)
    rows = np.flatnonzero((last >= 0) & (last < len(x) - 1))
    left = last[rows]
    before, after = difference[rows, left], difference[rows, left + 1]
    found[rows] = x[left] + before / (before - after) * (x[left + 1] - x[left])
    return found
