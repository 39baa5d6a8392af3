"""The fields of a cell that a suite may sweep or fix: how each is checked, and its default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from harness import lengths
from harness.codec import canonical
from harness.grammar.node import Node, show
from harness.grammar.tasks import TASKS
from harness.schema import DEVICES, DTYPES, PHASES

AUTO = "auto"  # the device that the machine has, decided when the suite is expanded
MIN_VOCAB = 256  # tokens are bytes, unless there is a task
MIN_SYMBOLS = 2  # of a task
MAX_SEED = 2**32 - 1
MAX_EXPONENT = 30
OPTION = "options."  # prefix of an axis over an option of the contenders that list it

COUNTS = ("seq_len", "batch", "d_model", "heads", "d_ff", "layers", "threads")
REQUIRED = ("phase", "seq_len", "d_model", "heads", "layers")  # of axes and fixed together
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "batch": dict.fromkeys(DEVICES, 1),
    "vocab": dict.fromkeys(DEVICES, MIN_VOCAB),
    "causal": dict.fromkeys(DEVICES, True),
    "threads": dict.fromkeys(DEVICES, 1),
    "seed": dict.fromkeys(DEVICES, 0),
    "device": dict.fromkeys(DEVICES, AUTO),
    "dtype": {"cpu": "float32", "cuda": "bfloat16"},
}  # d_ff is 4 * d_model where a suite says nothing
OF_A_TASK = ("batch", "vocab", "causal")  # defaults that are a task's, where there is one

CHECKS: Mapping[str, Callable[[Node], Any]] = {
    "phase": lambda node: node.choice("phase", PHASES),
    "dtype": lambda node: node.choice("dtype", DTYPES),
    "device": lambda node: node.choice("device", DEVICES),
    "causal": Node.boolean,
    "seed": lambda node: node.count(0, MAX_SEED),
    "vocab": lambda node: node.count(MIN_SYMBOLS),
    "task": lambda node: node.choice("task", TASKS.names()),
    **dict.fromkeys(COUNTS, Node.count),
}


def axes(node: Node) -> dict[str, dict[str, tuple[Any, ...]]]:
    """Return the values of each axis by device."""
    known = [*CHECKS, *(key for key in node.mapping or {} if _is_option(key))]
    return {
        name: child.by_device(partial(_axis, CHECKS.get(name, Node.option)))
        for name, child in node.record((), known).items()
    }


def fixed(node: Node) -> dict[str, dict[str, Any]]:
    """Return the value of each fixed field by device."""
    checks = {**CHECKS, "device": _device_or_auto}
    return {
        name: child.by_device(checks[name]) for name, child in node.record((), [*CHECKS]).items()
    }


def _device_or_auto(node: Node) -> str | None:
    return node.choice("device", (AUTO, *DEVICES))


def with_defaults(
    fixed: Mapping[str, Mapping[str, Any]], axes: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the fixed fields with the defaults of those that are neither fixed nor swept."""
    named = {*fixed, *axes}
    named.update(OF_A_TASK if "task" in named else ())
    names = [*fixed, *(name for name in DEFAULTS if name not in named)]
    return {name: {**DEFAULTS.get(name, {}), **fixed.get(name, {})} for name in names}


def _axis(check: Callable[[Node], Any], node: Node) -> tuple[Any, ...] | None:
    if "pow2" in (node.mapping or {}):
        return _powers(node) if check is Node.count else node.expected("a list")
    if node.sequence is None and node.mapping is None:
        return node.report(f"expected a list, got {show(node.value)}; one value goes under 'fixed'")
    values: list[Any] = []
    seen: set[str] = set()
    for item in node.items():
        before = len(node.problems)
        value = check(item)
        if len(node.problems) > before:
            continue
        text = canonical(value)
        if text in seen:
            item.report(f"{show(value)} appears twice")
        seen.add(text)
        values.append(value)
    return tuple(values)


def _powers(node: Node) -> tuple[int, ...] | None:
    pair = node.record(("pow2",)).get("pow2")
    if pair is None:
        return None
    exponents = [item.count(0, MAX_EXPONENT) for item in pair.items()]
    if len(exponents) != 2:
        return pair.expected("the first and the last exponent, such as [10, 17]")
    first, last = exponents
    if first is None or last is None:
        return None
    if first > last:
        return pair.report(f"the first exponent {first} is above the last, {last}")
    return lengths.powers_of_two(first, last)


def _is_option(key: str) -> bool:
    return key.startswith(OPTION) and len(key) > len(OPTION)
