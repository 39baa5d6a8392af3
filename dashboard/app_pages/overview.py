"""Overview: the answer in a sentence, and every cell with its number or the reason for none."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from dashboard import charts, filters, findings, shell, tables, theme, trend
from dashboard.data import Chosen, Selection
from dashboard.figures.grid import MOST_ROWS
from dashboard.figures.grid import grid as draw
from dashboard.grid import Grid, grid

TILES = {  # heading -> outcomes
    "Measured": ("ok",),
    "Out of memory": ("out_of_memory", "implied"),
    "Timed out or crashed": ("timeout", "crashed", "error"),
    "Wrong or diverged": ("wrong", "diverged"),
    "Not run": ("unsupported", "skipped"),
}


def main() -> None:
    """Show the chosen run in one look."""
    chosen = shell.run()
    if chosen is None:
        return
    if chosen.outline.header.question:
        st.text(chosen.outline.header.question)
    selection = filters.bar(chosen)
    if selection is None:
        return
    first = charts.main_metric(selection)
    main, memory = (charts.build(selection, name) for name in (first, "peak_memory"))
    with st.container(border=True):
        told = findings.answer(main, memory, charts.conditions(selection))
        reached = findings.frontier(charts.build(selection, "frontier"))
        st.text("\n".join(filter(None, (reached, told))))
    tiles(grid(main))
    numbers(selection)
    newest(chosen)
    shell.notes(chosen)


def tiles(found: Grid) -> None:
    """Show how many cells ended how."""
    counts: Mapping[str, int] = found.counts
    with st.container(horizontal=True):
        for title, outcomes in TILES.items():
            st.metric(title, sum(counts.get(outcome, 0) for outcome in outcomes), border=True)


def numbers(selection: Selection) -> None:
    """Show the grid of one metric."""
    metric = charts.choose_metric(selection)
    chart = charts.build(selection, metric)
    if not chart.curves:
        st.info("No cell of this run has these settings.")
        return
    found = grid(chart)
    finding = findings.headline(chart)
    shell.chart(draw(found, shell.ink()), key="overview-grid", alt=finding, name=f"grid-{metric}")
    words = [
        f"{theme.metric(metric).quantity}: median; below it how many times the best of the column",
        findings.caption(chart, charts.conditions(selection), 1, drawn=False),
    ]
    if len(found.lines) > MOST_ROWS:
        words.append(f"{MOST_ROWS} of {len(found.lines)} contenders are drawn; the table has all")
    shell.caption(" · ".join(words))
    with st.expander("The same as a table", key="overview-numbers"):
        rows = tables.numbers(chart)
        shell.table(rows, key="overview", name=f"overview-{metric}", alt=finding)


def newest(chosen: Chosen) -> None:
    """Show what changed against the run of this suite before it."""
    st.subheader("Against the run before", anchor=False)
    before = trend.earlier(chosen)
    if before is None:
        st.text(
            f"There is no earlier run of {chosen.outline.header.suite} here to compare with. "
            "Another run of the suite makes one:"
        )
        st.code(trend.command(chosen), language=None)
        return
    for line in trend.changes(chosen, before):
        st.text(line)
    pair = {"base": before.path.name, "candidate": chosen.path.name}
    shell.way("All changes on Compare", "compare", key="all-changes", **pair)


main()
