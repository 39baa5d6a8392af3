"""The answer to a suite's question in plain sentences, from what was measured and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from harness import stats
from harness.judging.change import relate
from harness.judging.panels import Line, Panel, metrics, panels
from harness.schema import Outcome, Run
from harness.telling import frontiers, qualities, units, words
from harness.telling.caveats import circumstances
from harness.telling.tables import bounds, find_crossover

SUPERLATIVES = {
    "latency": ("is fastest", "are fastest", "faster"),
    "peak_memory": ("needs least memory", "need least memory", "less"),
}
RESOURCES = {"latency": "time", "peak_memory": "memory"}
UNITS = {"latency": "ns", "peak_memory": "byte"}
COMPARATIVES = {
    "latency": ("is faster", "are faster"),
    "peak_memory": ("needs less memory", "need less memory"),
}
NEVER = {
    "latency": ("is never faster", "are never faster"),
    "peak_memory": ("never needs less memory", "never need less memory"),
}
AT_NO_LENGTH = "at no length"


def answer(run: Run) -> str:
    """Return who is fastest and smallest where, what crosses, what failed, and the conditions.

    A sentence a line. One sentence a panel names the winners at each length among the contenders
    that finished there; where the interval of the ratio to the next includes 1, both are named and
    no difference is claimed. Then one sentence each: crossovers with the baseline, failures,
    conditions with what limits the comparison.
    """
    if run.header.frontier is not None:
        return "\n".join(filter(None, (frontiers.answer(run), circumstances(run))))
    found = panels(run)
    if qualities.is_learning(run):
        texts = (qualities.answer(run), _failures(run, found), circumstances(run))
        return "\n".join(text for text in texts if text)
    measured = [metric for metric in metrics(run) if metric in SUPERLATIVES]
    winners = [text for panel in found if (text := _winners(panel, measured))]
    if not winners:
        winners = ["No cell was measured to its end: nothing can be compared."]
    sentences = [*winners, _crossings(found, measured), _failures(run, found), circumstances(run)]
    return "\n".join(text for text in sentences if text)


def _winners(panel: Panel, measured: Sequence[str]) -> str:
    """Say who wins from which length to which, by metric, and how clearly at the longest."""
    parts = [text for metric in measured if (text := _ranges(panel, metric))]
    if not parts:
        return ""
    reached = panel.common_lengths(measured[0])
    limit = ""
    if reached and reached[-1] < panel.lengths[-1]:
        limit = f"; beyond {units.length(reached[-1])} not all contenders are in the comparison"
    return f"In {panel.title}, {'; '.join(parts)}{limit}."


def _ranges(panel: Panel, metric: str) -> str:
    wins = [
        (n, _first(panel, n, metric))
        for n in panel.lengths
        if any(line.samples(n, metric) for line in panel.lines)
    ]
    texts: list[str] = []
    for names, group in groupby(wins, key=lambda win: win[1]):
        lengths = [n for n, _ in group]
        ends = [_least(panel, n, metric) for n in (lengths[0], lengths[-1])]
        if len(lengths) > 1:
            where = f"from {units.length(lengths[0])} to {units.length(lengths[-1])} tokens"
            figures = units.span(ends[0], ends[1], UNITS[metric])
        else:
            where = f"at {units.length(lengths[0])} tokens"
            figures = units.quantity(ends[0], UNITS[metric])
        texts.append(f"{_who(panel, names, metric, first=not texts)} {where} ({figures})")
    clear = wins and len(wins[-1][1]) == 1
    return words.listing(texts) + (_lead(panel, wins[-1][0], metric) if clear else "")


def _who(panel: Panel, names: Sequence[str], metric: str, *, first: bool) -> str:
    """Say who wins, or that this cannot be told; the verb stands once in an enumeration."""
    one, several, _ = SUPERLATIVES[metric]
    if len(names) == 1:
        return f"{names[0]} {one}" if first else names[0]
    if len(names) > 2 and len(names) == len(panel.lines):
        return f"no contender can be shown to be ahead in {metric.replace('_', ' ')}"
    verb = f" {several}" if first else ""
    return f"{words.listing(names)}, between whom no difference can be shown,{verb}"


def _lead(panel: Panel, length: int, metric: str) -> str:
    """Say how far the winner at a length is ahead of the next."""
    better = SUPERLATIVES[metric][2]
    ranked = _ranked(panel, length, metric)
    if len(ranked) < 2:
        return f", at {units.length(length)} without a rival"
    first, second = (stats.median(line.samples(length, metric) or ()) for line in ranked[:2])
    if first <= 0:
        return ""
    times = units.number(second / first)
    return f", at {units.length(length)} {times} times {better} than {ranked[1].label}"


def _first(panel: Panel, length: int, metric: str) -> tuple[str, ...]:
    """Return the winner at a length, and those from whom it cannot be told apart."""
    ranked = _ranked(panel, length, metric)
    found = [line.measured(length, metric) for line in ranked]
    ties = [
        line.label
        for line, own in zip(ranked, found, strict=True)
        if found[0] and own and not relate(found[0], own).shown
    ]
    names = {ranked[0].label, *ties}
    return tuple(line.label for line in panel.lines if line.label in names)


def _ranked(panel: Panel, length: int, metric: str) -> list[Line]:
    done = [line for line in panel.lines if line.samples(length, metric)]
    return sorted(done, key=lambda line: stats.median(line.samples(length, metric) or ()))


def _least(panel: Panel, length: int, metric: str) -> float:
    return stats.median(_ranked(panel, length, metric)[0].samples(length, metric) or ())


def _crossings(found: Sequence[Panel], measured: Sequence[str]) -> str:
    """Say from which length contenders beat the baseline, and which of them never do."""
    texts: list[str] = []
    for panel in found:
        told: list[str] = []
        for metric in measured:
            groups: dict[str, list[str]] = {}
            for line in panel.lines[1:]:
                if line.curve(metric) and panel.baseline.curve(metric):
                    groups.setdefault(_crossing(panel, line, metric), []).append(line.label)
            told += [_told(names, metric, where) for where, names in groups.items()]
        told += _first_resources(panel, measured)
        if told:
            texts.append(f"in {panel.title} {', '.join(told)}")
    if not texts:
        return ""
    return f"Against {found[0].baseline.label}, {'; '.join(texts)}."


def _first_resources(panel: Panel, measured: Sequence[str]) -> list[str]:
    """Say in which of time and memory contenders beat the baseline at a shorter length."""
    groups: dict[str, list[str]] = {}
    for line in panel.lines[1:]:
        found = {metric: find_crossover(panel, line, metric) for metric in measured}
        starts = {metric: cross.length for metric, cross in found.items() if cross is not None}
        if len(starts) > 1 and len(set(starts.values())) > 1:
            first = min(starts, key=starts.__getitem__)
            groups.setdefault(RESOURCES[first], []).append(line.label)
    return [f"{words.listing(names)} first in {first}" for first, names in groups.items()]


def _told(names: Sequence[str], metric: str, where: str) -> str:
    several = len(names) > 1
    if where == AT_NO_LENGTH:
        return f"{words.listing(names)} {NEVER[metric][several]}"
    return f"{words.listing(names)} {COMPARATIVES[metric][several]} {where}"


def _crossing(panel: Panel, line: Line, metric: str) -> str:
    base, own = panel.baseline.curve(metric), line.curve(metric)
    both = [n for n in own if n in base]
    if not both:
        return "at no length in common"
    ratios = {n: relate(base[n], own[n]) for n in both}
    last, found = both[-1], find_crossover(panel, line, metric)
    if found is None:
        ahead = [n for n, r in ratios.items() if r.shown and r.candidate < r.base]
        if not ahead:
            return AT_NO_LENGTH
        return f"at {units.length(ahead[-1])} but no longer at {units.length(last)}"
    noise = "" if ratios[last].shown else f", within noise at {units.length(last)}"
    if found.everywhere:
        return f"at every length{noise}"
    return f"from {units.length(found.length)} tokens{bounds(found)}{noise}"


def _failures(run: Run, found: Sequence[Panel]) -> str:
    """Say how many cells were measured, and which contenders failed, how and where."""
    texts: list[str] = []
    for panel in found:
        for line in panel.lines:
            ends = [(r.outcome, n) for n, r in line.results.items() if r.outcome is not Outcome.OK]
            for outcome, group in groupby(ends, key=lambda end: end[0]):
                lengths = words.listing([units.length(n) for _, n in group])
                text = f"{line.label} {words.FAILURES[outcome]} in {panel.title} at {lengths}"
                texts.append(text)
    cells = {cell.id for cell in run.header.cells} | run.by_cell.keys()
    left = len(cells - run.by_cell.keys())
    if left:
        texts.append(f"{words.count(left, 'cell')} {'was' if left == 1 else 'were'} not run")
    done = sum(result.outcome is Outcome.OK for result in run.results)
    if not texts:
        return "The only cell was measured." if done == 1 else f"All {done} cells were measured."
    return f"Of {words.count(len(cells), 'cell')} {done} were measured: {'; '.join(texts)}."
