"""The texts of the page Method."""

from __future__ import annotations

MEASURING = """
Every number is the median of raw samples that are kept and can be seen on *Cell*. An interval is
95 %, of the median, without assumptions about the distribution; below six samples there is none.
Nothing is trimmed, nothing is imputed: a cell without a number says why and is left out of every
mean, and lines break there. Lengths are in tokens, k = 1024. Bytes are binary: 1 GiB = 2³⁰.
Colours belong to attention variants and are the same on every page; dash and marker say the same.
"""

WORDS = {
    "cell": "one point of the grid: contender, phase, length, shape, type, device, seed",
    "contender": "an entry of a suite: a model with an attention and a way to compute it; the "
    "first is the baseline",
    "variant": "an attention mechanism, the mathematics: full, local, LSH, ...",
    "impl": "one way to compute a variant: eager, sdpa, flex, triton, ...",
    "phase": "forward; train step: forward, backward and optimizer; prefill; decode",
    "time": "on a CPU process CPU time of one step, on CUDA the time between events",
    "peak memory": "what a step needs beyond its parameters and its input",
    "crossover": "the length from which a contender stays better than the baseline",
    "frontier (of lengths)": "the longest sequence that fits a memory budget",
    "frontier (of trade-offs)": "the contenders that no other beats in both figures",
    "quality, error": "scores of trained models; distance of an approximation from exact attention",
    "attention recall": "the share of exact softmax mass on the keys that a mechanism visits",
    "environment": "what must be equal before times may be compared: device, versions, settings",
    "verdict": "better or worse: the whole interval lies outside the noise band; unchanged: wholly "
    "inside; cannot tell: it reaches over the edge",
    "step (of history)": "a change between two runs that stayed",
    "ledger": "the peak of a step, account by account, with what remains unexplained",
}

FORMULAE = (
    (
        "Interval of the median",
        "[x₍ₖ₎, x₍ₙ₊₁₋ₖ₎]   with the largest k for which   2 P(Bin(n, 1/2) < k) ≤ 0.05",
        "Order statistics; any distribution (David and Nagaraja 2003, 7.1).",
    ),
    (
        "Ratio of two runs",
        "log(m₂ / m₁) ± 1.96 √(v₁ + v₂)",
        "Medians m with the variances v of log-medians after Price and Bonett (2002).",
    ),
    (
        "Growth",
        "value ~ nᵖ",
        "Least squares on logarithms over the lengths where fixed costs are at most a quarter, or "
        "the upper half; the interval is a bootstrap over samples. It covers noise, not curvature.",
    ),
    (
        "Crossover",
        "log(contender(n) / baseline(n)) = 0",
        "Interpolated between two measured lengths; never extrapolated.",
    ),
    (
        "Roofline",
        "min(peak, intensity · bandwidth)",
        "Executed FLOPs over bytes moved (Williams, Waterman, Patterson 2009). Peaks are measured "
        "in the run or taken from a data sheet; the chart says which.",
    ),
    (
        "Autocorrelation",
        "rₖ = Σᵢ (xᵢ - m)(xᵢ₊ₖ - m) / Σᵢ (xᵢ - m)²",
        "Beyond 1.96 / sqrt(n) samples resemble their neighbours, and intervals are too narrow.",
    ),
)

LIMITS = (
    "Medians of one machine say little about another: look at Environments first.",
    "Intervals take samples as independent. Cell says where they are not.",
    "An approximation that is fast may have lost what matters: time and memory without quality "
    "decide nothing.",
    "On a CPU memory is resident memory; small cells read a few MiB too high or low.",
    "A cell that was implied was not tried: a shorter one ran out of memory or time.",
    "Joules per token need a counter that the system lets us read; without one there is no number.",
)
