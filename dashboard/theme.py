"""Inks, words and numbers: the same on every page."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard import looks

TIMES = "\N{MULTIPLICATION SIGN}"
GREY = looks.GREY
MARKDOWN = "\\`*_{}[]<>()#+!|$:~"  # letters that mean something to it

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
MEANINGS = {
    "ok": "measured, and its values proved against the float64 reference",
    "out_of_memory": "a step asked for more memory than there is, or than its budget",
    "timeout": "no answer within the time of the protocol",
    "implied": "not tried: a shorter cell of the contender ran out of memory or time",
    "wrong": "values or gradients differ from the float64 reference; no number is kept",
    "crashed": "the process died by a signal or left without a word",
    "error": "an exception that none of the others names",
    "unsupported": "the mechanism or its impl says that it cannot run this cell",
    "skipped": "left out by the suite, with its reason",
    "diverged": "training ended in a loss that is no number, at every learning rate",
}


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
    best: str = "lowest"  # "fastest"
    comparative: str = "lower"  # "faster": with a factor, where it is better
    worse: str = "higher"  # "slower": with a factor, where it is worse


SPEED = {"best": "fastest", "comparative": "faster", "worse": "slower"}
SIZE = {"best": "smallest", "comparative": "smaller", "worse": "larger"}
SCORE = {"best": "best", "comparative": "higher", "worse": "lower"}
METRICS = {
    "latency": Metric(tab="Time", quantity="Time per step", **SPEED),
    "latency_wall": Metric(tab="Wall time", quantity="Wall time per step", **SPEED),
    "throughput": Metric(tab="Tokens per second", quantity="Tokens per second", **SPEED),
    "peak_memory": Metric(tab="Memory", quantity="Peak memory", **SIZE),
    "peak_rss": Metric(tab="Peak RSS", quantity="Peak resident memory", **SIZE),
    "baseline_rss": Metric(tab="Baseline RSS", quantity="Resident memory before the step", **SIZE),
    "ledger_total": Metric(tab="Memory, whole process", quantity="Memory of the process", **SIZE),
    "energy": Metric(tab="Energy", quantity="Energy per step"),
    "joules_per_token": Metric(tab="Joules per token", quantity="Energy per token"),
    "flops_model": Metric(tab="Model FLOPs", quantity="FLOPs of the problem"),
    "flops_executed": Metric(tab="Executed FLOPs", quantity="FLOPs as computed"),
    "rate_model": Metric(tab="Model FLOP/s", quantity="FLOP/s of the problem", **SCORE),
    "rate_executed": Metric(tab="Executed FLOP/s", quantity="FLOP/s as computed", **SCORE),
    "error": Metric(tab="Error", quantity="Relative error of the output"),
    "error_eager": Metric(tab="Error of eager", quantity="Relative error of eager exact attention"),
    "attention_recall": Metric(tab="Attention recall", quantity="Attention mass recalled", **SCORE),
    "quality": Metric(tab="Quality", quantity="Score of the task", **SCORE),
    "frontier": Metric(
        tab="Frontier",
        quantity="Longest sequence that fits",
        best="longest",
        comparative="longer",
        worse="shorter",
    ),
}
STEPS = {  # unit -> (size, symbol) by growing size
    "s": ((1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")),
    "byte": ((1, "B"), (2**10, "KiB"), (2**20, "MiB"), (2**30, "GiB"), (2**40, "TiB")),
    "flop": ((1, "FLOP"), (1e3, "kFLOP"), (1e6, "MFLOP"), (1e9, "GFLOP"), (1e12, "TFLOP")),
    "J": ((1e-9, "nJ"), (1e-6, "µJ"), (1e-3, "mJ"), (1.0, "J"), (1e3, "kJ")),
    "J/token": ((1e-9, "nJ/token"), (1e-6, "µJ/token"), (1e-3, "mJ/token"), (1.0, "J/token")),
    "flop/s": tuple((1e3**i, f"{p}FLOP/s") for i, p in enumerate(("", "k", "M", "G", "T", "P"))),
    "byte/s": tuple((1e3**i, f"{p}B/s") for i, p in enumerate(("", "k", "M", "G", "T"))),
    "flop/byte": ((1, "FLOP/B"),),
    "token/s": ((1, "tokens/s"), (1e3, "k tokens/s"), (1e6, "M tokens/s")),
    "1": ((1, ""),),
}


def metric(name: str) -> Metric:
    """Return the words of a metric; one that is new here is called by its name."""
    words = name.replace("_", " ").capitalize()
    return METRICS.get(name, Metric(tab=words, quantity=words))


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


def wrapped(text: str, width: int = 70, most: int = 400) -> str:
    """Return text in lines of about `width` letters, fit for Plotly, which would read tags."""
    return "<br>".join(html.escape(line) for line in textwrap.wrap(text[:most], width))


def escape(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in MARKDOWN else letter for letter in text)


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a Markdown table; every cell shows as it is."""
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names)]
    lines += [["" if row.get(n) is None else escape(str(row[n])) for n in names] for row in rows]
    return [f"| {' | '.join(' '.join(cell.split()) for cell in line)} |" for line in lines]
