"""Curves over sequence length: the exponent of a power law, and where two curves cross.

Values at a length are its raw samples, or one number where it was measured once. Only measured
lengths are used: nothing is imputed and nothing is extrapolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.stats import CONFIDENCE, MIN_SAMPLES, RESAMPLES, SEED, Array, as_positive, resample

Values = Sequence[float] | float  # samples at one length, or the one value
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
    may be fixed. The interval is a 95 % bootstrap over
    samples and so covers noise, not curvature. Where a length has fewer than six samples, it is
    the range of the slopes between neighbouring lengths, of which p is a weighted mean.

    Raises:
        ValueError: a value is not positive and finite, or a length occurs twice.
    """
    points = _points(lengths, values)
    if len(points) < MIN_LENGTHS:
        return None
    smallest = min(float(np.median(samples)) for _, samples in points)
    points = _beyond_fixed_cost(points, smallest)
    x = np.log([length for length, _ in points])
    groups = [samples for _, samples in points]
    y = np.log([float(np.median(group)) for group in groups])
    slopes: Array = np.diff(y) / np.diff(x)
    method: Literal["bootstrap", "neighbours"] = "neighbours"
    if _enough(groups):
        method, slopes = "bootstrap", _slope(x, _log_medians(groups, seed=seed))
    tails = (0.0, 1.0) if method == "neighbours" else ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    lo, hi = np.quantile(slopes, tails)
    return Exponent(
        exponent=float(_slope(x, y[None])[0]),
        lo=float(lo),
        hi=float(hi),
        from_length=points[0][0],
        to_length=points[-1][0],
        method=method,
        fixed_share=smallest / float(np.median(points[0][1])),
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
    the measured lengths. Without six samples at every length there are no bounds.

    Raises:
        ValueError: a value is not positive and finite, or a length occurs twice.
    """
    base, other = _points(lengths, baseline), _points(lengths, contender)
    if not base:
        return None
    x = np.log([length for length, _ in base])
    groups = [[samples for _, samples in points] for points in (base, other)]
    first, second = (np.log([[float(np.median(g)) for g in group]]) for group in groups)
    length = _last_change(x, second - first)[0]
    if math.isinf(length) and length > 0:
        return None
    lo = hi = None
    if _enough(groups[0]) and _enough(groups[1]):
        draws = _log_medians(groups[1], seed=seed + 1) - _log_medians(groups[0], seed=seed)
        tails = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
        found = np.quantile(_last_change(x, draws), tails, method="inverted_cdf")
        lo, hi = (float(np.exp(bound)) if np.isfinite(bound) else None for bound in found)
    below = (second - first)[0] < 0
    changes = int(np.count_nonzero(below[1:] != below[:-1]))
    start = float(base[0][0]) if changes == 0 else math.exp(length)
    return Crossover(length=start, lo=lo, hi=hi, changes=changes)


def _points(lengths: Sequence[int], values: Sequence[Values]) -> list[tuple[int, Array]]:
    """Return (length, samples) by growing length."""
    if len(set(lengths)) != len(lengths):
        raise ValueError(f"each length may occur once, not {sorted(lengths)}")
    points = zip(lengths, values, strict=True)
    return sorted(
        ((n, as_positive(np.atleast_1d(v).tolist())) for n, v in points), key=lambda p: p[0]
    )


def _beyond_fixed_cost(points: list[tuple[int, Array]], smallest: float) -> list[tuple[int, Array]]:
    """Return the longest tail of a curve in which every median is far above the smallest."""
    far = [float(np.median(samples)) >= CLEAR * smallest * (1 - 1e-9) for _, samples in points]
    first = len(far) - far[::-1].index(False) if False in far else 0
    if len(points) - first >= MIN_LENGTHS:
        return points[first:]
    return points[-max(MIN_LENGTHS, math.ceil(len(points) / 2)) :]


def _enough(groups: Sequence[Array]) -> bool:
    return all(len(group) >= MIN_SAMPLES for group in groups)


def _log_medians(groups: Sequence[Array], *, seed: int) -> Array:
    """Return `[resamples, lengths]`: log-medians of resampled groups."""
    draws = np.empty((RESAMPLES, len(groups)))
    for i, group in enumerate(groups):
        draws[:, i] = np.median(resample(group.tolist(), seed=(seed, i)), axis=1)
    return np.log(draws)


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
