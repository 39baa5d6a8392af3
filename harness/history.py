"""Change points over a series of runs: when did a cell become slower, and is it creeping?

A run is one point, its value the median over launches with what the whole suite did in that launch
taken off. Whatever the suite did as a whole is a series of its own, as it may be the machine's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.codec import canonical
from harness.judging import contrast
from harness.judging.conditions import forbids
from harness.judging.samples import apart
from harness.judging.times import LOW, MIDDLE
from harness.schema import Outcome, Run

Logs = Mapping[str, Sequence[float]]  # by cell, a logarithm a launch
SUITE = "whole suite"
MIN_SEGMENT = 5  # runs on either side of a change point
MARGIN = 0.03  # a step that nobody wants to hear about
LEVEL = 0.001  # of the test at the best of all splits
DRIFT = 0.05  # creep from the anchor that is told
EFFECT_CELLS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run of a series."""

    run: str  # id
    created_at: str
    revision: str | None
    value: float  # nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From one run on, times are others."""

    at: Point  # the first run of the new level
    ratio: float  # new level over old
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One cell on one machine over time."""

    cell: str  # id, or `SUITE`
    environment: str  # short name of all conditions that times depend on
    points: tuple[Point, ...]  # in order of time
    steps: tuple[Step, ...]
    drift: float | None  # last runs over the anchor, where that is beyond 5 % and no chance

    @property
    def is_slower(self) -> bool:
        """Whether the steps together, or a creep, made it slower than it was at first."""
        net = math.prod(step.ratio for step in self.steps)
        return net > 1 + MARGIN or self.drift is not None


def series(runs: Sequence[Run], anchor: str | None = None) -> tuple[Series, ...]:
    """Return the series of every cell that was timed in runs of one suite.

    Args:
        runs: in any order; those of other conditions make series of their own.
        anchor: id of the run, or revision, that starts the five that drift is measured from;
            None: the first five.
    """
    tables: dict[str, list[tuple[Run, Logs]]] = {}
    for run in sorted(runs, key=lambda run: (run.header.created_at, run.header.run_id)):
        for environment, logs in _logs(run).items():
            tables.setdefault(environment, []).append((run, logs))
    found: list[Series] = []
    for environment, table in sorted(tables.items()):
        levels = _levels([logs for _, logs in table])
        for cell in sorted({cell for level in levels for cell in level}):
            points = [
                _point(run, level[cell])
                for (run, _), level in zip(table, levels, strict=True)
                if cell in level
            ]
            found.append(
                Series(
                    cell=cell,
                    environment=environment,
                    points=tuple(points),
                    steps=tuple(steps(points)),
                    drift=drift(points, anchor),
                )
            )
    return tuple(found)


def steps(points: Sequence[Point]) -> list[Step]:
    """Return the change points of a series by binary segmentation.

    Of all splits that leave five runs on either side the one with the smallest p-value of "the
    levels differ by at most 3 %" (Welch, one-sided, to either side) is a change point if p < 0.001
    and the medians differ by more; then both parts are split in turn.
    """
    logs = [math.log(point.value) for point in points]
    found: list[Step] = []
    parts = [(0, len(logs))]
    while parts:
        begin, end = parts.pop()
        best = _best(logs, begin, end)
        if best is None:
            continue
        at, p = best
        parts += [(begin, at), (at, end)]
        ratio = math.exp(np.median(logs[at:end]) - np.median(logs[begin:at]))
        found.append(Step(at=points[at], ratio=ratio, p=p))
    return sorted(found, key=lambda step: step.at.created_at)


def drift(points: Sequence[Point], anchor: str | None = None) -> float | None:
    """Return the last five runs over the five from the anchor on, if that is a slow creep.

    A pinned anchor sees what a rolling comparison never does: many steps below its threshold.
    None: less than 5 %, or chance, or fewer than ten runs.
    """
    start = next((i for i, p in enumerate(points) if anchor in (p.run, p.revision)), 0)
    logs = [math.log(point.value) for point in points[start:]]
    if len(logs) < 2 * MIN_SEGMENT:
        return None
    first, last = logs[:MIN_SEGMENT], logs[-MIN_SEGMENT:]
    found = contrast.two_groups(last, first, 0)
    ratio = float(np.median(last) - np.median(first))
    if found is None or found.above(math.log1p(MARGIN)) > LEVEL or ratio <= math.log1p(DRIFT):
        return None
    return math.exp(ratio)


def _best(logs: Sequence[float], begin: int, end: int) -> tuple[int, float] | None:
    """Return the most telling split of a part, or None if there is none."""
    limit = math.log1p(MARGIN)
    found: list[tuple[float, int]] = []
    for at in range(begin + MIN_SEGMENT, end - MIN_SEGMENT + 1):
        before, after = logs[begin:at], logs[at:end]
        split = contrast.two_groups(after, before, 0)
        if split is None or abs(float(np.median(after) - np.median(before))) <= limit:
            continue
        found.append((min(split.above(limit), split.below(-limit)), at))
    if not found:
        return None
    p, at = min(found)
    return (at, p) if p < LEVEL else None


def _logs(run: Run) -> dict[str, Logs]:
    """Return, by conditions and cell, the logarithm of each launch's time."""
    found: dict[str, dict[str, list[float]]] = {}
    for result in run.results:
        latency = next((m for m in result.measurements if m.metric == "latency"), None)
        environment = run.environments.get(result.environment or "")
        if result.outcome is not Outcome.OK or latency is None or environment is None:
            continue
        q = MIDDLE if result.cell.device == "cuda" else LOW
        logs = [math.log(np.quantile(launch, q)) for launch in apart(latency)]
        found.setdefault(_name(environment.fields), {})[result.cell.id] = logs
    return dict(found)


def _levels(table: Sequence[Logs]) -> list[dict[str, float]]:
    """Return the level of each cell in each run, launch effects removed, and the suite's own."""
    every: dict[str, list[float]] = {}
    for logs in table:
        for cell, values in logs.items():
            every.setdefault(cell, []).extend(values)
    centers = {cell: float(np.median(values)) for cell, values in every.items()}
    found: list[dict[str, float]] = []
    for logs in table:
        effects = _effects(logs, centers)
        level = {
            cell: float(np.median([y - effects[i] for i, y in enumerate(values)]))
            for cell, values in logs.items()
        }
        if len(logs) >= EFFECT_CELLS:
            middle = float(np.mean(list(centers.values())))
            level[SUITE] = middle + float(np.median(effects))
        found.append(level)
    return found


def _effects(logs: Logs, centers: Mapping[str, float]) -> list[float]:
    """Return by how much the median cell was off its own level, by launch."""
    most = max(map(len, logs.values()))
    if len(logs) < EFFECT_CELLS:
        return [0.0] * most
    return [
        float(np.median([v[i] - centers[cell] for cell, v in logs.items() if i < len(v)]))
        for i in range(most)
    ]


def _point(run: Run, level: float) -> Point:
    return Point(
        run=run.header.run_id,
        created_at=run.header.created_at,
        revision=_revision(run),
        value=math.exp(level),
    )


def _name(fields: Mapping[str, object]) -> str:
    kept = {key: value for key, value in fields.items() if forbids(key) != "nothing"}
    return canonical(kept)


def _revision(run: Run) -> str | None:
    commits = {str(e.fields.get("info_commit")) for e in run.environments.values()}
    return next(iter(commits - {"None"}), None)
