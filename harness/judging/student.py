"""Student's t distribution: the tail and its inverse, in the standard library's arithmetic."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

_TINY = 1e-300
_EPSILON = 1e-15
_STEPS = 500  # of the continued fraction; 20 to 60 suffice for what a gate asks


def tail(t: float, df: float) -> float:
    """Return P(T > t) for Student's t with `df` degrees of freedom, which need not be whole.

    P(T > t) = I_x(df / 2, 1 / 2) / 2 with x = df / (df + t^2) for t >= 0 (Abramowitz and Stegun
    26.5.27), where I is the regularized incomplete beta function. Relative error below 1e-10.

    Raises:
        ValueError: no positive degrees of freedom.
    """
    if not df > 0:
        raise ValueError(f"Student's t needs positive degrees of freedom, not {df:g}")
    if math.isnan(t):
        return math.nan
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    half = 0.5 * incomplete_beta(df / 2, 0.5, df / (df + t * t))
    return half if t >= 0 else 1.0 - half


@functools.lru_cache(maxsize=4096)
def point(p: float, df: float) -> float:
    """Return the t with P(T > t) = p, by Newton's steps on log P, kept within a bracket.

    Raises:
        ValueError: p outside (0, 1).
    """
    if not 0 < p < 1:
        raise ValueError(f"a tail has a probability between 0 and 1, not {p:g}")
    if p > 0.5:
        return -point(1 - p, df)
    low, high, t = 0.0, math.inf, max(0.0, _guess(p, df))
    for _ in range(200):
        there = tail(t, df)
        if there > p:
            low = t
        else:
            high = t
        step = t + (math.log(there) - math.log(p)) * there / _density(t, df)
        if not low < step < high:
            step = 2 * t + 1 if math.isinf(high) else (low + high) / 2
        if abs(step - t) <= 1e-12 * step:
            return step
        t = step
    return t


def _guess(p: float, df: float) -> float:
    """Return the first terms of Cornish and Fisher's expansion about the normal quantile."""
    z = NormalDist().inv_cdf(1 - p)
    third = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df * df)
    return z + (z**3 + z) / (4 * df) + third


def _density(t: float, df: float) -> float:
    log_front = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    return math.exp(log_front - (df + 1) / 2 * math.log1p(t * t / df))


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return I_x(a, b), by the continued fraction of DLMF 8.17.22 (Lentz's algorithm)."""
    if not 0 < x < 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # there the fraction of the other side converges
        return 1.0 - incomplete_beta(b, a, 1 - x)
    log_front = (
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * math.log(x)
        + b * math.log1p(-x)
        - math.log(a)
    )
    return math.exp(log_front) / _fraction(a, b, x)


def _fraction(a: float, b: float, x: float) -> float:
    value = numerator = 1.0
    denominator = 0.0
    for step in range(1, _STEPS):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominator = 1 / _away(1 + term * denominator)
        numerator = _away(1 + term / numerator)
        value *= numerator * denominator
        if abs(numerator * denominator - 1) < _EPSILON:
            break
    return value


def _away(value: float) -> float:
    """Keep a divisor from zero."""
    return value if abs(value) > _TINY else _TINY
