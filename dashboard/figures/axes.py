"""Ticks and label places on logarithmic axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from dashboard import theme

MOST_TICKS = 10


def value_ticks(lo: float, hi: float, unit: str) -> tuple[list[float], list[str]]:
    """Return ticks between two positive values and their texts.

    Decades, or 1-2-5 steps where there are few decades; bytes step by powers of two,
    with the half way between where there are few.
    """
    if unit == "byte":
        first, last = math.floor(math.log2(lo)), math.ceil(math.log2(hi))
        stride = max(1, math.ceil((last - first) / MOST_TICKS * 2))
        steps = (1.0, 1.5) if hi / lo < 8 else (1.0,)
        values = [step * 2.0**k for k in range(first, last + 1, stride) for step in steps]
    else:
        values: list[float] = []
        decades = range(math.floor(math.log10(lo)), math.ceil(math.log10(hi)) + 1)
        several = ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8))
        choices = ((1,), *several) if math.log10(hi / lo) > 2 else several
        for steps in choices:  # the coarsest with two ticks at least
            values = [step * 10.0**k for k in decades for step in steps]
            if sum(lo <= value <= hi for value in values) > 1:
                break
    inside = [value for value in values if lo <= value <= hi] or [math.sqrt(lo * hi)]
    return inside, [_tick(value, unit) for value in inside]


def length_ticks(lengths: Sequence[int]) -> tuple[list[int], list[str]]:
    """Return the measured lengths, thinned out evenly where there are many, and their texts."""
    stride = math.ceil(len(lengths) / MOST_TICKS)
    shown = list(lengths[::-1][::stride][::-1]) if stride else []
    return shown, [theme.length(n) for n in shown]


def bounds(values: Sequence[float], pad: float) -> tuple[float, float]:
    """Return bounds wider than positive values by a share of their decades, half a decade apart."""
    lo, hi = math.log10(min(values)), math.log10(max(values))
    reach = max(pad * (hi - lo), (0.5 - (hi - lo)) / 2)
    return 10 ** (lo - reach), 10 ** (hi + reach)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move places apart until neighbours are `gap` from each other, as little as possible.

    Places that would touch form a block around their mean (pool adjacent violators).
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    blocks: list[list[float]] = []  # [sum of (place - offset in block), members]
    for i in order:
        blocks.append([places[i], 1])
        while len(blocks) > 1 and _start(blocks[-1], gap) < _end(blocks[-2], gap) + gap:
            total, members = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += members
    moved = itertools.chain.from_iterable(
        (_start(block, gap) + k * gap for k in range(int(block[1]))) for block in blocks
    )
    return [place for _, place in sorted(zip(order, moved, strict=True))]


def _tick(value: float, unit: str) -> str:
    size, symbol = theme.step(value, unit)
    return f"{float(f'{value / size:.3g}'):g} {symbol.removesuffix('tokens/s')}".strip()


def _start(block: list[float], gap: float) -> float:
    total, members = block
    return total / members - (members - 1) * gap / 2


def _end(block: list[float], gap: float) -> float:
    return _start(block, gap) + (block[1] - 1) * gap
