"""Where environments differ, and what a difference forbids to compare. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness import compare
from harness.store import Environment

ORDER = ("invalidates", "explains")


def differences(base: Environment, other: Environment) -> list[dict[str, str]]:
    """Return the keys in which two environments differ, those that forbid a comparison first."""
    barring = set(compare.differing(base, other))
    keys = sorted({*base.fields, *other.fields})
    absent = object()
    found = [
        {
            "key": key,
            "first": text(base.fields.get(key, "not recorded")),
            "second": text(other.fields.get(key, "not recorded")),
            "severity": "invalidates times" if key in barring else "explains, forbids nothing",
        }
        for key in keys
        if base.fields.get(key, absent) != other.fields.get(key, absent)
    ]
    return sorted(found, key=lambda row: row["severity"] != "invalidates times")


def shared(base: Environment, other: Environment) -> list[dict[str, str]]:
    """Return the keys in which two environments agree."""
    return [
        {"key": key, "both": text(value)}
        for key, value in sorted(base.fields.items())
        if key in other.fields and other.fields[key] == value
    ]


def listing(environment: Environment) -> list[dict[str, str]]:
    """Return all that is known of an environment."""
    return [{"key": k, "value": text(v)} for k, v in sorted(environment.fields.items())]


def badge(environments: Sequence[Environment]) -> str:
    """Return an environment in a line: device, versions."""
    told: list[str] = []
    for key in ("device_name", "cpu", "torch", "cuda", "python"):
        values = dict.fromkeys(text(e.fields[key]) for e in environments if e.fields.get(key))
        if values:
            told.append(f"{key.replace('_', ' ')} {' | '.join(values)}")
    return " · ".join(told)


def text(value: Any) -> str:
    """Return a value as people read it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
