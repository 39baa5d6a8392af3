"""What changed since the run before, from medians and their samples."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from dashboard import cells, data, theme
from dashboard.curves import Row
from dashboard.data import Chosen
from dashboard.selecting import Table
from harness import replicates
from harness.store import RunSummary, StoreError

MOST = 3


def earlier(chosen: Chosen) -> RunSummary | None:
    """Return the newest finished run of the same suite that is older, or None."""
    header = chosen.outline.header
    older = (
        run
        for run in data.all_runs()
        if run.suite == header.suite and run.created_at < header.created_at
    )
    return next(older, None)


def command(chosen: Chosen) -> str:
    """Return the command that makes a run of the same suite."""
    return cells.again(chosen.outline.header)


def changes(chosen: Chosen, before: RunSummary) -> list[str]:
    """Return the largest changes of time and memory in words; those that can be shown."""
    try:
        other = data.chosen(before.path)
    except StoreError as error:
        return [str(error)]
    found = _changes(chosen, other)
    if set(chosen.environments) != set(other.environments):
        return ["The environments differ, so times are not comparable.", *found]
    return found


@st.cache_data(
    max_entries=16, show_spinner=False, hash_funcs={Chosen: lambda chosen: chosen.fingerprint}
)
def _changes(chosen: Chosen, other: Chosen) -> list[str]:
    found: list[tuple[float, str]] = []
    cells = 0
    for metric in ("latency", "peak_memory"):
        before, after = (_of(each.table, metric) for each in (other, chosen))
        both: Table = pd.merge(before, after, on="cell_id", suffixes=("", "_now"))
        cells = max(cells, len(both))
        both = both[(both["value"] > 0) & (both["value_now"] > 0)]
        ratios = both["value_now"] / both["value"]
        order = ratios.map(lambda ratio: -abs(math.log(ratio))).sort_values().index
        rows = [(abs(math.log(ratios[i])), dict(both.loc[i])) for i in order[: 4 * MOST]]
        found += [(far, told) for far, row in rows if (told := _told(row, metric))]
    if not cells:
        return [f"No cell was measured in both this run and {other.run_id}."]
    if not found:
        return [f"Against {other.run_id}: no difference can be shown in {cells} cells."]
    found.sort(reverse=True)
    return [f"Against {other.run_id}, of {cells} cells the largest changes:"] + [
        f"  {text}" for _, text in found[:MOST]
    ]


def _of(table: Table, metric: str) -> Table:
    names = [
        "cell_id",
        "contender",
        "phase",
        "seq_len",
        "unit",
        "value",
        "samples",
        "launches",
        "sittings",
    ]
    mine = table[(table["metric"] == metric) & (table["outcome"] == "ok") & (table["n"] > 0)]
    return mine[names].astype({"cell_id": str, "launches": str, "sittings": str})


def _told(row: Row, metric: str) -> str:
    """Return a change in words, or nothing where it cannot be shown."""
    before, now = (
        replicates.of_words(
            tuple(row[f"samples{when}"]), row[f"launches{when}"], row[f"sittings{when}"]
        )
        for when in ("", "_now")
    )
    interval = replicates.ratio_interval(before, now)
    if len(row["samples"]) > 1 and (interval is None or interval.lo <= 1 <= interval.hi):
        return ""
    ratio = row["value_now"] / row["value"]
    if abs(math.log(ratio)) < math.log(1.01):
        return ""
    words = theme.metric(metric)
    times = theme.digits(max(ratio, 1 / ratio))
    told = f"{times}{theme.TIMES} {words.comparative if ratio < 1 else words.worse}"
    values = [theme.quantity(row[name], row["unit"]) for name in ("value", "value_now")]
    where = f"{row['contender']} {row['phase']} {theme.length(row['seq_len'])}"
    return f"{where}: {told} ({values[0]} to {values[1]})"
