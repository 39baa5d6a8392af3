"""Are samples what intervals take them for: independent, of one mode, without wild ones?

Everything here only flags. Nothing is trimmed: a reader who knows why a sample is wild may judge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.stats import Array, as_samples, median, quartiles

FENCE = 1.5  # interquartile ranges beyond the quartiles (Tukey 1977)
BIMODAL = 0.85  # separation from which on two modes are told, see `modes`
FEWEST = 12  # samples without which modes and autocorrelation are not judged
SHARE = 0.1  # of the samples that the smaller mode must have


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """Two clusters of samples that lie apart."""

    low: float  # median of the lower one, in the samples' unit
    high: float  # of the upper one
    share: float  # of all samples in the upper one


def autocorrelation(samples: Sequence[float]) -> float | None:
    """Return the lag-1 autocorrelation, in order of measurement; None where it has no meaning.

    r = sum (x_i - m)(x_(i+1) - m) / sum (x_i - m)^2 (Box and Jenkins 1970). Fewer than three
    samples or equal ones have none.
    """
    values = as_samples(samples)
    values = values / (np.max(np.abs(values)) or 1.0)  # so that no square overflows
    off = values - values.mean()
    squares = float(off @ off)
    if len(values) < 3 or squares <= len(values) * np.finfo(float).eps ** 2:
        return None
    return float(off[:-1] @ off[1:]) / squares


def effective_size(samples: Sequence[float]) -> float:
    """Return how many independent samples these are worth: n (1 - r) / (1 + r), at most n.

    Exact for a mean of a first-order autoregressive series (Bayley and Hammersley 1946); negative
    autocorrelation, which would give more than n, is taken as none.
    """
    n, r = len(samples), autocorrelation(samples)
    if r is None or r <= 0:
        return float(n)
    return max(1.0, n * (1 - r) / (1 + r))


def outliers(samples: Sequence[float]) -> tuple[int, ...]:
    """Return the places of samples beyond Tukey's fences, q1 - 1.5 IQR and q3 + 1.5 IQR (1977)."""
    q1, _, q3 = quartiles(samples)
    reach = FENCE * (q3 - q1)
    return tuple(i for i, x in enumerate(samples) if x < q1 - reach or x > q3 + reach)


def modes(samples: Sequence[float]) -> Modes | None:
    """Return two clusters if the samples fall apart into such, else None.

    The split is the one of least variance within (Otsu 1979; Fisher 1958 for one dimension). It
    counts if it explains more than 85 % of the variance - of a normal sample the best split
    explains 2 / pi = 64 %, of a uniform one 75 % - and if the smaller side holds a tenth.
    """
    values = np.sort(as_samples(samples))
    if len(values) < FEWEST or values[0] == values[-1]:
        return None
    values = values / (np.max(np.abs(values)) or 1.0)
    at, explained = _split(values)
    smaller = min(at, len(values) - at) / len(values)
    if explained <= BIMODAL or smaller < SHARE:
        return None
    ordered = sorted(samples)
    return Modes(low=median(ordered[:at]), high=median(ordered[at:]), share=1 - at / len(ordered))


def spread_between(samples: Sequence[float], launches: Sequence[int]) -> float | None:
    """Return (largest - smallest) / median of the medians by launch; None for a single launch.

    Args:
        samples: of all launches, one after the other.
        launches: how many of them each process took.
    """
    if len(launches) < 2 or sum(launches) != len(samples):
        return None
    ends = np.cumsum(launches)
    medians = [median(samples[end - n : end]) for n, end in zip(launches, ends, strict=True) if n]
    middle = median(medians)
    return (max(medians) - min(medians)) / middle if middle else None


def _split(ordered: Array) -> tuple[int, float]:
    """Return the best split of sorted samples and the share of variance that it explains."""
    n = len(ordered)
    below = np.arange(1, n)
    sums = np.cumsum(ordered)[:-1]
    total = float(ordered.sum())
    means = sums / below, (total - sums) / (n - below)
    between = below * (n - below) / n**2 * (means[1] - means[0]) ** 2
    best = int(np.argmax(between))
    variance = float(np.var(ordered))
    explained = float(between[best]) / variance if variance > 0 else math.nan
    return best + 1, explained
