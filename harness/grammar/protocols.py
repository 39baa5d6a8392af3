"""How cells are measured, as a suite says it: the fields of `Protocol`, each with its range."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from harness import lengths
from harness.grammar.fields import MAX_SEED
from harness.grammar.node import Node
from harness.schema import DEVICES, PAIRINGS, Protocol

MAX_SAMPLES = 1_000_000
MAX_LAUNCHES = 100
# A process keeps the luck of its start (where its pages lie, who runs beside it): on a CPU the
# medians of single processes differ by 3 to 15 %, those of two that take turns on one core by 1 to
# 4 %. More launches cost time and average it: how far, on the machine at hand, `doctor` measures.
# On CUDA processes would take turns on the device only as whole blocks: they stay apart.
LAUNCHES = {"cpu": 5, "cuda": 1}
PAIRING = {"cpu": "chunked", "cuda": "apart"}
# On two busy cores the samples of one launch still scatter by 5 %: with 0.4 s of processor time a
# launch, five pairs tell equal from equal within 2 %.
MIN_TIME_S = {"cpu": 2.0, "cuda": 0.5}
MAX_TIME_S = 7 * 86400.0
MIN_TIMEOUT_S = 0.01
MIN_MEMORY_BYTES = 1 << 20


def _memory(node: Node) -> int | None:
    limit = lengths.size(node.value)
    if limit is None or limit < MIN_MEMORY_BYTES:
        return node.expected("a size of at least 1 MiB, such as 4GiB or a number of bytes")
    return limit


CHECKS: Mapping[str, Callable[[Node], Any]] = {
    "launches": lambda node: node.count(1, MAX_LAUNCHES),
    "pairing": lambda node: node.choice("pairing", PAIRINGS),
    "warmups": lambda node: node.count(0, MAX_SAMPLES),
    "min_samples": lambda node: node.count(1, MAX_SAMPLES),
    "max_samples": lambda node: node.count(1, MAX_SAMPLES),
    "min_time_s": lambda node: node.number(0, MAX_TIME_S),
    "max_time_s": lambda node: node.number(0, MAX_TIME_S),
    "timeout_s": lambda node: node.number(MIN_TIMEOUT_S, MAX_TIME_S),
    "memory_limit_bytes": _memory,
    "order_seed": lambda node: node.count(0, MAX_SEED),
}


def protocols(node: Node | None) -> dict[str, Protocol]:
    """Return the protocol of each device; what a suite does not say has its default.

    `null` as a memory limit asks for the default. A value may be a map by device.
    """
    children = node.record((), [f.name for f in fields(Protocol)]) if node else {}
    given = {
        name: child.by_device(CHECKS[name])
        for name, child in children.items()
        if not (name == "memory_limit_bytes" and child.value is None)
    }
    found: dict[str, Protocol] = {}
    for device in DEVICES:
        own = {name: values[device] for name, values in given.items() if device in values}
        usual: dict[str, Any] = {
            "launches": LAUNCHES[device],
            "pairing": PAIRING[device],
            "min_time_s": min(MIN_TIME_S[device], own.get("max_time_s", math.inf)),
        }
        found[device] = Protocol(**(usual | own))
    if node:
        _check_order(node, found, "min_samples", "max_samples")
        _check_order(node, found, "min_time_s", "max_time_s")
    return found


def _check_order(node: Node, found: Mapping[str, Protocol], low: str, high: str) -> None:
    for least, most in dict.fromkeys((getattr(p, low), getattr(p, high)) for p in found.values()):
        if least > most:
            node.report(f"{low} {least:g} is above {high} {most:g}")
