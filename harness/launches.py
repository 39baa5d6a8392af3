"""A cell that several processes have timed: which lack launches, and how they become one result.

What one process measures shares the luck of its start: where its pages lie in the caches, who runs
beside it just then. So the process, not the step, is what must be repeated (Georges, Buytaert and
Eeckhout 2007), in turn with the other cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.schema import Measurement, Outcome, Protocol, Result

COUNT = "launches"  # the fact that says how many processes have timed a cell so far
SPENT = "max_time"  # a launch that used up its share of time is not repeated


def wanting(result: Result, protocol: Protocol) -> bool:
    """Say whether a cell should be timed by another process.

    It ended well, it was timed at all (the worker counts its launches in the facts), fewer launches
    were made than the protocol asks for, and none of them ran out of its share of the time.
    """
    done = result.facts.get(COUNT)
    if result.outcome is not Outcome.OK or not isinstance(done, int) or done >= protocol.launches:
        return False
    return not any(SPENT in m.stop for m in result.measurements)


def merge(first: Result, later: Result) -> Result:
    """Return the result of all launches so far and of one more.

    Samples are strung together and `Measurement.launches` counts them by process; what a launch
    tells as a list is continued, other facts are those of the first. A launch that fails makes the
    cell fail: it is the same code. Under another environment nothing is added.
    """
    if later.outcome is not Outcome.OK:
        return replace(
            first,
            outcome=later.outcome,
            reason=f"{later.reason} (launch {_count(first) + 1})",
            stage=later.stage,
            requested_bytes=later.requested_bytes,
            measurements=() if later.outcome is Outcome.WRONG else first.measurements,
        )
    if later.environment != first.environment:
        return first
    again = {m.metric: m for m in later.measurements}
    return replace(
        first,
        measurements=tuple(
            _joined(m, again[m.metric]) if m.metric in again else m for m in first.measurements
        ),
        facts=_facts(first.facts, later.facts) | {COUNT: _count(first) + 1},
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
    )


def _facts(first: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    both = [k for k in first if isinstance(first[k], list) and isinstance(later.get(k), list)]
    return {**first, **{key: [*first[key], *later[key]] for key in both}}


def _count(result: Result) -> int:
    return int(result.facts.get(COUNT, 1))
