"""Scaling: time, memory and tokens per second over sequence length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import curves, findings, tables, theme
from dashboard.curves import Chart, Row
from dashboard.data import Chosen, Selection
from dashboard.figures.scaling import scaling


def main() -> None:
    """Show the chosen run."""
    chosen: Chosen | None = st.session_state.get("chosen")
    if chosen is None:
        return
    if chosen.question:
        st.text(chosen.question)
    if not chosen.rows:
        st.info("This run has no results yet. If it was interrupted, this goes on with it:")
        st.code(f"python -m harness run --resume {chosen.run_id}", language="bash")
        return
    show(chosen)
    for note in chosen.notes:
        st.text(f"Note: {note}")


def show(chosen: Chosen) -> None:
    """Show the switches, the chart and the numbers behind it."""
    with st.container(horizontal=True, vertical_alignment="top"):
        metric = choose_metric(chosen.rows)
        selection = select(chosen)
    chart = build(selection, metric)
    if not chart.curves:
        st.info(f"No cell of this run has these settings. The run is {chosen.run_id}.")
        return
    finding = findings.headline(chart)
    st.text(finding)
    draw(chart, finding)
    st.caption(escape(findings.caption(chart, conditions(selection.rows), chosen.environments)))
    st.text("\n".join(findings.crossovers(chart)))
    with st.expander("Numbers", key="scaling-numbers"):
        st.dataframe(pd.DataFrame(tables.numbers(chart)), hide_index=True, key="scaling-table")
        st.text("\n".join(findings.exponents(chart)))


def choose_metric(rows: Sequence[Row]) -> str:
    """Show the switch between metrics; a run without any has none to choose from."""
    found = curves.metrics(rows)
    if not found:
        return "latency"
    return st.segmented_control(
        "Metric",
        found,
        default=found[0],
        required=True,
        format_func=lambda name: theme.metric(name).tab,
        key="metric",
        bind="query-params",
    )


def select(chosen: Chosen) -> Selection:
    """Show a choice for each setting in which the cells of the run differ."""
    phase = choose("Phase", "phase", sorted({row["phase"] for row in chosen.rows}))
    selection = Selection(chosen=chosen, phase=phase, settings=())
    while left := curves.settings(selection.rows):
        name, values = next(iter(left.items()))
        value = choose(name.replace("_", " ").capitalize(), name, values)
        selection = replace(selection, settings=(*selection.settings, (name, value)))
    return selection


def choose(label: str, key: str, values: Sequence[Any]) -> Any:
    """Show a choice, or nothing where there is none to make."""
    if len(values) == 1:
        return values[0]
    return st.selectbox(label, values, key=key, bind="query-params", width=220)


@st.cache_data(max_entries=64, show_spinner="Fitting", hash_funcs={Selection: lambda s: s.key})
def build(selection: Selection, metric: str) -> Chart:
    """Return the curves of a selection."""
    contenders = selection.chosen.contenders
    return curves.chart(selection.rows, contenders, metric, selection.phase)


def draw(chart: Chart, finding: str) -> None:
    """Draw the chart in the colours of the page."""
    kind = st.context.theme.type or "light"
    st.plotly_chart(
        scaling(chart, theme.INK[kind]),
        theme=None,
        key="scaling-chart",
        alt=finding,
        config={
            "displaylogo": False,
            "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
            "toImageButtonOptions": {"filename": f"scaling-{chart.metric}-{chart.phase}"},
        },
    )


def conditions(rows: Sequence[Row]) -> dict[str, str]:
    """Return the settings that all cells share, those worth telling."""
    first = rows[0]
    names = ("device", "dtype", "batch", "d_model", "heads", "layers", "threads")
    return {name: str(first[name]) for name in names}


def escape(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>()#+!|$:~" else letter for letter in text)


main()
