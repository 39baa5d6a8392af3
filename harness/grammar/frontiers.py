"""The `frontier` section of a suite: lengths are searched for, under memory budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import lengths
from harness.frontier import Search
from harness.grammar.node import Node

Axes = Mapping[str, Mapping[str, tuple[Any, ...]]]

MIN_BUDGET = 1 << 20
METRIC = "peak_memory"  # the pass that runs within the budget


def search(node: Node) -> dict[str, Search]:
    """Return what is searched for, by device."""
    return node.by_device(_search)


def starts(
    node: Node | None,
    searches: Mapping[str, Search],
    axes: Axes,
    fixed: Mapping[str, Any],
    metrics: Sequence[str],
) -> Axes:
    """Return the axes of the cells with which the searches begin; report what is in the way."""
    if node is None:
        return axes
    for section, given in (("axes", axes), ("fixed", fixed)):
        if "seq_len" in given:
            node.report(f"seq_len is searched for; take it off '{section}'")
    if METRIC not in metrics:
        node.report(f"{METRIC!r} runs within the budget; add it to 'metrics'")
    if "seq_len" in fixed:
        return axes
    return {
        **axes,
        "seq_len": {device: (one.start,) for device, one in searches.items()},
        "memory_bytes": {device: one.memory for device, one in searches.items()},
    }


def _search(node: Node) -> Search | None:
    children = node.record(("memory", "start", "limit"), ("resolution",))
    budgets = _budgets(children["memory"]) if "memory" in children else None
    start = children["start"].count() if "start" in children else None
    limit = children["limit"].count() if "limit" in children else None
    given = children.get("resolution")
    resolution = start if given is None else given.count()
    if start is None or limit is None or resolution is None:
        return None
    if start > limit:
        children["start"].report(f"{start} is above the limit {limit}")
    for name, value in (("start", start), ("limit", limit)):
        if value % resolution:
            children[name].report(f"{value} is not a multiple of the resolution {resolution}")
    if not budgets:
        return None
    return Search(memory=budgets, start=start, limit=limit, resolution=resolution)


def _budgets(node: Node) -> tuple[int, ...]:
    found: list[int] = []
    for item in node.items():
        size = lengths.size(item.value)
        if size is None or size < MIN_BUDGET:
            item.expected("a size of at least 1 MiB, such as 8GiB or a number of bytes")
        elif size in found:
            item.report(f"{item.value} appears twice")
        else:
            found.append(size)
    return tuple(found)
