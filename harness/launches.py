"""A cell that several processes have timed: which lack launches, and how they become one result.

What one process measures shares the luck of its start: where its pages lie in the caches, who runs
beside it just then. So the process, not the step, is what must be repeated (Georges, Buytaert and
Eeckhout 2007), in turn with the other cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.codec import canonical, encode
from harness.schema import Cell, Job, Measurement, Outcome, Protocol, Result

COUNT = "launches"  # the fact that says how many processes have timed a cell so far
SPENT = "max_time"  # a launch that used up its share of time is repeated only for a spread
RESIDENT, AVAILABLE = "resident_bytes", "available_bytes"  # facts: of a process, of the machine
MOST = 6  # processes at one sitting: with more, the turns of one are too far apart
COMPANY_SHARE = 0.6  # of the available memory that processes of one sitting may fill together
OF_A_CONTENDER = ("contender", "model", "attention", "impl", "options")
FEWEST = 3  # launches, below which their spread says next to nothing


def wanting(result: Result, protocol: Protocol) -> bool:
    """Say whether a cell should be timed by another process.

    It ended well, it is timed at all (the worker counts its launches in the facts), fewer launches
    were made than the protocol asks for, and, if one ran out of its share of the time, fewer than
    three: apart, where no pair can be made, one is enough then.
    """
    done = result.facts.get(COUNT)
    if result.outcome is not Outcome.OK or not isinstance(done, int) or done >= protocol.launches:
        return False
    enough = FEWEST if protocol.pairing == "chunked" else 1
    return done < enough or not any(SPENT in m.stop for m in result.measurements)


def companies(
    jobs: Sequence[Job], results: Mapping[str, Result], baseline: str | None = None
) -> list[list[Job]]:
    """Return which jobs sit together: those that differ in their contender only.

    Their processes are alive at once, six at most, and what they filled of the memory one after the
    other in their first launch must be less than 60 % of it together. A larger company is split;
    the baseline sits with each part, so that everybody is paired with it. On CUDA and where the
    protocol says `apart` everybody is alone.

    Args:
        jobs: that lack a launch.
        results: by cell, with the facts of their first launch.
        baseline: the contender that others are compared with.
    """
    found: dict[str, list[Job]] = {}
    for job in jobs:
        alone = job.protocol.pairing == "apart" or job.cell.device != "cpu"
        found.setdefault(job.cell.id if alone else _question(job.cell), []).append(job)
    return [part for company in found.values() for part in _split(company, results, baseline)]


def _question(cell: Cell) -> str:
    """Return everything of a cell but who answers it."""
    told = encode(cell)
    return canonical({key: told[key] for key in told if key not in OF_A_CONTENDER})


def _split(
    company: list[Job], results: Mapping[str, Result], baseline: str | None
) -> list[list[Job]]:
    """Split a company into parts that fit, the baseline with each."""
    facts = {job.cell.id: results[job.cell.id].facts for job in company}
    sizes = {name: int(told.get(RESIDENT) or 0) for name, told in facts.items()}
    free = min((told[AVAILABLE] for told in facts.values() if told.get(AVAILABLE)), default=None)
    first = [job for job in company if job.cell.contender == baseline][:1]
    parts = [[*first]]
    for job in company:
        if job in first:
            continue
        together = sum(sizes[each.cell.id] for each in (*parts[-1], job))
        fits = free is None or together <= COMPANY_SHARE * free
        if parts[-1] and (not fits or len(parts[-1]) == MOST):
            parts.append([*first])
        parts[-1].append(job)
    return parts


def merge(first: Result, later: Result) -> Result:
    """Return the result of all launches so far and of one more.

    Samples are strung together and `Measurement.launches` counts them by process; what a launch
    tells as a list is continued, other facts are those of the launch that told them first. A launch
    that fails makes the cell fail: it is the same code. Under another environment nothing is added
    to times; what was only proved and weighed so far takes the environment of its first times.
    """
    if later.outcome is not Outcome.OK:
        return replace(
            first,
            outcome=later.outcome,
            reason=f"{later.reason} (launch {count(first) + 1})",
            stage=later.stage,
            requested_bytes=later.requested_bytes,
            measurements=() if later.outcome is Outcome.WRONG else first.measurements,
        )
    timed = count(first) > 0
    if timed and later.environment != first.environment:
        return first
    again = {m.metric: m for m in later.measurements}
    known = {m.metric for m in first.measurements}
    return replace(
        first,
        environment=first.environment if timed else later.environment,
        measurements=(
            *(_joined(m, again[m.metric]) if m.metric in again else m for m in first.measurements),
            *(m for m in later.measurements if m.metric not in known),
        ),
        facts=_facts(first.facts, later.facts) | {COUNT: count(first) + 1},
        wall_ns=first.wall_ns + later.wall_ns,
        measured_ns=first.measured_ns + later.measured_ns,
    )


def _joined(one: Measurement, other: Measurement) -> Measurement:
    stops = dict.fromkeys([*one.stop.split(", "), *other.stop.split(", ")])
    return replace(
        one,
        samples=one.samples + other.samples,
        warmups=one.warmups + other.warmups,
        stop=", ".join(stops),
        launches=(one.launches or (len(one.samples),)) + (len(other.samples),),
        sittings=(*_sittings(one), *_sittings(other)) if one.sittings or other.sittings else (),
    )


def _sittings(measurement: Measurement) -> tuple[str, ...]:
    """Return a name for each launch; none where a process was alone."""
    return measurement.sittings or ("",) * (len(measurement.launches) or 1)


def _facts(first: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    both = [k for k in first if isinstance(first[k], list) and isinstance(later.get(k), list)]
    return {**later, **first, **{key: [*first[key], *later[key]] for key in both}}


def count(result: Result) -> int:
    """Return how many processes have timed a cell."""
    return int(result.facts.get(COUNT, 1))
