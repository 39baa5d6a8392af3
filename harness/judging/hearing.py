"""Two runs put side by side: what is judged at once, and the times that launches must decide."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from harness import stats
from harness.codec import canonical, encode
from harness.judging import outcomes, samples, scores, sizes, times
from harness.judging.conditions import environment_of
from harness.judging.families import PER_LAYER, Family, barring, family, limits_of, measured
from harness.judging.finding import Figures, Finding, Judgement
from harness.judging.rule import Mode, Rule
from harness.judging.scores import Scores
from harness.judging.times import LOW, MIDDLE, Shift, Slowdown, Timing
from harness.schema import Cell, Measurement, Outcome, Result, Run

SKIPPED = "skipped"
SUMMARY = "summary"  # of a stored base: each sample is the quantile of a launch
Limits = Mapping[str, Mapping[str, float]]  # by metric: regress_over, margin


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a gate is asked: nothing of it is measured."""

    mode: Mode
    declared: tuple[frozenset[str], frozenset[str]]  # cell ids of the base's suite, the candidate's
    rule: Rule = field(default_factory=Rule)
    limits: Limits = field(default_factory=dict[str, Any])
    forced: bool = False  # compare what other conditions forbid to compare


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What two runs say, before anything is measured again."""

    findings: tuple[Finding, ...]  # all that is not decided by launches
    timings: tuple[Timing, ...]
    slowdowns: tuple[Slowdown, ...]  # of the timings, in their order
    shift: Shift
    pads: tuple[Timing, ...] = ()  # were measured along to tell the effects of launches


def hear(
    base: Run, candidate: Run, terms: Terms, *, pads: Collection[str] = frozenset()
) -> Hearing:
    """Compare two runs cell by cell and metric by metric.

    Args:
        base: what is compared with.
        candidate: what is judged.
        terms: what is asked.
        pads: cells whose times are not judged.
    """
    ours, theirs = base.by_cell, candidate.by_cell
    ids = dict.fromkeys([*ours, *theirs, *sorted(terms.declared[0] | terms.declared[1])])
    found: list[Finding] = []
    timings: list[Timing] = []
    trained: list[tuple[Result, Result, Measurement, Measurement]] = []
    for cell in ids:
        before, after = ours.get(cell), theirs.get(cell)
        declared = (cell in terms.declared[0], cell in terms.declared[1])
        change = outcomes.change(cell, before, after, declared=declared)
        if change is not None:
            if change.kind != SKIPPED:  # left out by the suite on both sides: nothing to tell
                found.append(change)
            continue
        assert before is not None
        assert after is not None
        for one, other, told in _metrics(base, before, candidate, after, terms):
            if told is not None:
                found.append(told)
            elif family(other) is Family.TIME:
                timings.extend(_timing(before.cell, one, other, terms, found))
            elif family(other) is Family.SCORE:
                trained.append((before, after, one, other))
            else:
                limit = limits_of(other.metric, terms.limits).get("regress_over")
                found.append(sizes.judge(cell, one, other, terms.rule, share=limit))
    found += scores.judge(_over_seeds(trained, terms), terms.rule)
    judged = [t for t in timings if t.cell not in pads]
    beside = [t for t in timings if t.cell in pads]
    slowdowns, shift = times.judge(judged, terms.rule, terms.mode, beside)
    return Hearing(
        findings=tuple(found),
        timings=tuple(judged),
        slowdowns=slowdowns,
        shift=shift,
        pads=tuple(beside),
    )


def suspects(hearing: Hearing, rule: Rule) -> tuple[list[str], list[str]]:
    """Return the cells to measure again, and the quietest others, which tell launch effects."""
    again = [s.timing.cell for s in hearing.slowdowns if s.suspicious(rule)]
    rest = [s for s in hearing.slowdowns if not s.suspicious(rule)]
    rest.sort(key=lambda s: (max(s.spread), s.timing.cell))
    wanted = max(0, rule.effect_cells - len(again)) if again else 0
    return again, [s.timing.cell for s in rest[:wanted]]


def _metrics(
    base: Run, before: Result, candidate: Run, after: Result, terms: Terms
) -> list[tuple[Measurement, Measurement, Finding | None]]:
    """Return each judged metric of a cell on both sides, with a finding where that is all."""
    first, second = measured(before), measured(after)
    where = environment_of(base, before), environment_of(candidate, after)
    found: list[tuple[Measurement, Measurement, Finding | None]] = []
    for name in dict.fromkeys([*first, *second]):
        one, other = first.get(name), second.get(name)
        if one is None or other is None:
            told = _one_sided(before.cell.id, name, one, other)
            some = one or other
            assert some is not None
            found.append((some, some, told))
            continue
        keys = () if terms.forced else barring(one, *where)
        found.append((one, other, _barred(before.cell.id, one, other, keys)))
    return found


def _one_sided(cell: str, name: str, one: Measurement | None, other: Measurement | None) -> Finding:
    some = one or other
    assert some is not None
    if other is None:
        judgement, kind, reason = Judgement.REGRESSION, "missing", "it is not measured any more"
    else:
        judgement, kind, reason = Judgement.NEW, None, "the base did not measure it"
    return Finding(
        cell=cell,
        metric=name,
        unit=some.unit,
        judgement=judgement,
        kind=kind,
        reason=reason,
        outcomes=(Outcome.OK, Outcome.OK),
    )


def _barred(cell: str, one: Measurement, other: Measurement, keys: Sequence[str]) -> Finding | None:
    """Return that a metric cannot be compared, and why; None where it can."""
    ours, theirs = (m.method.partition(",")[0] for m in (one, other))
    if not keys and (ours, one.unit) == (theirs, other.unit):
        return None
    why = f"other {', '.join(keys)}" if keys else f"measured as {ours!r} and as {theirs!r}"
    return Finding(
        cell=cell,
        metric=one.metric,
        unit=one.unit,
        judgement=Judgement.NOT_COMPARED,
        kind="environment" if keys else "instrument",
        reason=why,
        outcomes=(Outcome.OK, Outcome.OK),
    )


def _timing(
    cell: Cell, one: Measurement, other: Measurement, terms: Terms, found: list[Finding]
) -> list[Timing]:
    """Return what launches say of a cell; where they are too few, tell that instead."""
    rule = terms.rule
    limits = limits_of(one.metric, terms.limits)
    base, candidate = samples.matched(one, other, terms.mode)
    fewest = min(len(base), len(candidate))
    whole = (*(() if one.stop == SUMMARY else base), *candidate)
    least = min((len(launch) for launch in whole), default=0)
    if fewest < rule.launches or least < rule.iterations:
        found.append(_few(cell, one, other, (fewest, least), rule))
        return []
    fail_over = limits.get("regress_over", rule.fail_over)
    margin = min(limits.get("margin", rule.margin), fail_over)
    return [
        Timing(
            cell=cell.id,
            base=base,
            candidate=candidate,
            quantile=MIDDLE if cell.device == "cuda" else LOW,
            margin=math.log1p(margin),
            fail_over=math.log1p(fail_over),
        )
    ]


def _few(
    cell: Cell, one: Measurement, other: Measurement, seen: tuple[int, int], rule: Rule
) -> Finding:
    """Return that there is too little to judge, with the ratio that was seen."""
    q = MIDDLE if cell.device == "cuda" else LOW
    sides = [[stats.quantile(s, q) for s in samples.apart(m)] for m in (one, other)]
    before, after = (stats.median(values) for values in sides)
    figures = [
        Figures(center=center, launches=len(values), iterations=len(m.samples))
        for center, values, m in zip((before, after), sides, (one, other), strict=True)
    ]
    launches, iterations = seen
    reason = (
        f"{launches} launches a side of at least {iterations} samples; "
        f"{rule.launches} of {rule.iterations} are the fewest that are judged"
    )
    return Finding(
        cell=cell.id,
        metric=one.metric,
        unit=one.unit,
        judgement=Judgement.INCONCLUSIVE,
        kind="few-launches",
        reason=reason,
        outcomes=(Outcome.OK, Outcome.OK),
        base=figures[0],
        candidate=figures[1],
        ratio=after / before if before > 0 else None,
    )


def _over_seeds(
    trained: Sequence[tuple[Result, Result, Measurement, Measurement]], terms: Terms
) -> list[Scores]:
    """Return scores with the cells that differ by their seed only put together."""
    groups: dict[str, list[tuple[Result, Result, Measurement, Measurement]]] = {}
    for each in trained:
        told = encode(each[0].cell)
        del told["seed"]
        groups.setdefault(canonical([told, each[3].metric]), []).append(each)
    found: list[Scores] = []
    for group in groups.values():
        metric = group[0][3].metric
        found.append(
            Scores(
                cell=group[0][0].cell.id,
                metric=metric,
                base=_values([(result, one) for result, _, one, _ in group]),
                candidate=_values([(result, other) for _, result, _, other in group]),
                solved=_bar(group),
                margin=limits_of(metric, terms.limits).get("regress_over"),
            )
        )
    return found


def _values(sides: Sequence[tuple[Result, Measurement]]) -> tuple[float, ...]:
    """Return one value a seed, the higher the better; layers of one network are one value.

    A training that ended in no number is a seed that has reached nothing.
    """
    found: list[float] = []
    for result, m in sides:
        own = [float(np.mean(m.samples))] if m.metric in PER_LAYER else list(m.samples)
        asked = cast("Mapping[str, Any]", result.facts.get("training") or {}).get("seeds", 0)
        if m.better == "lower":
            own = [-value for value in own]
        elif m.metric not in PER_LAYER:
            own += [0.0] * (int(asked) - len(own))
        found += own
    return tuple(found)


def _bar(group: Sequence[tuple[Result, Result, Measurement, Measurement]]) -> float | None:
    """Return the score from which a task counts as solved, as the worker told it."""
    _, result, _, measurement = group[0]
    bar = result.facts.get("score_target")
    if measurement.metric in PER_LAYER or not isinstance(bar, int | float):
        return None
    return -float(bar) if measurement.better == "lower" else float(bar)
