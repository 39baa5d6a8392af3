"""The smaller sections of a suite: version, metrics, gate and data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.grammar.node import Node

VERSION = 1
MAX_REGRESSION = 100.0  # a hundred times the baseline


def version(node: Node) -> None:
    """Check that a file is of the version that is read here."""
    if isinstance(node.value, bool) or node.value != VERSION:
        node.expected(f"version {VERSION}")


def metrics(node: Node, known: Sequence[str]) -> tuple[str, ...]:
    """Return the names of what is measured."""
    names: list[str] = []
    for item in node.items():
        name = item.choice("metric", known)
        if name in names:
            item.report(f"{name!r} appears twice")
        elif name is not None:
            names.append(name)
    return tuple(names)


def gate(node: Node, measured: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the limits of each metric: what a cell that passes may hide, and what is no news.

    `regress_over` is the largest relative loss of a cell that passes; `margin`, for times, the loss
    that nobody wants to hear about, at most as large.
    """
    limits: dict[str, dict[str, float]] = {}
    for metric, child in node.record((), measured).items():
        parts = child.record(("regress_over",), ("margin",) if metric == "latency" else ())
        values = {name: part.number(0, MAX_REGRESSION) for name, part in parts.items()}
        found = {name: value for name, value in values.items() if value is not None}
        if "regress_over" in found:
            limits[metric] = found
        if found.get("margin", 0.0) > found.get("regress_over", MAX_REGRESSION):
            parts["margin"].report("is above regress_over")
    return limits


def data(node: Node) -> str | None:
    """Return the absolute path of the corpus."""
    child = node.record(("path",)).get("path")
    text = child.text() if child else None
    if child is None or text is None:
        return None
    path = Path(text).expanduser()
    if path.is_dir():
        return child.report(f"{text} is a folder; name a file")
    if not path.is_file():
        return child.report(f"{text}: no such file")
    if not os.access(path, os.R_OK):
        return child.report(f"{text} cannot be read: permission denied")
    return str(path.resolve()) if path.stat().st_size else child.report(f"{text} is empty")
