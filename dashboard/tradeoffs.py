"""What one gets for what one pays at one length: frontiers, budgets, hash rounds. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard import theme
from dashboard.curves import Row

# Figures of unit 1 that tell of the device or the size, not of how well a model does.
NO_QUALITY = (
    *("mfu_", "hfu_", "of_bound_", "frontier", "parameters", "profile_", "operations"),
    *("train_steps", "steps_to_score", "launch"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One contender at one length, by two metrics."""

    line: str
    x: float
    y: float
    best: bool  # nobody is at least as good in both and better in one


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One setting of a mechanism with hash rounds: what it costs and what it loses."""

    line: str
    hashes: int
    others: str  # the other options, in words: those of one curve
    x: float
    y: float


def qualities(rows: Sequence[Row]) -> list[str]:
    """Return the metrics that tell how well a model does, scores first, then errors."""
    found = {r["metric"]: r["better"] for r in rows if r["metric"] and r["unit"] == "1" and r["n"]}
    names = [name for name in found if not name.startswith(NO_QUALITY)]
    return sorted(
        names, key=lambda name: (name != "quality", found[name] == "lower", "eager" in name, name)
    )


def lengths(rows: Sequence[Row]) -> list[int]:
    """Return the lengths at which anything was measured."""
    return sorted({row["seq_len"] for row in rows if row["outcome"] == "ok" and row["n"]})


def values(rows: Sequence[Row], length: int, metric: str) -> dict[str, float]:
    """Return the medians of a metric at a length, by contender."""
    return {
        row["contender"]: row["value"]
        for row in rows
        if row["seq_len"] == length and row["metric"] == metric and row["outcome"] == "ok"
        if row["n"] and math.isfinite(row["value"])
    }


def better(rows: Sequence[Row], metric: str) -> str:
    """Return which direction of a metric is better."""
    return next((row["better"] for row in rows if row["metric"] == metric), "lower")


def unit(rows: Sequence[Row], metric: str) -> str:
    """Return the unit of a metric in the table."""
    return next((row["unit"] for row in rows if row["metric"] == metric), "1")


def spots(rows: Sequence[Row], length: int, x: str, y: str) -> list[Spot]:
    """Return the contenders that have both metrics, each with whether another beats it in both."""
    costs, gains = values(rows, length, x), values(rows, length, y)
    signs = [1 if better(rows, name) == "lower" else -1 for name in (x, y)]
    both = {
        name: (signs[0] * costs[name], signs[1] * gains[name]) for name in costs if name in gains
    }
    return [
        Spot(line=name, x=costs[name], y=gains[name], best=not _beaten(at, both.values()))
        for name, at in both.items()
    ]


def without(rows: Sequence[Row], length: int, metrics: Sequence[str]) -> list[str]:
    """Say of each contender that cannot be drawn why not."""
    told: dict[str, str] = {}
    here = [row for row in rows if row["seq_len"] == length]
    for row in here:
        if row["outcome"] != "ok":
            told[row["contender"]] = f"{row['outcome'].replace('_', ' ')}: {row['reason']}"
    for metric in metrics:
        have = values(rows, length, metric)
        for name in {row["contender"] for row in here} - set(have) - set(told):
            told[name] = f"{theme.metric(metric).quantity.lower()} was not measured"
    return [f"{name}: {why}" for name, why in sorted(told.items())]


def budget(
    rows: Sequence[Row], length: int, memory: float | None, quality: str | None, floor: float | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what fits a budget, fastest first, and why the others do not.

    Args:
        rows: of one selection.
        length: at which all are looked at.
        memory: bytes of peak memory at most; None: any.
        quality: a metric of `qualities`; None: not asked.
        floor: the least quality, or the most error; None: any.
    """
    times, sizes = values(rows, length, "latency"), values(rows, length, "peak_memory")
    good = values(rows, length, quality) if quality else {}
    direction = better(rows, quality) if quality else "higher"
    fit: list[dict[str, Any]] = []
    out: list[str] = []
    for name in dict.fromkeys(row["contender"] for row in rows if row["seq_len"] == length):
        why = _unfit(name, times, sizes, good, memory, floor, direction, quality)
        if why:
            out.append(f"{name}: {why}")
            continue
        line: dict[str, Any] = {"contender": name, "time": times[name]}
        line |= {"memory": sizes.get(name), "quality": good.get(name)}
        fit.append(line)
    return sorted(fit, key=lambda line: line["time"]), out


def rungs(rows: Sequence[Row], length: int, quality: str) -> list[Rung]:
    """Return what hash rounds buy: time and quality of every cell with an option `hashes`."""
    times, good = values(rows, length, "latency"), values(rows, length, quality)
    found: dict[str, Rung] = {}
    for row in rows:
        name = row["contender"]
        options = _options(row)
        if "hashes" not in options or name not in times or name not in good or name in found:
            continue
        entry = row.get("entry", name)
        others = ", ".join(f"{k} {v}" for k, v in sorted(options.items()) if k != "hashes")
        found[name] = Rung(
            line=entry, hashes=int(options["hashes"]), others=others, x=times[name], y=good[name]
        )
    return sorted(found.values(), key=lambda rung: (rung.line, rung.others, rung.hashes))


def _unfit(
    name: str,
    times: Mapping[str, float],
    sizes: Mapping[str, float],
    good: Mapping[str, float],
    memory: float | None,
    floor: float | None,
    direction: str,
    quality: str | None,
) -> str:
    """Return why a contender does not fit, or an empty text."""
    if name not in times:
        return "has no time at this length"
    if memory is not None:
        if name not in sizes:
            return "its memory was not measured"
        if sizes[name] > memory:
            return f"needs {theme.quantity(sizes[name], 'byte')}"
    if floor is None or quality is None:
        return ""
    if name not in good:
        return f"its {theme.metric(quality).quantity.lower()} was not measured"
    short = good[name] < floor if direction == "higher" else good[name] > floor
    return f"{theme.metric(quality).quantity.lower()} {theme.digits(good[name])}" if short else ""


def _beaten(at: tuple[float, float], all_of: Any) -> bool:
    return any(other[0] <= at[0] and other[1] <= at[1] and other != at for other in all_of)


def _options(row: Row) -> dict[str, Any]:
    found: Any = json.loads(row["options"] or "{}")
    return found if isinstance(found, dict) else {}
