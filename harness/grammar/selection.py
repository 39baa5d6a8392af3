"""The cells that `--only` and `--skip` choose."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import fields

from harness.grammar import rules
from harness.grammar.document import SuiteError
from harness.grammar.fields import OPTION
from harness.grammar.grid import Grid, Ruled
from harness.schema import Cell
from models.catalog import unknown

_KEY_VALUE = re.compile(r"([\w.]+)(>=|<=|!=|=|>|<)(.*)", re.DOTALL)


def select(cells: Sequence[Cell], only: Sequence[str] = (), skip: Sequence[str] = ()) -> Grid:
    """Keep the cells that some `only` pattern matches and no `skip` pattern does.

    A pattern is a cell's or a contender's id with * and ?, or `key=value` on any field of a cell,
    such as `seq_len=4k`, `phase=forward`, `seq_len>8k` or `options.hashes=4`.

    Raises:
        SuiteError: a pattern matches no cell, or no cell remains.
    """
    problems: list[str] = []
    wanted = [_matching(cells, "--only", pattern, problems) for pattern in only]
    unwanted = [(p, _matching(cells, "--skip", p, problems)) for p in skip]
    if problems:
        raise SuiteError(*problems)
    kept: list[Cell] = []
    excluded: list[Ruled] = []
    for cell in cells:
        identity = cell.id
        skipped = next((pattern for pattern, found in unwanted if identity in found), None)
        if skipped is not None:
            excluded.append(Ruled(cell=cell, reason=f"--skip {skipped}"))
        elif only and not any(identity in found for found in wanted):
            excluded.append(Ruled(cell=cell, reason=f"not in --only {' --only '.join(only)}"))
        else:
            kept.append(cell)
    if cells and not kept:
        raise SuiteError("--only and --skip together leave no cell to run")
    return Grid(cells=tuple(kept), excluded=tuple(excluded))


def _matching(
    cells: Sequence[Cell], flag: str, pattern: str, problems: list[str]
) -> frozenset[str]:
    match = _KEY_VALUE.fullmatch(pattern)
    if match is None:
        found = {c.id for c in cells if _is_named(c, pattern)}
        if not found:
            names = list(dict.fromkeys(cell.contender for cell in cells))
            problems.append(f"{flag} {pattern}: {unknown('cell or contender', pattern, names)}")
        return frozenset(found)
    field, comparison, text = match.groups()
    known = _selectable(cells)
    if field not in known:
        problems.append(f"{flag} {pattern}: {unknown('field', field, known)}")
        return frozenset()
    wanted = rules.Condition(field=field, comparison=comparison, text=text)
    found = {cell.id for cell in cells if wanted.holds(cell)}
    if not found:
        values = [rules.value(cell, field) for cell in cells]
        given = dict.fromkeys(str(value) for value in values if value is not None)
        problems.append(f"{flag} {pattern}: {unknown(field, text, list(given))}")
    return frozenset(found)


def _is_named(cell: Cell, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in (cell.id, cell.contender))


def _selectable(cells: Sequence[Cell]) -> list[str]:
    options = {f"{OPTION}{key}" for cell in cells for key in cell.options}
    return [*(f.name for f in fields(Cell) if f.name != "options"), *sorted(options)]
