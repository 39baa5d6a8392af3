"""Scaling: time, memory, tokens per second and energy over sequence length."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, curves, filters, findings, shell, tables, theme
from dashboard.curves import Chart
from dashboard.data import Chosen, Selection
from dashboard.figures.scaling import scaling
from dashboard.looks import PALETTE


def main() -> None:
    """Show the chosen run."""
    chosen = shell.run()
    if chosen is None:
        return
    selection = filters.bar(chosen)
    if selection is None:
        return
    show(chosen, selection)
    shell.notes(chosen)


def show(chosen: Chosen, selection: Selection) -> None:
    """Show the switches, the chart and the numbers behind it."""
    metric = charts.choose_metric(selection)
    chart = charts.build(selection, metric)
    if not chart.curves:
        st.info("No cell of this run has these settings.")
        return
    if not chart.measured and any(row["n"] for row in selection.rows):
        what = f"{theme.metric(metric).quantity} was not measured in this run."
        if metric == "joules_per_token":
            what += " It needs a counter of energy that the system lets us read."
        shell.unmeasured(what, charts.command(selection, metric))
        return
    finding = findings.headline(chart)
    st.text(finding)
    name = f"scaling-{metric}-{selection.phase}"
    shell.chart(scaling(chart, shell.ink()), key="scaling-chart", alt=finding, name=name)
    lines = len(chart.curves)
    if lines > len(PALETTE):
        shell.caption(f"{lines} lines: leave some out under Contenders to tell them apart.")
    words = findings.caption(chart, charts.conditions(selection), len(chosen.environments))
    shell.caption(words)
    st.text("\n".join(findings.crossovers(chart)))
    numbers(chart, name)


def numbers(chart: Chart, name: str) -> None:
    """Show the table, the fits, and how far each point lies from its fit."""
    with st.expander("Numbers", key="scaling-numbers"):
        shell.table(tables.numbers(chart), key="scaling", name=name, alt=findings.headline(chart))
        st.text("\n".join(findings.exponents(chart)))
        residuals = curves.residuals(chart)
        if residuals:
            st.text("Measured over fitted, where the fit was made (1 = on the line):")
            st.dataframe(residuals, hide_index=True, key="scaling-residuals")


main()
