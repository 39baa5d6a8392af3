"""Where the time and the memory of a step go, cell by cell over length. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.curves import Row

PREFIX, STEP = "profile_", "profile_step"
LEDGER, TOTAL = "ledger_", "ledger_total"
SUMS = (STEP, TOTAL, "ledger_allocated")  # of other parts
LAST = ("other", "unattributed", "unexplained")  # what nobody can name comes last
MOST_POINTS = 450  # of a timeline with eight accounts: 4,000 points of SVG


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The parts of one metric by length; they add up to the whole."""

    lengths: tuple[int, ...]
    parts: Mapping[str, tuple[float, ...]]  # by name, a value a length, in SI units; largest first
    unit: str
    method: str

    def whole(self, i: int) -> float:
        """Return the sum of the parts at the i-th length."""
        return sum(values[i] for values in self.parts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """One cell under the roofline."""

    line: str
    length: int
    intensity: float  # FLOP a byte
    rate: float  # FLOP/s as executed
    share: float | None  # of the bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Bytes over time, account by account."""

    times_s: tuple[float, ...]
    accounts: Mapping[str, tuple[float, ...]]
    phases: tuple[tuple[str, float, float], ...]  # name, from, to
    kept: int  # of `changes`
    changes: int


def split(rows: Sequence[Row], contender: str, prefix: str) -> Split | None:
    """Return the parts of a contender's steps over length; None where nothing was measured.

    The parts of a profile add up as means, so means are what is shown.
    """
    mine = [
        row
        for row in rows
        if row["contender"] == contender and row["outcome"] == "ok" and row["n"]
        if row["metric"] and row["metric"].startswith(prefix) and row["metric"] not in SUMS
    ]
    if not mine:
        return None
    lengths = tuple(sorted({row["seq_len"] for row in mine}))
    found: dict[str, list[float]] = {}
    for row in mine:
        name = row["metric"].removeprefix(prefix)
        values = found.setdefault(name, [0.0] * len(lengths))
        values[lengths.index(row["seq_len"])] = sum(row["samples"]) / row["n"]
    order = sorted(found, key=lambda name: (name in LAST, -sum(found[name])))
    return Split(
        lengths=lengths,
        parts={name: tuple(found[name]) for name in order},
        unit=mine[0]["unit"],
        method=mine[0]["method"] or "",
    )


def roofs(rows: Sequence[Row]) -> list[Roof]:
    """Return the cells whose intensity and rate are known."""
    by: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows:
        if row["outcome"] == "ok" and row["n"] and row["metric"]:
            by.setdefault((row["contender"], row["seq_len"]), {})[row["metric"]] = row["value"]
    return [
        Roof(
            line=line,
            length=length,
            intensity=found["intensity"],
            rate=found["rate_executed"],
            share=found.get("of_bound_measured", found.get("of_bound_sheet")),
        )
        for (line, length), found in sorted(by.items())
        if found.get("intensity", 0) > 0 and found.get("rate_executed", 0) > 0
    ]


def roofless(rows: Sequence[Row]) -> list[str]:
    """Return the contenders that have a time and yet no place under the roofline."""
    timed = {row["contender"] for row in rows if row["metric"] == "latency" and row["n"]}
    return sorted(timed - {roof.line for roof in roofs(rows)})


def timeline(told: Mapping[str, Any]) -> Timeline | None:
    """Return a worker's memory timeline with as many points as a figure takes.

    Of each stretch the moment with most bytes is kept, so that no peak is lost.
    """
    columns, points = told.get("columns"), told.get("points")
    if not isinstance(columns, list) or not isinstance(points, list) or not points:
        return None
    names = [str(name) for name in columns if str(name).endswith("_bytes")]
    at = [columns.index(name) for name in names]
    clock = columns.index("at_ns")
    kept = _peaks(points, at)
    part = columns.index("part") if "part" in columns else None
    accounts = {
        name.removesuffix("_bytes"): tuple(float(point[i]) for point in kept)
        for name, i in zip(names, at, strict=True)
    }
    used = {name: values for name, values in accounts.items() if any(values)}
    times = tuple(point[clock] / 1e9 for point in kept)
    phases = _phases([point[part] for point in kept], times) if part is not None else ()
    changes = int(told.get("changes", len(points)))
    return Timeline(times_s=times, accounts=used, phases=phases, kept=len(kept), changes=changes)


def _peaks(points: Sequence[Sequence[Any]], at: Sequence[int]) -> list[Sequence[Any]]:
    if len(points) <= MOST_POINTS:
        return list(points)
    size = len(points) / MOST_POINTS
    pieces = (points[round(i * size) : round((i + 1) * size)] for i in range(MOST_POINTS))
    return [max(piece, key=lambda point: sum(point[i] for i in at)) for piece in pieces if piece]


def _phases(names: Sequence[str], times: Sequence[float]) -> tuple[tuple[str, float, float], ...]:
    found: list[tuple[str, float, float]] = []
    for name, time in zip(names, times, strict=True):
        if found and found[-1][0] == name:
            found[-1] = (name, found[-1][1], time)
        else:
            if found:
                found[-1] = (found[-1][0], found[-1][1], time)
            found.append((str(name), time, time))
    return tuple(found)
