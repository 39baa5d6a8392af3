"""Lines of a chart: a contender, or each setting of one whose options the suite sweeps. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dashboard.selecting import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """The table of a run in which `contender` names the line, and `entry` the contender."""

    table: Table
    order: tuple[str, ...]  # names, in the order of the suite, settings in growing order
    variants: dict[str, str]  # line -> attention variant
    swept: tuple[str, ...]  # names of options that lines differ in


def lines(table: Table, contenders: Sequence[str]) -> Lines:
    """Name each line of a run by its contender and the options in which it has several settings."""
    pairs = table[["contender", "options", "attention"]].drop_duplicates(["contender", "options"])
    known: dict[str, dict[str, dict[str, Any]]] = {}
    variants: dict[str, str] = {}
    for contender, options, _ in pairs.itertuples(index=False):
        known.setdefault(contender, {})[options] = json.loads(options)
    names: dict[tuple[str, str], str] = {}
    swept: set[str] = set()
    order: list[str] = []
    for contender in [*contenders, *sorted(set(known).difference(contenders))]:
        settings = known.get(contender, {})
        keys = [k for k in _keys(settings) if len({_text(s.get(k)) for s in settings.values()}) > 1]
        swept.update(keys)
        found = sorted(settings, key=lambda o: [_rank(settings[o].get(k)) for k in keys])
        for options in found:
            told = " ".join(f"{k}={_text(settings[options].get(k))}" for k in keys)
            names[contender, options] = f"{contender} {told}".strip()
        order += [names[contender, options] for options in found]
    for contender, options, attention in pairs.itertuples(index=False):
        variants[names[contender, options]] = attention
    named = table.assign(entry=table["contender"], contender=_named(table, names, order))
    return Lines(table=named, order=tuple(order), variants=variants, swept=tuple(sorted(swept)))


def _named(table: Table, names: dict[tuple[str, str], str], order: list[str]) -> Any:
    """Return the names of the rows, worked out once a pair of categories."""
    contender, options = table["contender"].cat, table["options"].cat
    width = max(1, len(options.categories))
    keys = contender.codes.astype("int64") * width + options.codes
    places = {name: i for i, name in enumerate(order)}
    pairs = {
        i * width + k: places[name]
        for i, first in enumerate(contender.categories)
        for k, second in enumerate(options.categories)
        if (name := names.get((first, second))) is not None
    }
    return pd.Categorical.from_codes(keys.map(pairs).to_numpy("int32"), order)


def _keys(settings: dict[str, dict[str, Any]]) -> list[str]:
    return sorted({key for options in settings.values() for key in options})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _rank(value: Any) -> tuple[int, Any]:
    """Order numbers by size and before everything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (0, value)
    return (1, _text(value))
