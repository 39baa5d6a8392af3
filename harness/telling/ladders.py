"""Views of trained weights: other hash rounds, equal cost, lengths and depths."""

from __future__ import annotations

import re

from harness import stats
from harness.judging.panels import samples
from harness.schema import Result
from harness.telling import units
from harness.telling.contests import NONE, Contest, spread
from harness.telling.tables import Sheet

LADDER = "quality_hashes_"
SHARES = (0.5, 1.0, 2.0)  # of the baseline's training time, in the view at equal cost
_DEPTH = re.compile(r"quality_length_(\d+)_depth_(\d+)")


def ladder(contest: Contest) -> list[Sheet]:
    """Return the scores of the same weights with other hash rounds, if any were asked for."""
    rungs: list[str] = []
    for result in contest.scored.values():
        for measurement in result.measurements:
            known = measurement.metric.removeprefix("quality_")
            is_rung = measurement.metric.startswith(LADDER) or known in {"dense", "plain"}
            if is_rung and measurement.metric not in rungs:
                rungs.append(measurement.metric)
    if not rungs:
        return []
    rungs.sort(key=_rung)
    header = ("trained as", *(_rung_name(rung) for rung in rungs))
    rows = tuple(
        (label, *(spread(samples(result, rung)) for rung in rungs))
        for label, result in contest.scored.items()
        if any(samples(result, rung) for rung in rungs)
    )
    notes = (
        "rows: how it was trained; columns: the same weights with so many hash rounds; dense: all "
        "pairs, unit keys, not oneself; plain: softmax(QQ^T), the likely reading of the first "
        "column of table 2 of Kitaev et al. (2020), which is not said there",
    )
    return [Sheet(title=f"{contest.title}: hash ladder", header=header, rows=rows, notes=notes)]


def at_equal_cost(contest: Contest) -> list[Sheet]:
    """Return validation scores at equal training time, if there is a baseline to take it from."""
    scored = contest.scored
    baseline = contest.lines[0].label
    if baseline not in scored or len(scored) < 2:
        return []
    whole = stats.median(samples(scored[baseline], "train_time") or (0.0,))
    if whole <= 0:
        return []
    times = [share * whole for share in SHARES]
    header = ("", *(units.quantity(time, "ns") for time in times))
    rows = tuple(
        (label, *(spread(_reached(result, time)) for time in times))
        for label, result in scored.items()
    )
    notes = (
        f"equal cost: validation score after so much training time, {baseline}'s own and half and "
        "twice of it; a contender that had ended keeps its last score; evaluated every "
        f"{contest.plan.get('eval_every', '?')} steps",
    )
    return [Sheet(title=f"{contest.title}: at equal cost", header=header, rows=rows, notes=notes)]


def by_depth(contest: Contest) -> list[Sheet]:
    """Return the accuracy by length and depth of a task that tells it."""
    found: dict[tuple[str, int], dict[int, str]] = {}
    for label, result in contest.scored.items():
        for measurement in result.measurements:
            match = _DEPTH.fullmatch(measurement.metric)
            if match:
                row = found.setdefault((label, int(match[1])), {})
                row[int(match[2])] = units.number(stats.median(measurement.samples))
    if not found:
        return []
    zones = sorted({zone for row in found.values() for zone in row})
    rows = tuple(
        (label, units.length(length), *(row.get(zone, NONE) for zone in zones))
        for (label, length), row in sorted(found.items(), key=lambda item: item[0][1])
    )
    effective = [
        f"{label} {units.number(stats.median(values))}"
        for label, result in contest.scored.items()
        if (values := samples(result, "quality_effective_length"))
    ]
    header = ("", "length", *(f"depth {zone}" for zone in zones))
    notes = (f"depth 0 begins the text; effective length: {', '.join(effective)}",)
    return [
        Sheet(title=f"{contest.title}: by length and depth", header=header, rows=rows, notes=notes)
    ]


def _reached(result: Result, time_ns: float) -> tuple[float, ...]:
    """Return, by seed, the last validation score that was known after a training time."""
    found: list[float] = []
    for curve in result.facts.get("curves", []):
        known = [score for _, spent, _, score in curve if spent <= time_ns]
        if known:
            found.append(known[-1])
    return tuple(found)


def _rung(metric: str) -> tuple[int, int]:
    if metric.startswith(LADDER):
        return 1, -int(metric.removeprefix(LADDER))
    return (0, 0) if metric == "quality_dense" else (2, 0)


def _rung_name(metric: str) -> str:
    rounds = metric.removeprefix(LADDER)
    return rounds if metric.startswith(LADDER) else metric.removeprefix("quality_")
