"""What a chart shows, in sentences: numbers with unit, interval and conditions. Pure."""

from __future__ import annotations

from collections import Counter

from dashboard import theme
from dashboard.curves import Chart, Curve, Point
from harness import replicates, stats


def headline(chart: Chart) -> str:
    """Return the finding at the longest length that anybody reached, and what has no number."""
    measured = {n for curve in chart.curves for n in curve.at}
    failures = _failures(chart)
    if not measured:
        return f"No cell of this selection has a number{failures and f': {failures}'}."
    length = max(measured)
    sentence = f"At {theme.length(length)} tokens, {_at(chart, length)}."
    missing = len({f"{c.contender} {f.length}" for c in chart.curves for f in c.failures})
    return sentence + (f" Without a number: {missing} cells ({failures})." if missing else "")


def answer(time: Chart, memory: Chart, fixed: dict[str, str]) -> str:
    """Return what to use at the longest length that anybody reached: speed, memory, what failed."""
    measured = {n for curve in time.curves for n in curve.at}
    where = ", ".join(fixed[name] for name in ("dtype", "device") if name in fixed)
    if not measured:
        return headline(time)
    length = max(measured)
    head = f"At {theme.length(length)} tokens, {time.phase} in {where}: {_at(time, length)}."
    parts = [head]
    if time.metric != memory.metric and any(length in curve.at for curve in memory.curves):
        parts.append(f"Memory: {_at(memory, length)}.")
    failures = _failures(time)
    missing = len({f"{c.contender} {f.length}" for c in time.curves for f in c.failures})
    total = sum(len(curve.lengths) for curve in time.curves)
    parts.append(
        f"{missing} of {total} cells have no number ({failures})."
        if missing
        else f"All {total} cells were measured."
    )
    parts += [line for line in crossovers(time) if " from " in line][:3]
    return "\n".join(parts)


def _at(chart: Chart, length: int) -> str:
    there = [(curve, curve.at[length]) for curve in chart.curves if length in curve.at]
    ranked = sorted(there, key=lambda each: each[1].value, reverse=chart.better == "higher")
    return _winner(chart, ranked)


def frontier(chart: Chart) -> str:
    """Return how long sequences may be within the budget, the longest first; empty without any."""
    reached = [(curve.contender, curve.points[-1].length) for curve in chart.curves if curve.points]
    if not reached:
        return ""
    ranked = sorted(reached, key=lambda each: -each[1])
    told = ", ".join(f"{name} {theme.length(n)}" for name, n in ranked)
    return f"Longest sequences that fit, in tokens: {told}."


def crossovers(chart: Chart) -> list[str]:
    """Return for each contender but the baseline where it becomes better than the baseline."""
    base = next((curve for curve in chart.curves if curve.is_baseline), None)
    if base is None:
        return []
    others = [curve for curve in chart.curves if curve is not base]
    word = theme.metric(chart.metric).comparative
    return [_crossover(base, other, word) for other in others if other.points and base.points]


def exponents(chart: Chart) -> list[str]:
    """Return the fitted growth of each curve that has enough lengths."""
    return [
        f"{curve.contender}: n^{theme.power(fit.exponent)} "
        f"({theme.power(fit.lo)} to {theme.power(fit.hi)}; "
        f"{theme.length(fit.from_length)} to {theme.length(fit.to_length)} tokens), "
        f"{theme.TIMES}{fit.per_doubling:.2f} per doubling"
        for curve in chart.curves
        if (fit := curve.exponent)
    ]


def caption(chart: Chart, fixed: dict[str, str], environments: int, *, drawn: bool = True) -> str:
    """Return the conditions: samples, phase, device, type, instrument, and what mixes.

    With `drawn`, bands and guides are explained.
    """
    few, many = chart.counts or (0, 0)
    n = str(few) if few == many else f"{few} to {many}"
    parts = [
        f"n = {n} a point" if many else "no numbers",
        chart.phase,
        *(f"{k} {v}" for k, v in fixed.items()),
    ]
    if drawn and many >= stats.MIN_SAMPLES:
        parts.append("bands: 95 % interval of the median")
    elif drawn and many > 1:
        parts.append(f"too few samples for an interval (under {stats.MIN_SAMPLES})")
    if drawn and chart.has_guides:
        parts.append("grey dots: growth as n and n²")
    parts.extend(chart.methods)
    if chart.zeros:
        parts.append(f"{chart.zeros} cells measured as 0 are not drawn on a logarithmic axis")
    if environments > 1:
        parts.append(f"measured in {environments} environments, so points may not be comparable")
    return " · ".join(parts)


def _winner(chart: Chart, ranked: list[tuple[Curve, Point]]) -> str:
    curve, point = ranked[0]
    words = theme.metric(chart.metric)
    value = theme.quantity(point.value, chart.unit)
    if len(ranked) == 1:
        return f"only {curve.contender} has a number: {value}"
    other, second = ranked[1]
    interval = replicates.ratio_interval(second, point)
    if interval and interval.lo <= 1 <= interval.hi:
        return (
            f"no difference can be shown between {curve.contender} ({value}) and "
            f"{other.contender} ({theme.quantity(second.value, chart.unit)})"
        )
    return (
        f"{curve.contender} is {words.best} ({value}), {_factor(point, second)} "
        f"{words.comparative} than {other.contender}{_certainty(point, second, interval)}"
    )


def _factor(point: Point, other: Point) -> str:
    """Return how many times one is better: 1.22x."""
    low, high = sorted((point.value, other.value))
    return f"{theme.digits(high / low)}{theme.TIMES}"


def _certainty(point: Point, other: Point, interval: stats.Interval | None) -> str:
    """Return the interval of the factor, or why there is none; what is counted has none."""
    if interval:
        lo, hi = sorted(bound if bound > 1 else 1 / bound for bound in interval)
        return f" (95 % interval {theme.digits(lo)} to {theme.digits(hi)})"
    fewest = min(len(point.samples), len(other.samples))
    return f" ({fewest} samples are too few for an interval)" if fewest > 1 else ""


def _crossover(base: Curve, other: Curve, word: str) -> str:
    if not other.shared:
        return f"{other.contender} and {base.contender} share no measured length."
    last = theme.length(other.shared[-1])
    found = other.crossover
    if found is None:
        return f"{other.contender} is not {word} than {base.contender} at {last} tokens."
    if found.everywhere:
        first = theme.length(other.shared[0])
        return f"{other.contender} is {word} than {base.contender} from {first} to {last} tokens."
    interval = ""
    if found.lo is not None and found.hi is not None:
        interval = f" (95 % interval {theme.length(found.lo)} to {theme.length(found.hi)})"
    turns = f"; the order changes {found.changes} times" if found.changes > 1 else ""
    at = theme.length(found.length)
    return f"{other.contender} is {word} than {base.contender} from {at} tokens{interval}{turns}."


def _failures(chart: Chart) -> str:
    counts = Counter(failure.outcome for curve in chart.curves for failure in curve.failures)
    return ", ".join(f"{n} {outcome.replace('_', ' ')}" for outcome, n in sorted(counts.items()))
