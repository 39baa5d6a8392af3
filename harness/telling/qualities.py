"""What contenders learnt, beside what they cost, and the cheapest choice near the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from harness import stats
from harness.judging.panels import samples
from harness.schema import Evaluation, Outcome, Result, Run
from harness.telling import ladders, units, words
from harness.telling.contests import NONE, QUALITY, Contest, contests, number_of, spread
from harness.telling.tables import Sheet


def is_learning(run: Run) -> bool:
    """Say whether a run trains its contenders on tasks."""
    return QUALITY in run.header.metrics


def sheets(run: Run) -> list[Sheet]:
    """Return, per contest, scores beside costs, then the ladder, then scores at equal cost."""
    found: list[Sheet] = []
    for contest in contests(run):
        found.append(scores(contest))
        found += ladders.ladder(contest)
        found += ladders.by_depth(contest)
        found += ladders.at_equal_cost(contest)
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
        spread(samples(result, QUALITY)),
        reached,
        _share(samples(result, "coverage")),
        _share(samples(result, "recall_trained")),
        number_of(result, "time_to_score", "ns"),
        number_of(result, "steps_to_score", "1"),
        speed,
        number_of(result, "peak_memory", "byte"),
        number_of(result, "energy", "J"),
    )


def _known(facts: Mapping[str, Any]) -> str:
    rules = cast("Mapping[str, float]", facts.get("score_baselines", {}))
    told = [f"{name} {units.number(value)}" for name, value in rules.items()]
    if "score_floor" in facts:
        told.append(f"floor {facts['score_floor']:g}, target {facts['score_target']:g}")
    return "; ".join(told)


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


def _share(values: Sequence[float] | None) -> str:
    return NONE if not values else units.percent(stats.median(values))
