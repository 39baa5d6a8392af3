"""The file of waivers: a YAML list, each entry with a cell, a metric, a reason and its last day."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from harness.grammar import document
from harness.grammar.document import SuiteError
from harness.grammar.node import Node
from harness.judging.waivers import Waiver

MAX_RATIO = 1e6


def read(file: Path) -> tuple[Waiver, ...]:
    """Return the waivers of a file.

    Raises:
        SuiteError: all that is wrong with it, each with its place.
    """
    problems: list[str] = []
    tree = document.parse(document.read(file), str(file))
    top = Node(tree, "", problems).record(("waivers",))
    found = [waiver for item in top["waivers"].items() if (waiver := _waiver(item))] if top else []
    if problems:
        raise SuiteError(*(f"{file}: {problem}" for problem in problems))
    return tuple(found)


def _waiver(node: Node) -> Waiver | None:
    children = node.record(("cell", "metric", "reason", "expires"), ("ratio", "issue"))
    texts = {key: child.text() for key, child in children.items() if key != "ratio"}
    expires = _day(children["expires"]) if "expires" in children else None
    ratio = children["ratio"].number(1, MAX_RATIO) if "ratio" in children else None
    cell, metric, reason = (texts.get(key) for key in ("cell", "metric", "reason"))
    if cell is None or metric is None or reason is None or expires is None:
        return None
    return Waiver(
        cell=cell,
        metric=metric,
        reason=reason,
        expires=expires,
        ratio=ratio,
        issue=texts.get("issue"),
    )


def _day(node: Node) -> date | None:
    try:
        return date.fromisoformat(str(node.value))
    except ValueError:
        return node.expected("a day such as 2026-12-31")
