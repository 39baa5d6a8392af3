"""Raw samples of one measurement: distribution, order, memory, and what to doubt. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dashboard import theme
from harness import diagnostics, stats

MOST_LAGS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Autocorrelation:
    """How much samples remember of earlier ones, by lag."""

    lags: tuple[int, ...]
    values: tuple[float, ...]
    bound: float  # 1.96 / sqrt(n): within it, independent samples lie 19 times of 20


def ecdf(samples: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return sorted samples and the share that is not above each."""
    ordered = sorted(samples)
    return ordered, [(i + 1) / len(ordered) for i in range(len(ordered))]


def autocorrelations(samples: Sequence[float]) -> Autocorrelation | None:
    """Return r_k = sum (x_i - m)(x_(i+k) - m) / sum (x_i - m)^2 (Box and Jenkins 1970).

    None for fewer samples than `diagnostics.FEWEST`, or equal ones.
    """
    n = len(samples)
    if n < diagnostics.FEWEST or diagnostics.autocorrelation(samples) is None:
        return None
    mean = math.fsum(samples) / n
    off = [x - mean for x in samples]
    squares = math.fsum(x * x for x in off)
    lags = tuple(range(1, min(MOST_LAGS, n // 2) + 1))
    values = (math.fsum(a * b for a, b in zip(off, off[k:], strict=False)) / squares for k in lags)
    return Autocorrelation(lags=lags, values=tuple(values), bound=1.96 / math.sqrt(n))


def warnings(samples: Sequence[float], unit: str, launches: Sequence[int] = ()) -> list[str]:
    """Return what a reader should doubt, in words; nothing is trimmed because of it."""
    told: list[str] = []
    n = len(samples)
    if n == 1:
        return []  # of what is counted one value says all
    if n < stats.MIN_SAMPLES:
        return [f"{n} samples are too few for an interval of the median ({stats.MIN_SAMPLES})."]
    found = diagnostics.modes(samples)
    if found:
        low, high = (theme.quantity(each, unit) for each in (found.low, found.high))
        told.append(
            f"The samples fall into two groups, at {low} and {high} "
            f"({100 * found.share:.0f} % in the upper one): a median between them means little."
        )
    wild = diagnostics.outliers(samples)
    if wild:
        told.append(
            f"{len(wild)} of {n} samples lie beyond Tukey's fences; they are kept and counted."
        )
    r = diagnostics.autocorrelation(samples) if n >= diagnostics.FEWEST else None
    if r is not None and abs(r) > 1.96 / math.sqrt(n):
        worth = diagnostics.effective_size(samples)
        told.append(
            f"Neighbours resemble each other (lag-1 autocorrelation {r:.2f}): these {n} samples "
            f"are worth about {worth:.0f} independent ones, so intervals are too narrow."
        )
    between = diagnostics.spread_between(samples, launches)
    if between is not None and between > 0.05:
        told.append(f"The medians of the launches differ by {100 * between:.0f} % of the median.")
    return told


def summary(
    samples: Sequence[float], unit: str, interval: tuple[float, float]
) -> list[tuple[str, str]]:
    """Return the usual statistics, in words and with units; the interval is that of the table."""
    found = stats.summarize(samples)
    span = "too few launches or samples"
    if all(map(math.isfinite, interval)):
        span = " to ".join(theme.quantity(bound, unit) for bound in interval)
    return [
        ("median", theme.quantity(found.median, unit)),
        ("95 % interval of the median", span),
        ("quartiles", f"{theme.quantity(found.q1, unit)} to {theme.quantity(found.q3, unit)}"),
        (
            "range",
            f"{theme.quantity(found.minimum, unit)} to {theme.quantity(found.maximum, unit)}",
        ),
        ("median absolute deviation", theme.quantity(found.mad, unit)),
        ("samples", str(found.n)),
    ]
