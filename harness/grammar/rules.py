"""Conditions on cells: of `exclude` and `include` entries and of `--only` and `--skip`."""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from harness import lengths
from harness.grammar import document
from harness.grammar.fields import CHECKS, OPTION
from harness.grammar.node import Node
from harness.grammar.tasks import TASKS
from harness.schema import DEVICES, DTYPES, MODELS, OWN, PEERS, PHASES, Cell
from models.catalog import unknown

NAMES = ("contender", "model", "attention", "impl")
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_COMPARISON = re.compile(r"(>=|<=|!=|=|>|<)?\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One comparison of a field with a value; texts are compared as patterns with * and ?."""

    field: str  # a field of Cell, or options.<name>
    comparison: str  # =, !=, <, <=, > or >=
    text: str  # the value as written

    def holds(self, cell: Cell) -> bool:
        """Say whether a cell meets the condition; an option that a cell lacks never does."""
        return self.accepts(value(cell, self.field))

    def accepts(self, actual: Any) -> bool:
        """Say whether a field's value meets the condition."""
        if actual is None:
            return False
        if self.comparison in _ORDERS:
            wanted = number(self.text)
            is_number = isinstance(actual, int | float) and wanted is not None
            return is_number and _ORDERS[self.comparison](actual, wanted)
        return _is_equal(actual, self.text) == (self.comparison == "=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An `exclude` or `include` entry: it matches where every field meets one alternative."""

    alternatives: tuple[tuple[Condition, ...], ...]  # a tuple for each field
    reason: str

    def matches(self, cell: Cell) -> bool:
        """Say whether the entry speaks of this cell."""
        return all(any(c.holds(cell) for c in field) for field in self.alternatives)


def value(cell: Cell, field: str) -> Any:
    """Return a field of a cell, or an option as `options.<name>`; None where it has none."""
    if field.startswith(OPTION):
        return cell.options.get(field.removeprefix(OPTION))
    return getattr(cell, field)


def number(text: str) -> float | None:
    """Return the number that a text such as `4k` or `0.5` is, None where it is none."""
    length = lengths.whole(text)
    plain = document.scalar(text) if length is None else length
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        return None
    return plain


def condition(field: str, text: str) -> Condition:
    """Return the condition that a text such as `>8k`, `!=reformer` or `forward` asks for."""
    match = cast("re.Match[str]", _COMPARISON.fullmatch(text))
    return Condition(field=field, comparison=match[1] or "=", text=match[2])


def rules(node: Node, contenders: Sequence[str], variants: Sequence[str]) -> tuple[Rule, ...]:
    """Return the checked entries of `exclude` or `include`."""
    known = {
        "contender": contenders,
        "model": (*MODELS, *PEERS),
        "attention": (*variants, OWN),
        "phase": PHASES,
        "dtype": DTYPES,
        "device": DEVICES,
        "task": TASKS.names(),
    }
    found = [_rule(item, known) for item in node.items()]
    return tuple(rule for rule in found if rule is not None)


def _rule(node: Node, known: Mapping[str, Sequence[str]]) -> Rule | None:
    options = [key for key in node.mapping or {} if key.startswith(OPTION)]
    children = node.record(("reason",), [*NAMES, *CHECKS, *options])
    reason = children.pop("reason").text() if "reason" in children else None
    if not children and reason is not None:
        node.report(f"matches every cell; name a field such as {NAMES[0]} or seq_len")
    alternatives = tuple(_conditions(child, key, known) for key, child in children.items())
    return Rule(alternatives=alternatives, reason=reason) if reason and alternatives else None


def _conditions(
    node: Node, field: str, known: Mapping[str, Sequence[str]]
) -> tuple[Condition, ...]:
    items = [node] if node.sequence is None else node.items()
    found = [_condition(item, field, known) for item in items]
    return tuple(item for item in found if item is not None)


def _condition(node: Node, field: str, known: Mapping[str, Sequence[str]]) -> Condition | None:
    if node.mapping is not None or node.sequence is not None or node.value is None:
        return node.expected("a value or a comparison such as '>8k'")
    text = str(node.value).lower() if isinstance(node.value, bool) else str(node.value)
    wanted = condition(field, text)
    names = known.get(field)
    if wanted.comparison in _ORDERS and (names or field in NAMES or field == "causal"):
        return node.report(f"{field} has no order; use = or !=, or a list of values")
    if names is not None and not any(fnmatch.fnmatchcase(n, wanted.text) for n in names):
        return node.report(unknown(field, wanted.text[:60], list(names)))
    if field in CHECKS and names is None:
        return _numeric(node, field, wanted)
    return wanted


def _numeric(node: Node, field: str, wanted: Condition) -> Condition | None:
    """Check the operand of a comparison as the field itself would be checked."""
    before = len(node.problems)
    CHECKS[field](Node(document.scalar(wanted.text), node.path, node.problems))
    return wanted if len(node.problems) == before else None


def _is_equal(actual: Any, text: str) -> bool:
    if isinstance(actual, bool):
        return str(actual).lower() == text.lower()
    if isinstance(actual, int | float):
        return actual == number(text)
    return fnmatch.fnmatchcase(str(actual), text)
