"""What training reaches, over seeds: a lower mean, or fewer seeds that solve the task.

A single trained score says little: seeds of identical code differ by points, and a task that is
learnt or not learnt by whole tens of points. So seeds are to scores what launches are to times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.judging import contrast, evidence
from harness.judging.contrast import Contrast
from harness.judging.finding import Figures, Finding, Judgement
from harness.judging.rule import Rule
from harness.schema import Outcome
from harness.stats import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One score of the cells that differ by seed only."""

    cell: str  # id of the first of them
    metric: str
    base: tuple[float, ...]  # one a seed
    candidate: tuple[float, ...]
    solved: float | None = None  # the score from which a task counts as solved; None: no such bar
    margin: float | None = None  # None: the rule's
    items: tuple[int, int] | None = None  # of identical items: lost by the candidate, won by it


def judge(family: Sequence[Scores], rule: Rule) -> list[Finding]:
    """Judge scores together, in the order given.

    Per score a one-sided Welch test of the means and, where there is a bar, Boschloo's exact test
    of how many seeds reach it, the smaller p-value doubled; on identical items McNemar's exact
    test. A regression also needs a mean drop beyond the margin or fewer solved seeds. A score
    passes if a drop beyond twice the margin is excluded at 95 %. One value a side, of a computation
    without training, has no chance in it: there the margin itself decides.
    """
    tests = [_test(scores, rule) for scores in family]
    adjusted = evidence.adjusted([p for p, _ in tests])
    return [
        _finding(scores, contrast_, p, q, rule)
        for scores, (p, contrast_), q in zip(family, tests, adjusted, strict=True)
    ]


def _test(scores: Scores, rule: Rule) -> tuple[float, Contrast | None]:
    found = contrast.two_groups(scores.candidate, scores.base, 0)
    if scores.items is not None:
        return evidence.lost_items(*scores.items), found
    if found is None or _few(scores, rule):
        return 1.0, found
    p = found.below(0.0) if found.mean < 0 else 1.0
    if scores.solved is None:
        return p, found
    counts = [_solved(values, scores.solved) for values in (scores.base, scores.candidate)]
    return min(1.0, 2 * min(p, evidence.fewer_solved(counts[0], counts[1]))), found


def _finding(
    scores: Scores, found: Contrast | None, p: float, adjusted: float, rule: Rule
) -> Finding:
    margin = rule.score if scores.margin is None else scores.margin
    drop = float(np.mean(scores.base) - np.mean(scores.candidate))
    judgement, kind, reason = _judgement(scores, found, adjusted, drop, margin, rule)
    base = float(np.mean(scores.base))
    bounds = None
    if found is not None and base > 0:
        bounds = Interval(
            1 + found.lower(rule.confidence) / base, 1 + found.upper(rule.confidence) / base
        )
    return Finding(
        cell=scores.cell,
        metric=scores.metric,
        unit="1",
        judgement=judgement,
        kind=kind,
        reason=reason,
        outcomes=(Outcome.OK, Outcome.OK),
        base=_figures(scores.base),
        candidate=_figures(scores.candidate),
        ratio=(base - drop) / base if base > 0 else None,
        interval=bounds,
        p=p,
        p_adjusted=adjusted,
    )


def _judgement(
    scores: Scores,
    found: Contrast | None,
    adjusted: float,
    drop: float,
    margin: float,
    rule: Rule,
) -> tuple[Judgement, str | None, str]:
    points = f"{-100 * drop:+.2g} points"
    if adjusted <= rule.q and (drop > margin or _fewer(scores)):
        return Judgement.REGRESSION, "accuracy", f"{points}{_solving(scores)}, p {adjusted:.2g}"
    same = sorted(scores.base) == sorted(scores.candidate)
    if same or (_single(scores) and scores.items is None):
        return _on_same_input(points, drop, margin)
    few = _few(scores, rule)
    if not few and found is not None and found.lower(rule.confidence) > -2 * margin:
        return Judgement.PASS, None, f"{points}, a drop of {200 * margin:g} points is excluded"
    kind = "few-seeds" if few else "noise"
    return Judgement.INCONCLUSIVE, kind, f"{points}{_solving(scores)}: more seeds would tell"


def _on_same_input(points: str, drop: float, margin: float) -> tuple[Judgement, str | None, str]:
    """Judge what has no chance in it: the same input, the same weights, no training."""
    if drop > margin:
        return Judgement.REGRESSION, "accuracy", f"{points} on the same input"
    return Judgement.PASS, None, "the same" if drop == 0 else f"{points} on the same input"


def _single(scores: Scores) -> bool:
    """Say whether each side is one value of a computation without chance: no training."""
    return scores.solved is None and len(scores.base) == len(scores.candidate) == 1


def _few(scores: Scores, rule: Rule) -> bool:
    return min(len(scores.base), len(scores.candidate)) < rule.seeds


def _solved(values: Sequence[float], bar: float) -> tuple[int, int]:
    return sum(value >= bar for value in values), len(values)


def _fewer(scores: Scores) -> bool:
    if scores.items is not None:
        return scores.items[0] > scores.items[1]
    if scores.solved is None:
        return False
    (k1, n1), (k2, n2) = (_solved(v, scores.solved) for v in (scores.base, scores.candidate))
    return k2 * n1 < k1 * n2


def _solving(scores: Scores) -> str:
    if scores.solved is None:
        return ""
    (k1, n1), (k2, n2) = (_solved(v, scores.solved) for v in (scores.base, scores.candidate))
    return f", solved by {k1} of {n1} seeds before, {k2} of {n2} now"


def _figures(values: Sequence[float]) -> Figures:
    return Figures(center=float(np.mean(values)), launches=len(values), iterations=len(values))
