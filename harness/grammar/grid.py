"""The grid of cells: its expansion, what a suite leaves out, and the order of execution."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from harness.grammar import rules, tasks
from harness.grammar.document import SuiteError
from harness.grammar.fields import OPTION
from harness.schema import Cell, Contender

MAX_CELLS = 10_000
_IDENTITY = ("contender", "model", "attention", "impl", "options")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """A cell that somebody decided about, and why."""

    cell: Cell
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Cells in declared order, and those left out."""

    cells: tuple[Cell, ...]
    excluded: tuple[Ruled, ...] = ()  # their outcome is `skipped`, with the reason
    included: tuple[Ruled, ...] = ()  # excluded, then taken back by an `include` entry


def points(
    contenders: Sequence[Contender],
    axes: Mapping[str, Sequence[Any]],
    fixed: Mapping[str, Any],
) -> list[Cell]:
    """Return the product of contenders and axes; the last axis varies fastest.

    An axis `options.<name>` applies to the contenders that list the option. What a cell's task
    says of sizes and model options holds where neither axes, fixed nor contender say otherwise.
    `d_ff` is 4 * d_model where nobody gives it.

    Raises:
        SuiteError: there are more than `MAX_CELLS`.
    """
    sweeps = [(contender, _axes_of(contender, axes)) for contender in contenders]
    count = sum(math.prod(len(values) for values in own.values()) for _, own in sweeps)
    if count > MAX_CELLS:
        raise SuiteError(f"axes: make {count} cells; at most {MAX_CELLS}")
    return [
        _cell(contender, {**fixed, **dict(zip(own, point, strict=True))})
        for contender, own in sweeps
        for point in itertools.product(*own.values())
    ]


def judge(
    cells: Sequence[Cell], exclude: Sequence[rules.Rule], include: Sequence[rules.Rule]
) -> Grid:
    """Leave out the cells that an exclude entry matches, unless an include entry does too."""
    kept: list[Cell] = []
    excluded: list[Ruled] = []
    included: list[Ruled] = []
    for cell in cells:
        against = next((rule for rule in exclude if rule.matches(cell)), None)
        back = next((rule for rule in include if against and rule.matches(cell)), None)
        if against is None or back is not None:
            kept.append(cell)
        else:
            excluded.append(Ruled(cell=cell, reason=against.reason))
        if back is not None:
            included.append(Ruled(cell=cell, reason=back.reason))
    return Grid(cells=tuple(kept), excluded=tuple(excluded), included=tuple(included))


def order(cells: Sequence[Cell], seed: int) -> tuple[Cell, ...]:
    """Return the cells in the order in which they are run.

    Cells that differ only in contender and its options are one group and run one after the other,
    in random order, so that what drifts on the machine touches all contenders alike. Groups run by
    increasing length, so that a length that a contender cannot reach is known before a longer one
    is tried; at one length they follow each other as declared.
    """
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        key = tuple(getattr(cell, f.name) for f in fields(Cell) if f.name not in _IDENTITY)
        groups.setdefault(key, []).append(cell)
    generator = random.Random(seed)  # an order, not a secret
    ordered: list[Cell] = []
    for group in sorted(groups.values(), key=lambda group: group[0].seq_len):
        generator.shuffle(group)
        ordered.extend(group)
    return tuple(ordered)


def _axes_of(contender: Contender, axes: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    return {
        name: values
        for name, values in axes.items()
        if not name.startswith(OPTION) or name.removeprefix(OPTION) in contender.options
    }


def _cell(contender: Contender, values: Mapping[str, Any]) -> Cell:
    swept = {k.removeprefix(OPTION): v for k, v in values.items() if k.startswith(OPTION)}
    own = {key: value for key, value in values.items() if not key.startswith(OPTION)}
    options: dict[str, Any] = {}
    if own.get("task") is not None:
        told = tasks.declared(own["task"], contender.model)
        own, options = {**told.fields, **own}, dict(told.options)
    own.setdefault("d_ff", 4 * own["d_model"])
    return Cell(
        contender=contender.id,
        model=contender.model,
        attention=contender.attention,
        impl=contender.impl,
        options={**options, **contender.options, **swept},
        **own,
    )
