"""Which cells became slower: launches against launches, with the effect of each launch removed.

The unit is the launch, a process of its own: its samples share the luck of its start, and counting
them one by one finds differences in identical code. Of each launch one number is taken, the lower
decile of its samples (on CUDA, where nothing preempts, the median), as a logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.judging import contrast, evidence
from harness.judging.contrast import Contrast
from harness.judging.rule import Mode, Rule
from harness.stats import Array, Interval

LOW, MIDDLE = 0.10, 0.50  # quantile of a launch's samples that stands for it

Launches = tuple[tuple[float, ...], ...]  # samples by process, in order of time


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The samples of one cell on both sides, in nanoseconds."""

    cell: str
    base: Launches
    candidate: Launches
    quantile: float = LOW
    margin: float = 0.0198  # logarithms of the two limits
    fail_over: float = 0.0953


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowdown:
    """What the launches say of one cell; logarithms of the ratio candidate over base."""

    timing: Timing
    estimate: float  # median
    interval: Interval  # 90 %: its ends are one-sided 95 % bounds
    upper: float  # the bound that the cell passes by
    screened: float  # p-value of "not slower than the margin" with launch effects removed
    p: float  # of the same; in a duet the smaller of two tests, doubled
    adjusted: float  # p for the number of cells that were judged with it
    adjusted_faster: float  # of "not faster than the margin"
    detectable: float  # smallest slowdown that would be found here in four of five gates
    spread: tuple[float, float]  # standard deviation over launches: base, candidate
    is_tiny: bool  # the difference is below what a clock can tell
    slower: bool  # beyond the margin, and that is no chance
    suite_wide: bool  # because the whole suite is
    faster: bool

    @property
    def proven(self) -> bool:
        """Whether a slowdown beyond the second limit is excluded."""
        return self.upper <= self.timing.fail_over

    def suspicious(self, rule: Rule) -> bool:
        """Whether it must be measured again before anybody is told."""
        screened = self.screened < rule.screen and self.estimate > 0
        return self.slower or screened or not self.proven


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """By how much the suite as a whole moved, and whether that is no chance."""

    estimate: float = 0.0  # logarithm of the ratio
    p: float = 1.0
    is_real: bool = False


@dataclass(frozen=True, slots=True)
class _Table:
    """What is judged together: logarithms [launch, cell], NaN where a launch lacks a cell."""

    base: Array
    candidate: Array
    effects: tuple[Array, Array]  # of the launches of either side, on all cells
    rule: Rule
    mode: Mode


def judge(
    timings: Sequence[Timing], rule: Rule, mode: Mode, pads: Sequence[Timing] = ()
) -> tuple[tuple[Slowdown, ...], Shift]:
    """Judge cells that were measured together; returns them in the order given.

    Per cell two one-sided tests of "slower by at most the margin": on values with the launch effect
    removed, and on raw values, as a slowdown of half of the suite is its own launch effect. The
    smaller p-value is doubled. Against a stored baseline only the first counts.

    Args:
        timings: of each cell, at least two launches a side.
        rule: the numbers of the rule.
        mode: how launches stand to each other; where they are paired, the launches of the same
            number are a pair.
        pads: cells that were measured along only to tell the effects of launches.
    """
    if not timings:
        return (), Shift()
    table = _table([*timings, *pads], rule, mode)
    shift = _shift(table)
    found = [_cell(timing, column, table) for column, timing in enumerate(timings)]
    slower = evidence.adjusted([cell.p for cell in found])
    faster = evidence.adjusted([cell.p_faster for cell in found])
    return tuple(
        _slowdown(cell, p, q, shift, rule.q / len(timings), table)
        for cell, p, q in zip(found, slower, faster, strict=True)
    ), shift


@dataclass(frozen=True, slots=True)
class _Cell:
    timing: Timing
    raw: Contrast
    adjusted: Contrast  # with launch effects removed
    estimate: float
    spread: tuple[float, float]
    p: float
    p_faster: float


def _table(timings: Sequence[Timing], rule: Rule, mode: Mode) -> _Table:
    base = _logs([(t.base, t.quantile) for t in timings])
    candidate = _logs([(t.candidate, t.quantile) for t in timings])
    if mode is Mode.PAIRED:
        rounds = min(len(base), len(candidate))
        base, candidate = base[:rounds], candidate[:rounds]
        center = np.zeros(len(timings))
        effects = _medians(candidate - base, center)
        both = (np.zeros(rounds), effects)
    else:
        center = np.nanmedian(np.concatenate([base, candidate]), axis=0)
        both = (_medians(base, center), _medians(candidate, center))
    if len(timings) < rule.effect_cells:
        both = (np.zeros(len(base)), np.zeros(len(candidate)))
    return _Table(base, candidate, both, rule, mode)


def _logs(sides: Sequence[tuple[Launches, float]]) -> Array:
    """Return one logarithm a launch and cell."""
    most = max(len(launches) for launches, _ in sides)
    table = np.full((most, len(sides)), np.nan)
    for column, (launches, q) in enumerate(sides):
        for row, samples in enumerate(launches):
            table[row, column] = np.log(np.quantile(samples, q))
    return table


def _medians(values: Array, center: Array) -> Array:
    """Return the median over cells of each launch, from each cell's own centre."""
    return np.nanmedian(values - center, axis=1)


def _shift(table: _Table) -> Shift:
    before, after = table.effects
    rule, mode = table.rule, table.mode
    if mode is Mode.PAIRED:
        found = contrast.pairs((after - before).tolist(), 0)
        estimate = float(np.median(after - before))
    else:
        trim = rule.trimming(min(len(before), len(after)), mode)
        found = contrast.two_groups(after.tolist(), before.tolist(), trim)
        estimate = float(np.median(after) - np.median(before))
    if found is None:
        return Shift()
    if mode is Mode.STORED:  # the machine's, to either side
        limit = float(np.log1p(rule.stored_shift))
        p = min(1.0, 2 * min(found.above(limit), found.below(-limit)))
        return Shift(
            estimate=estimate, p=p, is_real=p <= rule.shift_level and abs(estimate) > limit
        )
    limit = float(np.log1p(rule.margin))
    p = found.above(limit)
    return Shift(estimate=estimate, p=p, is_real=p <= rule.shift_level and estimate > limit)


def _cell(timing: Timing, column: int, table: _Table) -> _Cell:
    before, after = table.base[:, column], table.candidate[:, column]
    raw = _contrast(before, after, table)
    adjusted = _contrast(before - table.effects[0], after - table.effects[1], table)
    tests = [adjusted] if table.mode is Mode.STORED else [adjusted, raw]
    return _Cell(
        timing=timing,
        raw=raw,
        adjusted=adjusted,
        estimate=_estimate(before, after, table),
        spread=(_spread(before), _spread(after)),
        p=min(1.0, len(tests) * min(test.above(timing.margin) for test in tests)),
        p_faster=min(1.0, len(tests) * min(test.below(-timing.margin) for test in tests)),
    )


def _contrast(before: Array, after: Array, table: _Table) -> Contrast:
    if table.mode is Mode.PAIRED:
        differences = _present(after - before)
        found = contrast.pairs(differences, 0)
    else:
        ours, theirs = _present(after), _present(before)
        trim = table.rule.trimming(min(len(ours), len(theirs)), table.mode)
        found = contrast.two_groups(ours, theirs, trim)
    # One value a side says nothing of its scatter: no bound holds, no test finds anything.
    return found or Contrast(mean=0.0, error=np.inf, df=1.0)


def _estimate(before: Array, after: Array, table: _Table) -> float:
    if table.mode is Mode.PAIRED:
        return float(np.nanmedian(after - before))
    if table.mode is Mode.STORED:
        before, after = before - table.effects[0], after - table.effects[1]
    return float(np.nanmedian(after) - np.nanmedian(before))


def _slowdown(
    cell: _Cell,
    adjusted: float,
    adjusted_faster: float,
    shift: Shift,
    level: float,
    table: _Table,
) -> Slowdown:
    timing, rule = cell.timing, table.rule
    stored = table.mode is Mode.STORED
    shown = cell.adjusted if stored else cell.raw
    upper = cell.adjusted.upper(rule.confidence)
    if not stored:
        upper = min(upper + shift.estimate, cell.raw.upper(rule.confidence))
    best = shown if stored else min(cell.adjusted, cell.raw, key=lambda each: each.error)
    tiny = _difference_ns(timing, cell.estimate) <= rule.floor_ns
    beyond = cell.estimate > timing.margin and not tiny
    suite_wide = beyond and shift.is_real and not stored
    return Slowdown(
        timing=timing,
        estimate=cell.estimate,
        interval=Interval(shown.lower(rule.confidence), shown.upper(rule.confidence)),
        upper=upper,
        screened=cell.adjusted.above(timing.margin),
        p=cell.p,
        adjusted=adjusted,
        adjusted_faster=adjusted_faster,
        detectable=timing.margin + best.detectable(level if stored else level / 2),
        spread=cell.spread,
        is_tiny=tiny,
        slower=beyond and (adjusted <= rule.q or suite_wide),
        suite_wide=suite_wide and adjusted > rule.q,
        faster=adjusted_faster <= rule.q and cell.estimate < -timing.margin and not tiny,
    )


def _difference_ns(timing: Timing, estimate: float) -> float:
    """Return by how many nanoseconds a step became longer or shorter."""
    base = float(np.median([np.quantile(samples, timing.quantile) for samples in timing.base]))
    return base * abs(float(np.expm1(estimate)))


def _present(values: Array) -> list[float]:
    return values[np.isfinite(values)].tolist()


def _spread(values: Array) -> float:
    present = _present(values)
    return float(np.std(present, ddof=1)) if len(present) > 1 else 0.0
