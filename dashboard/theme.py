"""Colours, marks, words and numbers: the same on every page.

The eight colours keep 3:1 contrast on white and on near-black, and at least 10.9 CIEDE2000 apart
under protanopia, deuteranopia and tritanopia (Machado et al. 2009). Colour never stands alone:
dash and marker say the same.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass

PALETTE = (
    *("#8080ff", "#ff4080", "#806000", "#408060"),
    *("#bf0080", "#809f00", "#8020ff", "#609f9f"),
)
DASHES = (
    "solid",
    "dash",
    "dot",
    "dashdot",
    "longdash",
    "longdashdot",
    "2px,5px",
    "9px,2px,2px,2px",
)
MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
GLYPHS = ("●", "■", "◆", "▲", "▼", "✚", "✖", "★")
TIMES = "\N{MULTIPLICATION SIGN}"
GREY = "#888888"  # contenders past the eighth, guide lines

OUTCOMES = {  # outcome -> glyph and short word of the strip above a chart
    "out_of_memory": ("✕", "OOM"),
    "timeout": ("◷", "timeout"),
    "implied": ("⋯", "implied"),
    "wrong": ("≠", "wrong"),
    "crashed": ("†", "crashed"),
    "error": ("!", "error"),
    "unsupported": ("∅", "unsupported"),
    "skipped": ("\N{EN DASH}", "skipped"),
    "diverged": ("∞", "diverged"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a contender looks, wherever it appears."""

    color: str
    dash: str
    marker: str
    glyph: str  # the marker as text


@dataclass(frozen=True, slots=True, kw_only=True)
class Ink:
    """Colours of what is not data."""

    text: str
    quiet: str  # captions inside a chart
    grid: str
    paper: str


INK = {
    "light": Ink(text="#262730", quiet="#5c6070", grid="#e3e5ea", paper="#ffffff"),
    "dark": Ink(text="#f5f4f2", quiet="#a9adba", grid="#33363f", paper="#171614"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What a metric is called."""

    tab: str  # short, on the switch
    quantity: str  # on the axis
    best: str  # "fastest"
    comparative: str  # "faster": with a factor


METRICS = {
    "latency": Metric(tab="Time", quantity="Time per step", best="fastest", comparative="faster"),
    "peak_memory": Metric(
        tab="Memory", quantity="Peak memory", best="smallest", comparative="smaller"
    ),
    "latency_wall": Metric(
        tab="Wall time", quantity="Wall time per step", best="fastest", comparative="faster"
    ),
    "peak_rss": Metric(
        tab="Peak RSS", quantity="Peak resident memory", best="smallest", comparative="smaller"
    ),
    "baseline_rss": Metric(
        tab="Baseline RSS",
        quantity="Resident memory before the step",
        best="smallest",
        comparative="smaller",
    ),
    "flops_model": Metric(
        tab="Model FLOPs", quantity="FLOPs of the problem", best="lowest", comparative="lower"
    ),
    "flops_executed": Metric(
        tab="Executed FLOPs", quantity="FLOPs as computed", best="lowest", comparative="lower"
    ),
    "throughput": Metric(
        tab="Tokens per second", quantity="Tokens per second", best="fastest", comparative="faster"
    ),
}
STEPS = {  # unit -> (size, symbol) by growing size
    "s": ((1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")),
    "byte": ((1, "B"), (2**10, "KiB"), (2**20, "MiB"), (2**30, "GiB"), (2**40, "TiB")),
    "flop": ((1, "FLOP"), (1e3, "kFLOP"), (1e6, "MFLOP"), (1e9, "GFLOP"), (1e12, "TFLOP")),
    "token/s": ((1, "tokens/s"), (1e3, "k tokens/s"), (1e6, "M tokens/s")),
    "1": ((1, ""),),
}


def style(slot: int) -> Style:
    """Return the look of the contender that stands at a place of the suite."""
    i = slot % len(PALETTE)
    color = PALETTE[i] if slot < len(PALETTE) else GREY
    return Style(color=color, dash=DASHES[i], marker=MARKERS[i], glyph=GLYPHS[i])


def metric(name: str) -> Metric:
    """Return the words of a metric; one that is new here is called by its name."""
    words = name.replace("_", " ")
    plain = Metric(
        tab=words.capitalize(), quantity=words.capitalize(), best="lowest", comparative="lower"
    )
    return METRICS.get(name, plain)


def outcome(name: str) -> tuple[str, str]:
    """Return glyph and word of an outcome; one that is new here is called by its name."""
    return OUTCOMES.get(name, ("?", name))


def step(value: float, unit: str) -> tuple[float, str]:
    """Return size and symbol of the step that writes a value with 1 to 999 before the point."""
    steps = STEPS.get(unit, ((1, unit),))
    rounded = abs(float(f"{value:.3g}"))
    fitting = [each for each in steps if each[0] <= rounded * (1 + 1e-9)]
    return fitting[-1] if fitting else steps[0]


def quantity(value: float, unit: str) -> str:
    """Write a value with three digits and its unit: 12.3 ms, 1.50 GiB."""
    size, symbol = step(value, unit)
    return f"{digits(value / size)} {symbol}".strip()


def digits(value: float) -> str:
    """Write a number with three significant digits and without an exponent where it is short."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    rounded = float(f"{value:.3g}")
    places = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:.{places}f}" if abs(rounded) >= 1e-3 else f"{value:.3g}"


def power(exponent: float) -> str:
    """Write an exponent with two places, and without the sign of a zero."""
    return f"{exponent:.2f}".replace("-0.00", "0.00")


def length(tokens: float) -> str:
    """Write a sequence length: 512, 1k, 1.5k, 64k (k = 1024 tokens, M = 1024 k)."""
    for size, symbol in ((2**20, "M"), (2**10, "k")):
        if tokens >= size:
            return f"{float(f'{tokens / size:.3g}'):g}{symbol}"
    return f"{float(f'{tokens:.3g}'):g}"


def short(name: str, most: int = 28) -> str:
    """Return a name that is cut, visibly, where it is too long for a chart."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def label(name: str) -> str:
    """Return a name for a chart, where Plotly would read tags."""
    return html.escape(short(name))
