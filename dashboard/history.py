"""One cell over many runs, in the order in which they were made. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dashboard import theme
from dashboard.selecting import Table
from harness import compare, stats
from harness import history as past
from harness.store import Environment

FEWEST = 2 * past.MIN_SEGMENT  # runs below which no step is looked for
KEYS = ["cell_id", "run_id", "created_at", "contender", "phase", "seq_len", "value", "lo", "hi"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A cell in one run."""

    run_id: str
    created_at: str
    value: float
    lo: float  # NaN below six samples
    hi: float
    environment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A cell in all runs that measured it, oldest first."""

    cell_id: str
    contender: str
    variant: str
    label: str
    unit: str
    better: str
    moments: tuple[Moment, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """The medians."""
        return tuple(moment.value for moment in self.moments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A change that stayed: between two neighbouring runs of one series."""

    series: Series
    at: int  # index of the first run after it
    before: float  # median of the stretch before
    after: float

    @property
    def ratio(self) -> float:
        """After over before."""
        return self.after / self.before

    @property
    def runs(self) -> tuple[str, str]:
        """The last run before and the first after."""
        return self.series.moments[self.at - 1].run_id, self.series.moments[self.at].run_id


def machines(environments: Mapping[str, Environment]) -> dict[str, int]:
    """Return a number for each environment; times of equal numbers may be compared."""
    first: list[Environment] = []
    found: dict[str, int] = {}
    for name, environment in environments.items():
        same = (i for i, other in enumerate(first) if not compare.differing(other, environment))
        found[name] = next(same, len(first))
        if found[name] == len(first):
            first.append(environment)
    return found


def series(table: Table, metric: str, places: Mapping[str, int] | None = None) -> list[Series]:
    """Return the series of a metric, those with most runs first.

    Args:
        table: of `store.frame`, several runs.
        metric: one metric.
        places: of `machines`; runs of other machines make series of their own.
    """
    mine = table[(table["metric"] == metric) & (table["outcome"] == "ok")]
    order = mine["created_at"].astype(str).argsort(kind="stable")  # categories have their own
    mine = mine.iloc[order]
    place = mine["environment"].astype(str).map(places or {}).fillna(0).astype(int)
    found = [
        _series(str(name), group, f" on machine {where + 1}" if place.nunique() > 1 else "")
        for (name, where), group in mine.groupby(["cell_id", place], observed=True)
    ]
    return sorted(found, key=lambda s: (-len(s.moments), s.contender, s.label))


def steps(found: Sequence[Series]) -> list[Step]:
    """Return the changes that stayed, newest first (`harness.history.steps`)."""
    told: list[Step] = []
    for each in found:
        if len(each.moments) < FEWEST or min(each.values) <= 0:
            continue
        places = {moment.run_id: i for i, moment in enumerate(each.moments)}
        edges = [places[step.at.run] for step in past.steps(_points(each))]
        for before, at, after in zip([0, *edges], edges, [*edges[1:], None], strict=False):
            low, high = stats.median(each.values[before:at]), stats.median(each.values[at:after])
            told.append(Step(series=each, at=at, before=low, after=high))
    return sorted(told, key=lambda step: step.series.moments[step.at].created_at, reverse=True)


def drifts(found: Sequence[Series]) -> list[str]:
    """Return the series whose last runs crept away from the first five, in words."""
    told: list[str] = []
    for each in found:
        if len(each.moments) < FEWEST or min(each.values) <= 0:
            continue
        if ratio := past.drift(_points(each)):
            told.append(
                f"{each.label}: the last {past.MIN_SEGMENT} runs are {theme.digits(ratio)}"
                f"{theme.TIMES} the first {past.MIN_SEGMENT}"
            )
    return told


def _points(found: Series) -> list[past.Point]:
    return [
        past.Point(run=m.run_id, created_at=m.created_at, revision=None, value=m.value)
        for m in found.moments
    ]


def segments(found: Series, steps: Sequence[Step]) -> list[tuple[int, int, float]]:
    """Return the stretches between steps: first and last index, and the median of the medians."""
    edges = [0, *sorted(step.at for step in steps if step.series is found), len(found.moments)]
    return [(a, b - 1, stats.median(found.values[a:b])) for a, b in pairwise(edges)]


def sentence(step: Step, metric: str) -> str:
    """Return a step in words."""
    words = theme.metric(metric)
    worse = (step.ratio > 1) == (step.series.better == "lower")
    times = theme.digits(max(step.ratio, 1 / step.ratio))
    return (
        f"{step.series.label}: {times}{theme.TIMES} {words.worse if worse else words.comparative} "
        f"since {step.runs[1]} ({theme.quantity(step.before, step.series.unit)} to "
        f"{theme.quantity(step.after, step.series.unit)})"
    )


def _label(row: dict[str, Any]) -> str:
    """Return what a series is called, hash rounds included where there are any."""
    hashes = json.loads(row["options"] or "{}").get("hashes")
    told = f"{row['contender']} {row['phase']} {theme.length(row['seq_len'])}"
    return told if hashes is None else f"{told}, {hashes} hashes"


def _series(cell_id: str, group: Table, where: str) -> Series:
    rows: list[dict[str, Any]] = group.astype(object).to_dict("records")
    first = rows[0]
    return Series(
        cell_id=cell_id,
        contender=first["contender"],
        variant=first["attention"],
        label=_label(first) + where,
        unit=first["unit"],
        better=first["better"],
        moments=tuple(
            Moment(
                run_id=row["run_id"],
                created_at=row["created_at"],
                value=row["value"],
                lo=row["lo"],
                hi=row["hi"],
                environment=row["environment"] if isinstance(row["environment"], str) else "",
            )
            for row in rows
            if math.isfinite(row["value"])
        ),
    )
