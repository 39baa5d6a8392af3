"""How the networks of cells with a task are trained and judged: `training` and `eval`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from harness.grammar.node import Node, show
from harness.schema import DEVICES, Evaluation, Training

T = TypeVar("T")
RUNGS = ("dense", "plain")  # of the hash ladder, beside numbers of rounds
MAX_STEPS, MAX_SECONDS, MAX_SEEDS, MAX_ROUNDS = 100_000_000, 30 * 86400.0, 1000, 1024
BITS = 1e6  # more than any score


def _score(node: Node) -> float | None:
    return node.number(-BITS, BITS)


def _rates(node: Node) -> tuple[float, ...]:
    return _unique(node, lambda item: item.number(1e-9, 100.0))


def _rung(node: Node) -> int | str | None:
    if isinstance(node.value, str) and node.value in RUNGS:
        return node.value
    if isinstance(node.value, str | bool):
        return node.expected(f"hash rounds or one of {', '.join(RUNGS)}")
    return node.count(1, MAX_ROUNDS)


def _unique(node: Node, check: Callable[[Node], T | None]) -> tuple[T, ...]:
    found: list[T] = []
    for item in node.items():
        value = check(item)
        if value in found:
            item.report(f"{show(value)} appears twice")
        elif value is not None:
            found.append(value)
    return tuple(found)


TRAINING: Mapping[str, Callable[[Node], Any]] = {
    "steps": lambda node: node.count(1, MAX_STEPS),
    "seconds": lambda node: node.number(0.001, MAX_SECONDS),
    "learning_rates": _rates,
    "seeds": lambda node: node.count(1, MAX_SEEDS),
    "warmup": lambda node: node.count(0, MAX_STEPS),
    "weight_decay": lambda node: node.number(0, 10.0),
    "eval_every": lambda node: node.count(1, MAX_STEPS),
    "examples": lambda node: node.count(1, 1_000_000),
    "stop_at": _score,
    "target": _score,
    "dense_until": _score,
    "processes": lambda node: node.count(1, 1024),
}
EVALUATION: Mapping[str, Callable[[Node], Any]] = {
    "hashes": lambda node: _unique(node, _rung),
    "chunk": Node.count,
    "seq_len": lambda node: _unique(node, Node.count),
    "margin": lambda node: node.number(0, 1.0),
}


def training(node: Node | None) -> dict[str, Training]:
    """Return how to train on each device; a value may be a map by device."""
    return _by_device(node, TRAINING, Training)


def evaluation(node: Node | None) -> dict[str, Evaluation]:
    """Return what else to judge by on each device; a value may be a map by device."""
    return _by_device(node, EVALUATION, Evaluation)


def _by_device(
    node: Node | None, checks: Mapping[str, Callable[[Node], Any]], kind: type[T]
) -> dict[str, T]:
    names = [f.name for f in fields(kind)]  # pyright: ignore[reportArgumentType] - a dataclass
    children = node.record((), names) if node else {}
    given = {name: child.by_device(checks[name]) for name, child in children.items()}
    return {
        device: kind(**{name: by[device] for name, by in given.items() if device in by})
        for device in DEVICES
    }
