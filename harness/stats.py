"""Robust statistics of raw samples: pure functions, each with its formula and source.

Nothing is trimmed, nothing is imputed. Intervals take samples as independent: use them within one
launch, `harness.replicates` over several; what samples are like `harness.diagnostics` says. Curves
over sequence length stand in `harness.scaling`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
CONFIDENCE = 0.95
MIN_SAMPLES = 6  # fewer cannot bound a median at 95 %: 2 * 0.5 ** 5 = 6.25 % lies outside
RESAMPLES = 2000
SEED = 0  # of bootstraps: the same samples always give the same interval


class Interval(NamedTuple):
    """A closed interval; unpacks as `lo, hi`."""

    lo: float
    hi: float

    def within(self, other: Interval) -> bool:
        """Say whether it lies wholly inside another."""
        return other.lo <= self.lo and self.hi <= other.hi

    def overlaps(self, other: Interval) -> bool:
        """Say whether the two share a point."""
        return self.lo <= other.hi and other.lo <= self.hi


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What is worth saying about the samples of one measurement, in their unit."""

    n: int
    minimum: float
    q1: float
    median: float
    q3: float
    maximum: float
    mad: float  # median absolute deviation, not scaled


def median(samples: Sequence[float]) -> float:
    """Return the middle value, or the mean of the two in the middle.

    Raises:
        ValueError: no samples, or one that is not finite.
    """
    values = np.sort(as_samples(samples))  # a third of the time of np.median: few samples, often
    middle = len(values) // 2
    return float(values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2)


def quantile(samples: Sequence[float], p: float) -> float:
    """Return the quantile by linear interpolation: type 7 of Hyndman and Fan (1996).

    Raises:
        ValueError: no samples, one that is not finite, or p outside [0, 1].
    """
    return float(np.quantile(as_samples(samples), p))


def quartiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile (see `quantile`)."""
    q1, q2, q3 = np.quantile(as_samples(samples), (0.25, 0.5, 0.75))
    return float(q1), float(q2), float(q3)


def iqr(samples: Sequence[float]) -> float:
    """Return the interquartile range, q3 - q1."""
    q1, _, q3 = quartiles(samples)
    return q3 - q1


def mad(samples: Sequence[float]) -> float:
    """Return the median absolute deviation, median |x - median x| (Hampel 1974), not scaled."""
    values = as_samples(samples)
    return float(np.median(np.abs(values - np.median(values))))


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Return the distribution-free interval of the median, or None for too few samples.

    Whatever the distribution; below six samples no two order statistics reach 95 %.
    """
    return quantile_interval(samples, 0.5, confidence)


def quantile_interval(
    samples: Sequence[float], p: float, confidence: float = CONFIDENCE
) -> Interval | None:
    """Return the distribution-free interval of any quantile, or None for too few samples.

    x_(k) and x_(m) with the largest k and the smallest m for which neither P(Bin(n, p) < k) nor
    P(Bin(n, p) >= m) exceeds (1 - confidence) / 2 (David and Nagaraja 2003, 7.1).

    Raises:
        ValueError: p outside (0, 1).
    """
    if not 0 < p < 1:
        raise ValueError(f"a quantile with an interval lies between 0 and 1, not at {p:g}")
    values = np.sort(as_samples(samples))
    below, above = _rank(len(values), p, confidence), _rank(len(values), 1 - p, confidence)
    if below is None or above is None:
        return None
    return Interval(float(values[below - 1]), float(values[-above]))


def ratio_interval(
    base: Sequence[float], candidate: Sequence[float], confidence: float = CONFIDENCE
) -> Interval | None:
    """Return the interval of median(candidate) / median(base), or None for too few samples.

    From six samples on either side: Price and Bonett (2002), J. Stat. Comput. Simul. 72(2),
    119-124, on logarithms: log(m2 / m1) +- z sqrt(v1 + v2), where v is the variance of a log-median
    estimated from a pair of its order statistics (`_log_median_variance`).

    Below: the range of all ratios, if 2 / C(n + m, n) <= 1 - confidence. That is the exact interval
    of Hodges and Lehmann (1963) at its widest, for sides that differ by a factor and have noise of
    the same shape: 4 and 4, or 3 and 5 samples suffice, 3 and 4 do not.

    Raises:
        ValueError: a sample is not positive; a ratio has no meaning then.
    """
    first, second = as_positive(base), as_positive(candidate)
    n, m = len(first), len(second)
    if min(n, m) < MIN_SAMPLES:
        if 2 / math.comb(n + m, n) > 1 - confidence or min(n, m) == 1:
            return None
        return Interval(float(second.min() / first.max()), float(second.max() / first.min()))
    centre = math.log(median(candidate) / median(base))
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    logs = (np.log(np.sort(group)) for group in (first, second))
    reach = z * math.sqrt(sum(_log_median_variance(group) for group in logs))
    return Interval(math.exp(centre - reach), math.exp(centre + reach))


def bootstrap_interval(
    statistic: Callable[..., Array],
    *groups: Sequence[float],
    seed: int = SEED,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the percentile interval of a statistic of one or more groups of samples.

    Efron (1979); each group is resampled on its own. Quantiles are taken at observed values, so
    that a statistic may be infinite in some resamples.

    Args:
        statistic: takes one array `[resamples, n]` a group and returns one value a row.
        groups: samples, at least one each.
        seed: of the resampling; the result is a pure function of the arguments.
        confidence: probability that the interval aims at.
        resamples: number of resamples.
    """
    draws = (resample(g, seed=(seed, i), resamples=resamples) for i, g in enumerate(groups))
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    lo, hi = np.quantile(statistic(*draws), tails, method="inverted_cdf")
    return Interval(float(lo), float(hi))


def resample(
    samples: Sequence[float], *, seed: int | Sequence[int] = SEED, resamples: int = RESAMPLES
) -> Array:
    """Return `[resamples, n]` draws with replacement, a pure function of the arguments."""
    values = as_samples(samples)
    picks = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    return values[picks]


def geometric_mean(ratios: Sequence[float]) -> float:
    """Return exp(mean(log x)), the mean that fits ratios (Fleming and Wallace 1986).

    Raises:
        ValueError: no ratios, or one that is not positive and finite.
    """
    return float(np.exp(np.mean(np.log(as_positive(ratios)))))


def summarize(samples: Sequence[float]) -> Summary:
    """Return the summary of one measurement's samples."""
    q1, middle, q3 = quartiles(samples)
    ends = {"minimum": min(samples), "maximum": max(samples)}
    return Summary(n=len(samples), q1=q1, median=middle, q3=q3, mad=mad(samples), **ends)


def as_samples(samples: Sequence[float]) -> Array:
    """Return samples as an array.

    Raises:
        ValueError: there are none, or one is not finite.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError("statistics need at least one sample")
    if not np.isfinite(values).all():
        raise ValueError(f"samples must be finite, not {values[~np.isfinite(values)][0]}")
    return values


def as_positive(samples: Sequence[float]) -> Array:
    """Return samples as an array whose logarithm exists.

    Raises:
        ValueError: there are none, or one is not positive and finite.
    """
    values = as_samples(samples)
    if (values <= 0).any():
        raise ValueError(f"ratios and logarithms need positive samples, not {values.min():g}")
    return values


@functools.lru_cache(maxsize=4096)  # of all intervals of a table, few differ in n
def _rank(n: int, p: float, confidence: float) -> int | None:
    """Return the largest k with 2 P(Bin(n, p) < k) <= 1 - confidence; None if there is none."""
    k = np.arange(n + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
    ways = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
    below = np.cumsum(np.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p)))  # P(Bin <= k)
    return int(np.count_nonzero(2 * below <= (1 - confidence) * (1 + 1e-12))) or None


def _log_median_variance(ordered: Array) -> float:
    """Return the variance of the median of sorted logarithms, after Price and Bonett (2002).

    With c = round((n + 1) / 2 - sqrt(n)), at least 1, the pair x_(c), x_(n+1-c) is an interval of
    the median with P(Bin(n, 1/2) < c) in either tail; its half width over the normal quantile of
    that tail is a standard error.
    """
    n = len(ordered)
    c = max(1, round((n + 1) / 2 - math.sqrt(n)))
    tail = sum(math.comb(n, i) for i in range(c)) / 2**n
    z = NormalDist().inv_cdf(1 - tail)
    return float((ordered[n - c] - ordered[c - 1]) / (2 * z)) ** 2
