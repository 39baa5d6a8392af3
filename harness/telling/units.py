"""Numbers as people read them: three significant digits, SI steps, binary steps for bytes.

Records hold nanoseconds, bytes, FLOPs and tokens per second; only here are they scaled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.lengths import KILO

STEPS = {
    "ns": ((1e0, "ns"), (1e3, "us"), (1e6, "ms"), (1e9, "s")),
    "byte": ((1, "B"), (2**10, "KiB"), (2**20, "MiB"), (2**30, "GiB"), (2**40, "TiB")),
    "flop": tuple((1e3**i, f"{p}FLOP") for i, p in enumerate(("", "k", "M", "G", "T", "P"))),
    "J": ((1e-9, "nJ"), (1e-6, "uJ"), (1e-3, "mJ"), (1e0, "J"), (1e3, "kJ")),
    "flop/s": tuple((1e3**i, f"{p}FLOP/s") for i, p in enumerate(("", "k", "M", "G", "T", "P"))),
    "byte/s": tuple((1e3**i, f"{p}B/s") for i, p in enumerate(("", "k", "M", "G", "T"))),
    "flop/byte": ((1, "FLOP/B"),),
    "token/s": ((1, "token/s"), (1e3, "ktoken/s"), (1e6, "Mtoken/s")),
    "1": ((1, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")),
}
WIDEST = 1e5  # a scaled value from here on is too long for a table


@dataclass(frozen=True, slots=True)
class Scale:
    """One step of a unit."""

    factor: float
    name: str

    def text(self, value: float) -> str:
        """Return a value of the unscaled unit as a number on this step, without the name."""
        return number(value / self.factor)

    def fits(self, values: Sequence[float]) -> bool:
        """Say whether all values are short numbers on this step."""
        sizes = [abs(value) / self.factor for value in values if value]
        return not sizes or (max(sizes) < WIDEST and min(sizes) >= 1 / WIDEST)


def scale(values: Sequence[float], unit: str) -> Scale:
    """Return the step on which the geometric middle of the values has one to three digits."""
    steps = STEPS[unit]
    sizes = [math.log(abs(value)) for value in values if value]
    middle = math.exp(math.fsum(sizes) / len(sizes)) if sizes else 0.0
    fitting = [step for step in steps if step[0] <= middle * (1 + 1e-9)]
    return Scale(*(fitting[-1] if fitting else steps[0]))


def number(value: float) -> str:
    """Return three significant digits, `0.512`, `12.3`, `3050`; powers of ten at the far ends."""
    rounded = float(f"{value:.3g}")
    if rounded == 0:
        return "0"
    size = abs(rounded)
    if not 1e-4 <= size < 1e6:
        return f"{value:.3g}"
    return f"{rounded:.{max(0, 2 - math.floor(math.log10(size)))}f}"


def quantity(value: float, unit: str) -> str:
    """Return one value with its unit: `12.3 ms`, `1.50 GiB`."""
    step = scale([value], unit)
    gap = "" if unit == "1" else " "
    return f"{step.text(value)}{gap}{step.name}"


def span(lo: float, hi: float, unit: str) -> str:
    """Return an interval on one step: `12.1 to 12.6 ms`."""
    step = scale([lo, hi], unit)
    return f"{step.text(lo)} to {step.text(hi)} {step.name}".rstrip()


def ratio(value: float) -> str:
    """Return a ratio as `0.77x`, `12.3x`: two decimals around one, else three digits."""
    return f"{value:.2f}x" if 0.095 <= value < 9.995 else f"{number(value)}x"


def length(tokens: float) -> str:
    """Return a length as suites write it: `512`, `8k`; `3.05k` where it was interpolated."""
    if tokens % KILO == 0 and tokens:
        return f"{tokens // KILO:.0f}k"
    if tokens == int(tokens):
        return str(int(tokens))
    return number(tokens) if tokens < KILO else f"{number(tokens / KILO)}k"


def percent(share: float) -> str:
    """Return a share as a percentage with two significant digits."""
    return f"{float(f'{100 * share:.2g}'):g} %"
