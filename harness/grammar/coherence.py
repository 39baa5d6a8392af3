"""What the sections of a suite must agree on: fields given once, options that exist, heads."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.grammar.fields import MIN_VOCAB, OPTION, REQUIRED
from harness.schema import DEVICES, Contender

Axes = Mapping[str, Mapping[str, tuple[Any, ...]]]
Fixed = Mapping[str, Mapping[str, Any]]


def problems(contenders: Sequence[Contender], axes: Axes, fixed: Fixed) -> Iterator[str]:
    """Yield what is wrong between contenders, axes and fixed fields."""
    for name in axes:
        if name in fixed:
            yield f"axes.{name}: is also under 'fixed'; keep one of the two"
    tasked = "task" in axes or "task" in fixed
    if not tasked:
        yield from _bytes(axes, fixed)
    for name in () if tasked else REQUIRED:
        if name not in axes and name not in fixed:
            yield f"{name}: is missing; give it under 'axes' or 'fixed'"
    yield from _options(contenders, axes)
    yield from _heads(axes, fixed)


def training_problems(
    metrics: Sequence[str], given: Sequence[str], axes: Axes, fixed: Fixed
) -> Iterator[str]:
    """Yield what is wrong between the task, the metric that trains on it, and how to train.

    Args:
        metrics: what is measured.
        given: those of the sections `training` and `eval` that the suite has.
        axes: swept fields.
        fixed: fixed fields.
    """
    tasked = "task" in axes or "task" in fixed
    if "quality" in metrics and not tasked:
        yield "metrics: quality needs a task; give 'task' under 'axes' or 'fixed'"
    for section in given:
        if "quality" not in metrics:
            yield f"{section}: nothing is trained; put 'quality' under 'metrics' or leave it out"
    phases = {p for d in DEVICES for p in _values("phase", d, axes, fixed)}
    if "quality" in metrics and "forward" in phases:
        yield "phase: a cell that is trained is a train_step"


def _bytes(axes: Axes, fixed: Fixed) -> Iterator[str]:
    where = "axes" if "vocab" in axes else "fixed"
    sizes = {size for device in DEVICES for size in _values("vocab", device, axes, fixed)}
    for size in sorted(sizes):
        if size < MIN_VOCAB:
            yield f"{where}.vocab: expected a whole number of at least {MIN_VOCAB}, got {size}"


def _options(contenders: Sequence[Contender], axes: Axes) -> Iterator[str]:
    known = sorted({key for contender in contenders for key in contender.options})
    for name in axes:
        option = name.removeprefix(OPTION)
        if not name.startswith(OPTION) or option in known:
            continue
        near = difflib.get_close_matches(option, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"listed: {', '.join(known) or 'none'}"
        yield f"axes.{name}: no contender lists the option {option!r}; {hint}"


def _heads(axes: Axes, fixed: Fixed) -> Iterator[str]:
    where = "axes" if "d_model" in axes else "fixed"
    widths = {d: _values("d_model", d, axes, fixed) for d in DEVICES}
    heads = {d: _values("heads", d, axes, fixed) for d in DEVICES}
    pairs = (pair for d in DEVICES for pair in itertools.product(widths[d], heads[d]))
    for d_model, count in dict.fromkeys(pairs):
        if d_model % count:
            yield f"{where}.d_model: {d_model} is not divisible by heads {count}"


def _values(name: str, device: str, axes: Axes, fixed: Fixed) -> tuple[Any, ...]:
    if name in axes:
        return axes[name].get(device, ())
    return (fixed[name][device],) if device in fixed.get(name, {}) else ()
