"""The conditions of runs: where two environments differ, and what may still be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.codec import canonical, encode
from harness.schema import Environment, Result, Run

Forbids = Literal["everything", "times", "nothing"]
INPUT = frozenset({"data_digest"})  # what a cell was fed: other input, other work
EXPLAINING = ("info_", "protocol.")  # these explain a difference and forbid nothing
ABSENT = "not recorded"
_RANK: Sequence[Forbids] = ("everything", "times", "nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One condition that is not the same on both sides."""

    key: str
    base: str
    candidate: str
    forbids: Forbids  # what must not be compared because of it


def forbids(key: str) -> Forbids:
    """Return what a difference in this condition forbids to compare.

    A key that nobody has thought about forbids: it must not pass for equal.
    """
    if key in INPUT:
        return "everything"
    return "nothing" if key.startswith(EXPLAINING) else "times"


def differences(base: Run, candidate: Run) -> tuple[Difference, ...]:
    """Return the conditions in which two runs differ, those that forbid most first.

    A run may hold several environments (one a device, or after a resumption): the values of all
    that its results used are told.
    """
    ours, theirs = used(base), used(candidate)
    found = [
        Difference(
            key=key,
            base=" | ".join(ours.get(key, [ABSENT])),
            candidate=" | ".join(theirs.get(key, [ABSENT])),
            forbids=forbids(key),
        )
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
    ]
    found += _protocol(base, candidate)
    return tuple(sorted(found, key=lambda difference: _RANK.index(difference.forbids)))


def differing(base: Environment | None, candidate: Environment | None) -> tuple[str, ...]:
    """Return the conditions of two results that differ and forbid something."""
    if base is None or candidate is None:
        return ("an unknown environment",)
    keys = sorted({*base.fields, *candidate.fields})
    absent = object()
    return tuple(
        key
        for key in keys
        if forbids(key) != "nothing"
        and base.fields.get(key, absent) != candidate.fields.get(key, absent)
    )


def environment_of(run: Run, result: Result | None) -> Environment | None:
    """Return the environment of a result, or None where none was told."""
    return None if result is None else run.environments.get(result.environment or "")


def used(run: Run) -> dict[str, list[str]]:
    """Return, by key, the distinct values that the run's results were measured under."""
    names = dict.fromkeys(result.environment for result in run.results)
    found: dict[str, list[str]] = {}
    for name in names:
        environment = run.environments.get(name or "")
        for key, value in environment.fields.items() if environment else ():
            values = found.setdefault(key, [])
            if text(value) not in values:
                values.append(text(value))
    return found


def text(value: Any) -> str:
    """Return a value of a record as people read it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else canonical(encode(value))


def _protocol(base: Run, candidate: Run) -> list[Difference]:
    """Return where the two protocols differ: that explains intervals and forbids nothing."""
    ours, theirs = encode(base.header.protocol), encode(candidate.header.protocol)
    found = ((f"protocol.{key}", ours[key], theirs[key]) for key in ours)
    return [
        Difference(key=key, base=text(before), candidate=text(after), forbids=forbids(key))
        for key, before, after in found
        if before != after
    ]
