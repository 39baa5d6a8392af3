"""What contenders learnt, beside what they cost: tables, hash ladder, and the cheapest choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from harness import stats
from harness.judging.panels import Line, panels, samples
from harness.schema import Evaluation, Outcome, Result, Run
from harness.telling import units, words
from harness.telling.tables import Sheet

QUALITY = "quality"
LADDER = "quality_hashes_"
SHARES = (0.5, 1.0, 2.0)  # of the baseline's training time, in the view at equal cost
NONE = "-"
OUTSIDE = ("time_to_score", "steps_to_score")


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


def is_learning(run: Run) -> bool:
    """Say whether a run trains its contenders on tasks."""
    return QUALITY in run.header.metrics


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


def sheets(run: Run) -> list[Sheet]:
    """Return, per contest, scores beside costs, then the ladder, then scores at equal cost."""
    found: list[Sheet] = []
    for contest in contests(run):
        found.append(scores(contest))
        found += ladder(contest)
        found += at_equal_cost(contest)
    return found


def scores(contest: Contest) -> Sheet:
    """Return scores with their range over seeds, what each contender sees, and what it costs."""
    facts = contest.facts
    name = str(facts.get("score", "score"))
    header = (
        "",
        name,
        "floor",
        "sees",
        "recall",
        "to target",
        "steps",
        "tokens/s",
        "memory",
        "energy",
    )
    rows = tuple(
        (line.label, *_row(contest.result(line), len(header) - 1)) for line in contest.lines
    )
    notes = (
        f"equal shape and budget; median, in brackets the range over seeds; {_known(facts)}",
        "sees: keys that a query weighs, of those that exact attention does; recall: its softmax "
        "mass on them, trained weights; to target, steps: training until validation reached "
        "it; of a training step: tokens/s, memory, energy",
    )
    return Sheet(title=f"{contest.title}: {name}", header=header, rows=rows, notes=notes)


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
        (label, *(_spread(samples(result, rung)) for rung in rungs))
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
        (label, *(_spread(_reached(result, time)) for time in times))
        for label, result in scored.items()
    )
    notes = (
        f"equal cost: validation score after so much training time, {baseline}'s own and half and "
        "twice of it; a contender that had ended keeps its last score; evaluated every "
        f"{_plan(contest).get('eval_every', '?')} steps",
    )
    return [Sheet(title=f"{contest.title}: at equal cost", header=header, rows=rows, notes=notes)]


def answer(run: Run) -> str:
    """Return a sentence a contest: who is near the best and cheapest, who is below the floor."""
    margin = (run.header.evaluation or Evaluation()).margin
    return "\n".join(_told(contest, margin) for contest in contests(run))


def _told(contest: Contest, margin: float) -> str:
    scored = contest.scored
    if not scored:
        return f"On {contest.title}, nobody has a score."
    lower = contest.facts.get("score_better") == "lower"
    middle = {label: stats.median(samples(r, QUALITY) or ()) for label, r in scored.items()}
    best = min(middle.values()) if lower else max(middle.values())
    slack = margin * (best if lower else 1.0)
    near = [label for label, value in middle.items() if abs(value - best) <= slack]
    prices = {label: price for label in near if (price := _price(scored[label])) is not None}
    name = contest.facts["score"]
    parts = [
        f"On {contest.title}, {words.listing(near)} {'are' if len(near) > 1 else 'is'} within "
        f"{units.number(slack)} of the best {name} ({units.number(best)})"
    ]
    if len(near) > 1 and prices:
        cheapest = min(prices, key=prices.__getitem__)
        parts.append(f"the cheapest of them is {cheapest}, {_step(prices[cheapest])}")
    elif prices:
        parts.append(f"it costs {_step(prices[near[0]])}")
    low = [label for label, r in scored.items() if not all(r.facts.get("above_floor", [True]))]
    if low:
        told = [f"{label} ({units.number(middle[label])})" for label in low]
        parts.append(f"below the floor {contest.facts['score_floor']:g}: {words.listing(told)}")
    return "; ".join(parts) + "."


def _row(result: Result | None, width: int) -> tuple[str, ...]:
    if result is None:
        return ("not run", *[""] * (width - 1))
    if result.outcome is not Outcome.OK:
        return (f"{words.outcome(result.outcome)}: {result.reason}", *[""] * (width - 1))
    reached = f"{sum(result.facts['above_floor'])} of {len(result.facts['above_floor'])} above"
    step = _price(result)
    speed = NONE if not step else units.number(result.cell.tokens * 1e9 / step)
    return (
        _spread(samples(result, QUALITY)),
        reached,
        _share(samples(result, "coverage")),
        _share(samples(result, "recall_trained")),
        _of(result, "time_to_score", "ns"),
        _of(result, "steps_to_score", "1"),
        speed,
        _of(result, "peak_memory", "byte"),
        _of(result, "energy", "J"),
    )


def _known(facts: Mapping[str, Any]) -> str:
    rules = cast("Mapping[str, float]", facts.get("score_baselines", {}))
    told = [f"{name} {units.number(value)}" for name, value in rules.items()]
    if "score_floor" in facts:
        told.append(f"floor {facts['score_floor']:g}, target {facts['score_target']:g}")
    return "; ".join(told)


def _plan(contest: Contest) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", contest.facts.get("training", {}))


def _price(result: Result) -> float | None:
    """Return the time of a training step in ns: as timed by itself, or as training spent it."""
    timed = samples(result, "latency")
    if timed:
        return stats.median(timed)
    times, steps = samples(result, "train_time"), samples(result, "train_steps")
    if not times or not steps:
        return None
    return stats.median([t / n for t, n in zip(times, steps, strict=True) if n])


def _step(price: float) -> str:
    return f"{units.quantity(price, 'ns')} a step"


def _reached(result: Result, time_ns: float) -> tuple[float, ...]:
    """Return, by seed, the last validation score that was known after a training time."""
    found: list[float] = []
    for curve in result.facts.get("curves", []):
        known = [score for _, spent, _, score in curve if spent <= time_ns]
        if known:
            found.append(known[-1])
    return tuple(found)


def _spread(values: Sequence[float] | None) -> str:
    if not values:
        return NONE
    middle = units.number(stats.median(values))
    if len(values) == 1 or min(values) == max(values):
        return middle
    return f"{middle} ({units.number(min(values))} to {units.number(max(values))})"


def _share(values: Sequence[float] | None) -> str:
    return NONE if not values else units.percent(stats.median(values))


def _of(result: Result, metric: str, unit: str) -> str:
    values = samples(result, metric)
    return NONE if not values else units.quantity(stats.median(values), unit)


def _rung(metric: str) -> tuple[int, int]:
    if metric.startswith(LADDER):
        return 1, -int(metric.removeprefix(LADDER))
    return (0, 0) if metric == "quality_dense" else (2, 0)


def _rung_name(metric: str) -> str:
    rounds = metric.removeprefix(LADDER)
    return rounds if metric.startswith(LADDER) else metric.removeprefix("quality_")
