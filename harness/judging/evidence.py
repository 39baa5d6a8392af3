"""Counting evidence: many tests at once, solved runs, items that changed sides."""

from __future__ import annotations

import math
from collections.abc import Sequence

_GRID = 400  # values of the nuisance parameter that Boschloo's test looks at


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by Benjamini and Hochberg (1995), in order.

    Calling those at most q differences makes the expected share of false ones among them at most q.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i], reverse=True)
    found, least = [1.0] * len(p_values), 1.0
    for place, i in enumerate(order):
        least = min(least, p_values[i] * len(p_values) / (len(p_values) - place))
        found[i] = least
    return found


def fewer_solved(base: tuple[int, int], candidate: tuple[int, int]) -> float:
    """Return the one-sided p-value of "the candidate solves as often as the base".

    Boschloo (1970): Fisher's exact p-value as the statistic of an unconditional exact test; its
    supremum over the common probability of solving is taken on a grid.

    Args:
        base: solved, out of.
        candidate: solved, out of.
    """
    (k1, n1), (k2, n2) = base, candidate
    if k2 * n1 >= k1 * n2:
        return 1.0
    seen = _fisher(k1, n1, k2, n2)
    region = [
        (i, j)
        for i in range(n1 + 1)
        for j in range(n2 + 1)
        if _fisher(i, n1, j, n2) <= seen * (1 + 1e-9)
    ]
    return min(1.0, max(_mass(region, n1, n2, step / _GRID) for step in range(1, _GRID)))


def lost_items(lost: int, won: int) -> float:
    """Return the one-sided p-value of "items change sides as often one way as the other".

    McNemar's exact test: of `lost` + `won` items that only one side got right, P(at least `lost`)
    under Bin(lost + won, 1 / 2).
    """
    n = lost + won
    return sum(math.comb(n, k) for k in range(lost, n + 1)) / 2**n


def _fisher(k1: int, n1: int, k2: int, n2: int) -> float:
    """Return P(at most k2 of the solved ones are the candidate's), given their total."""
    total = k1 + k2
    ways = math.comb(n1 + n2, total)
    low = max(0, total - n1)
    return sum(math.comb(n2, j) * math.comb(n1, total - j) for j in range(low, k2 + 1)) / ways


def _mass(region: Sequence[tuple[int, int]], n1: int, n2: int, p: float) -> float:
    first = [math.comb(n1, i) * p**i * (1 - p) ** (n1 - i) for i in range(n1 + 1)]
    second = [math.comb(n2, j) * p**j * (1 - p) ** (n2 - j) for j in range(n2 + 1)]
    return sum(first[i] * second[j] for i, j in region)
