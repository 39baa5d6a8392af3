"""Where the time of one cell goes: families, the largest names, efficiency, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from harness import stats
from harness.schema import Environment, Result
from harness.telling import units
from harness.telling.efficiency import efficiency
from harness.telling.tables import Sheet

PREFIX = "profile_"
STEP = "profile_step"
# What LSH attention pays to find out who meets whom.
ROUTING = ("hashing", "sort", "gather_scatter")


def profile_sheets(
    result: Result, environment: Environment | None, files: Sequence[Path]
) -> list[Sheet]:
    """Return the sheets of the verb `profile`; those that have nothing to tell are left out."""
    sheets = [
        figures(result),
        families(result),
        names(result),
        efficiency(result, environment),
        Sheet(
            title=f"files in artifacts/{result.cell.id}",
            header=("", ""),
            rows=tuple((file.name, units.quantity(file.stat().st_size, "byte")) for file in files),
        ),
    ]
    return [sheet for sheet in sheets if sheet.rows]


def figures(result: Result) -> Sheet:
    """Return what the other instruments found, as medians."""
    rows = tuple(
        (m.metric.replace("_", " "), units.quantity(stats.median(m.samples), m.unit), str(n))
        for m in result.measurements
        if (n := len(m.samples)) and not m.metric.startswith(PREFIX)
    )
    return Sheet(title="measurements", header=("metric", "median", "n"), rows=rows)


def families(result: Result) -> Sheet:
    """Return the time of each family in a step and its share, the largest first."""
    spent = shares(result)
    step = _step(result)
    rows = tuple(
        (family.replace("_", " "), units.quantity(share * step, "ns"), units.percent(share))
        for family, share in spent.items()
    )
    total = (("profiled step", units.quantity(step, "ns"), units.percent(1.0)),) if rows else ()
    return Sheet(
        title="time of a step by family",
        header=("", "time", "share"),
        rows=rows + total,
        notes=_notes(result, spent),
    )


def shares(result: Result) -> dict[str, float]:
    """Return the share of each family in the profiled step, the largest first; {} without one."""
    step = _step(result)
    if not step:
        return {}
    found = {
        m.metric.removeprefix(PREFIX): sum(m.samples) / len(m.samples) / step
        for m in result.measurements
        if m.metric.startswith(PREFIX) and m.metric != STEP and m.samples
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def names(result: Result) -> Sheet:
    """Return the operations or kernels that take most of a step."""
    step, profile = _step(result), _facts(result)
    rows = tuple(
        (name, family.replace("_", " "), units.number(calls), *_spent(ns, step))
        for name, family, ns, calls in profile.get("top", ())
    )
    header = ("", "family", "calls", "own time", "share")
    return Sheet(title="largest operations or kernels of a step", header=header, rows=rows)


def _spent(ns: float, step: float) -> tuple[str, str]:
    return units.quantity(ns, "ns"), units.percent(ns / step) if step else "-"


def _step(result: Result) -> float:
    """Return the mean time of a profiled step, to which the families' means add up."""
    found = [m.samples for m in result.measurements if m.metric == STEP and m.samples]
    return sum(found[0]) / len(found[0]) if found else 0.0


def _notes(result: Result, spent: Mapping[str, float]) -> tuple[str, ...]:
    if not spent:
        return ()
    profile = _facts(result)
    notes = [
        f"families explain {units.percent(profile.get('explained', 0.0))} of the step; mean of "
        f"{profile.get('steps', 0)} profiled steps",
        "autograd: own time of its functions, Python inside them and the profiler's notes included",
        "unattributed: between operations, in Python, or an idle device",
    ]
    routing = [spent[family] for family in ROUTING if family in spent]
    if "hashing" in spent:
        notes.append(f"hashing, sort and gather together: {units.percent(sum(routing))}")
    latency = [m.samples for m in result.measurements if m.metric == "latency" and m.samples]
    if latency:
        without = units.quantity(stats.median(latency[0]), "ns")
        notes.append(f"latency without the profiler: {without}")
    return tuple(notes)


def _facts(result: Result) -> Mapping[str, Any]:
    found: Any = result.facts.get("profile")
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}
