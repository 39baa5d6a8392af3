"""The frontier of a run as words: the longest length that fits each budget, and what ends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import frontier
from harness.codec import canonical
from harness.frontier import Edge, Search
from harness.judging.panels import Panel, panels
from harness.schema import Outcome, Result, Run
from harness.telling import qualities, tables, units, words
from harness.telling.tables import Sheet

BUDGET = "memory_bytes"  # the field of a cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Searches that differ in contender and budget only."""

    title: str  # the phase, and what else tells this group from others
    contenders: tuple[str, ...]  # labels; the first is the baseline
    budgets: tuple[int, ...]
    edges: dict[tuple[str, int], Edge]


def shown(run: Run, wanted: Sequence[str]) -> list[Sheet]:
    """Return the tables of a run: its frontier if it searched one, else medians and growth."""
    search = frontier.settings(run)
    if qualities.is_learning(run):
        return qualities.sheets(run)
    return tables.sheets(run, wanted) if search is None else sheets(run, search)


def sheets(run: Run, search: Search) -> list[Sheet]:
    """Return, per phase, the longest lengths by budget, and what ends each search."""
    found: list[Sheet] = []
    for group in _groups(run, search):
        found += [_lengths(group, search), _ends(group)]
    return found


def answer(run: Run) -> str:
    """Return a sentence a phase: who reaches furthest within each budget."""
    search = frontier.settings(run)
    groups = _groups(run, search) if search else []
    return "\n".join(text for group in groups if (text := _winners(group)))


def _groups(run: Run, search: Search) -> list[Group]:
    groups: dict[str, list[Panel]] = {}
    for panel in panels(run):
        shape = {key: value for key, value in panel.shape.items() if key != BUDGET}
        groups.setdefault(f"{panel.phase} {canonical(shape)}", []).append(panel)
    return [_group(found, search) for found in groups.values()]


def _group(found: Sequence[Panel], search: Search) -> Group:
    edges: dict[tuple[str, int], Edge] = {}
    for panel in found:
        for line in panel.lines:
            budget = next(iter(line.cells.values())).memory_bytes or 0
            edges[line.label, budget] = frontier.edge(line.results, search)
    shape = (f"{key} {value}" for key, value in found[0].shape.items() if key != BUDGET)
    return Group(
        title=", ".join([found[0].phase, *shape]),
        contenders=tuple(dict.fromkeys(label for label, _ in edges)),
        budgets=tuple(sorted({budget for _, budget in edges})),
        edges=edges,
    )


def _lengths(group: Group, search: Search) -> Sheet:
    budgets = [f"within {units.quantity(budget, 'byte')}" for budget in group.budgets]
    rows = tuple(
        (name, *(_length(group, name, budget) for budget in group.budgets))
        for name in group.contenders
    )
    return Sheet(
        title=f"{group.title}: longest sequence that fits [tokens]",
        header=("", *budgets),
        rows=rows,
        notes=(
            f"known to {units.length(search.resolution)} tokens; in brackets the ratio to "
            f"{group.contenders[0]}; the budget holds parameters, inputs and the step",
        ),
    )


def _length(group: Group, name: str, budget: int) -> str:
    edge = group.edges.get((name, budget))
    if edge is None:
        return "not asked"
    base = group.edges.get((group.contenders[0], budget))
    text = _told(edge)
    if name == group.contenders[0] or base is None or not base.length or not edge.length:
        return text
    return f"{text} ({units.ratio(edge.length / base.length)})"


def _told(edge: Edge) -> str:
    """Return how far an edge lies: `12k`, `at least 64k` where the search's limit ended it."""
    if edge.longest is None:
        return "none" if edge.complete else "not known yet"
    bound = "" if edge.complete and edge.failing else "at least "
    return bound + units.length(edge.length)


def _ends(group: Group) -> Sheet:
    rows = tuple(
        (name, units.quantity(budget, "byte"), *_end(edge))
        for (name, budget), edge in sorted(
            group.edges.items(), key=lambda item: (group.contenders.index(item[0][0]), item[0][1])
        )
    )
    header = ("", "budget", "longest that fits", "its peak", "first that fails", "why")
    notes: tuple[str, ...] = ()
    if any(edge.beyond for edge in group.edges.values()):
        notes = ("where a longer length fits again, memory does not grow with length everywhere",)
    return Sheet(title=f"{group.title}: what ends it", header=header, rows=rows, notes=notes)


def _end(edge: Edge) -> tuple[str, str, str, str]:
    if edge.failing is None:
        why = "the limit of the search" if edge.complete else "the search has not ended"
        return _told(edge), _peak(edge.longest), "-", why
    why = reason(edge.failing)
    if edge.beyond:
        why += f"; fits again at {words.listing([units.length(n) for n in edge.beyond])}"
    if not edge.complete:
        why += "; the search has not ended"
    return _told(edge), _peak(edge.longest), units.length(edge.failing.cell.seq_len), why


def reason(result: Result) -> str:
    """Return what ended a cell: the outcome, the bytes asked for, the place where it happened."""
    told = words.outcome(result.outcome)
    if result.requested_bytes is not None:
        told += f": asked for {units.quantity(result.requested_bytes, 'byte')} more"
        _, _, place = (result.reason or "").rpartition(", ")
        return f"{told} {place}" if place.startswith(("in the ", "while ")) else told
    if result.outcome is Outcome.OUT_OF_MEMORY and result.stage:
        told += f" in {result.stage}"
    return f"{told}: {words.plain(result.reason)}" if result.reason else told


def _peak(result: Result | None) -> str:
    """Return the measured peak of the longest cell, parameters and inputs included."""
    names = {m.metric: m.samples[0] for m in result.measurements} if result else {}
    value = names.get("peak_allocated", names.get("peak_memory"))
    return "-" if value is None else units.quantity(value, "byte")


def _winners(group: Group) -> str:
    parts: list[str] = []
    for budget in group.budgets:
        edges = {name: e for name in group.contenders if (e := group.edges.get((name, budget)))}
        reach = sorted(edges.items(), key=lambda item: -item[1].length)
        if not reach or not reach[0][1].length:
            parts.append(f"nothing fits within {units.quantity(budget, 'byte')}")
            continue
        ahead = [name for name, edge in reach if edge.length == reach[0][1].length]
        verb = "reaches" if len(ahead) == 1 else "reach"
        text = f"{words.listing(ahead)} {verb} furthest within {units.quantity(budget, 'byte')}"
        behind = [f"{name} {_told(edge)}" for name, edge in reach if name not in ahead]
        rest = f", {words.listing(behind)}" if behind else ""
        parts.append(f"{text} ({_told(reach[0][1])} tokens{rest})")
    return f"In {group.title}, {'; '.join(parts)}." if parts else ""
