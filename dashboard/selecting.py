"""Which cells a chart shows: those that agree in phase and in every setting. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

Table = Any  # a DataFrame: pandas types its operators so that nothing can be said of results
Settings = tuple[tuple[str, Any], ...]  # those that have a choice, and what was chosen
# Columns that say which run and curve a cell belongs to, and where on it.
IDENTITY = (
    *("run_id", "suite", "created_at", "cell_id", "contender", "entry", "model", "attention"),
    *("impl", "options", "phase", "seq_len", "tokens"),
)
# Columns in which the cells of one curve must agree, beside contender, phase and seq_len.
SETTINGS = (
    *("device", "dtype", "batch", "d_model", "heads", "d_ff", "layers", "vocab"),
    *("causal", "threads", "data", "seed", "memory_bytes"),
)


def settings(table: Table) -> dict[str, list[Any]]:
    """Return the settings in which cells differ, each with its values; None is one of them."""
    found: dict[str, list[Any]] = {}
    for name in (name for name in (*SETTINGS, *_new(table)) if name in table.columns):
        values = [None if pd.isna(v) else v for v in table[name].unique()]
        if len(values) > 1:
            plain = [getattr(v, "item", lambda v=v: v)() for v in values]
            found[name] = sorted(plain, key=lambda v: (v is None, v if v is not None else 0))
    return found


def select(table: Table, phase: str, chosen: Settings) -> Table:
    """Return the rows that have these settings."""
    table = table[table["phase"] == phase]
    for name, value in chosen:
        column = table[name]
        table = table[column.isna() if value is None else column == value]
    return table


def selections(table: Table) -> Iterator[tuple[str, Settings]]:
    """Yield every combination of phase and settings that has cells."""
    for phase in sorted(str(name) for name in table["phase"].unique()):
        yield from _below(table, phase, ())


def _below(table: Table, phase: str, chosen: Settings) -> Iterator[tuple[str, Settings]]:
    left = settings(select(table, phase, chosen))
    if not left:
        yield phase, chosen
        return
    name, values = next(iter(left.items()))
    for value in values:
        yield from _below(table, phase, (*chosen, (name, value)))


def _new(table: Table) -> list[str]:
    """Return columns that describe a cell and that this page knows nothing of yet."""
    names = list(table.columns)
    described = names[: names.index("outcome")] if "outcome" in names else []
    return [name for name in described if name not in {*SETTINGS, *IDENTITY}]
