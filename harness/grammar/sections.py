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
    """Return the thresholds of each metric."""
    thresholds: dict[str, dict[str, float]] = {}
    for metric, child in node.record((), measured).items():
        limit = child.record(("regress_over",)).get("regress_over")
        value = limit.number(0, MAX_REGRESSION) if limit else None
        if value is not None:
            thresholds[metric] = {"regress_over": value}
    return thresholds


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
