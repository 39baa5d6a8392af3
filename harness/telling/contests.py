"""What is told of contenders that learnt the same task: who they are, and how figures are said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from harness import stats
from harness.judging.panels import Line, panels, samples
from harness.schema import Result, Run
from harness.telling import units

QUALITY = "quality"
NONE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The contenders of one task at one length and shape; the first is the baseline."""

    task: str
    length: int
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """The task and its length."""
        return f"{self.task} at {units.length(self.length)} tokens"

    def result(self, line: Line) -> Result | None:
        """Return what came of a contender's cell."""
        return self.results.get(line.label)

    @property
    def results(self) -> Mapping[str, Result]:
        """Results by contender."""
        found = {line.label: line.results.get(self.length) for line in self.lines}
        return {label: result for label, result in found.items() if result is not None}

    @property
    def scored(self) -> dict[str, Result]:
        """Results by contender that have a score."""
        return {label: r for label, r in self.results.items() if samples(r, QUALITY)}

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is true of the task, whoever solves it."""
        return next((result.facts for result in self.scored.values()), dict[str, Any]())

    @property
    def plan(self) -> Mapping[str, Any]:
        """How all were trained."""
        return cast("Mapping[str, Any]", self.facts.get("training", {}))


def contests(run: Run) -> list[Contest]:
    """Return the contests of a run, task by task in the order of the suite, then by length."""
    found = [
        Contest(
            task=task,
            length=length,
            lines=tuple(line for line in panel.lines if length in line.cells),
        )
        for panel in panels(run)
        if (task := next(iter(panel.lines[0].cells.values())).task) is not None
        for length in panel.lengths
    ]
    order = list(dict.fromkeys(cell.task for cell in run.header.cells))
    return sorted(found, key=lambda contest: (order.index(contest.task), contest.length))


def spread(values: Sequence[float] | None) -> str:
    """Return the median, and the range in brackets where there is one."""
    if not values:
        return NONE
    middle = units.number(stats.median(values))
    if len(values) == 1 or min(values) == max(values):
        return middle
    return f"{middle} ({units.number(min(values))} to {units.number(max(values))})"


def number_of(result: Result, metric: str, unit: str) -> str:
    """Return the median of a metric with its unit, or a dash."""
    values = samples(result, metric)
    return NONE if not values else units.quantity(stats.median(values), unit)
