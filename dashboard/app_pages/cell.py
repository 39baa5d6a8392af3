"""Cell: one point of the grid down to its raw samples."""

from __future__ import annotations

import json

import pandas as pd
import streamlit as st

from dashboard import cells, curves, data, samples, shell, theme
from dashboard.curves import Row
from dashboard.data import Chosen
from dashboard.figures.samples import MOST, autocorrelation, ecdf, order
from harness import store
from harness.store import Result


def main() -> None:
    """Choose a cell of the chosen run and show all that is known of it."""
    chosen = shell.run()
    if chosen is None:
        return
    cell = choose(chosen)
    rows = curves.records(chosen.table[chosen.table["cell_id"] == cell])
    if not rows:
        st.info("This cell has no result yet.")
        return
    st.subheader(theme.escape(cells.title(rows[0])), anchor=False)
    outcome(rows[0])
    st.text("This measures the cell again:")
    st.code(cells.rerun(chosen.outline.header, cell), language=None)
    result = data.result(chosen, cell)
    measured = [row for row in rows if row["n"]]
    if measured:
        show_samples(measured, result)
    with st.expander("Configuration", key="cell-configuration", expanded=not measured):
        st.dataframe(
            cells.configuration(rows[0]), hide_index=True, key="cell-config", alt="Configuration"
        )
    neighbours(chosen, rows[0])
    if result is not None:
        details(chosen, result)


def choose(chosen: Chosen) -> str:
    """Show the cells of the run by their ids, which are what the address holds."""
    ids = [str(cell) for cell in chosen.table["cell_id"].drop_duplicates()]
    return st.selectbox("Cell", ids, key="cell", bind="query-params")


def outcome(row: Row) -> None:
    """Show how the cell ended, in words and with its reason."""
    glyph, _ = theme.outcome(row["outcome"]) if row["outcome"] != "ok" else ("✓", "")
    said = f"{glyph} {row['outcome'].replace('_', ' ')}"
    show = st.success if row["outcome"] == "ok" else st.warning
    show(theme.escape(said + (f" in {row['stage']}" if row["stage"] else "")))
    if row["reason"]:
        st.text(row["reason"])
    if row["requested_bytes"]:
        st.text(f"It asked for {theme.quantity(row['requested_bytes'], 'byte')}.")


def show_samples(rows: list[Row], result: Result | None) -> None:
    """Show the distribution, the order and the autocorrelation of one metric's samples."""
    by = {row["metric"]: row for row in rows}
    first = ("latency", "quality", "peak_memory", "error")
    order_ = {name: i for i, name in enumerate(first)}
    names = sorted(by, key=lambda name: (order_.get(name, len(first)), -by[name]["n"], name))
    metric = st.selectbox(
        "Metric",
        names,
        format_func=lambda name: f"{theme.metric(name).tab}, n = {by[name]['n']}",
        key="cell-metric",
        bind="query-params",
        width=320,
    )
    row = by[metric or names[0]]
    metric = str(row["metric"])
    values = [float(value) for value in row["samples"]]
    launches = cells.launches(result, metric)
    told = ", ".join(
        f"{name} {value}"
        for name, value in samples.summary(values, row["unit"], (row["lo"], row["hi"]))
    )
    st.text(told)
    shell.caption(f"{row['method']} · sampling ended: {row['stop'] or 'single'}")
    for line in samples.warnings(values, row["unit"], launches):
        st.text(f"Note: {line}")
    if len(values) < 2:
        return
    if len(values) > MOST:
        st.text(f"{MOST} of {len(values)} samples are drawn.")
    ink, name = shell.ink(), f"{metric}-{row['cell_id']}"
    left, middle, right = st.columns(3)
    with left:
        st.text("Distribution")
        shell.chart(ecdf(values, row["unit"], ink), key="cell-ecdf", alt=told, name=f"ecdf-{name}")
    with middle:
        st.text("In order of measurement")
        figure = order(values, row["unit"], ink, launches)
        alt = f"{len(values)} samples in order, {len(launches) or 1} processes"
        shell.chart(figure, key="cell-order", alt=alt, name=f"order-{name}")
    with right:
        st.text("Memory of earlier samples")
        found = samples.autocorrelations(values)
        if found is None:
            st.text("Too few samples, or equal ones, to judge.")
        else:
            alt = f"Autocorrelation at lag 1: {found.values[0]:.2f}; band {found.bound:.2f}"
            shell.chart(autocorrelation(found, ink), key="cell-acf", alt=alt, name=f"acf-{name}")
    with st.expander("Raw samples", key="cell-raw"):
        size, symbol = theme.step(values[0], row["unit"])
        raw = [
            {"sample": i, f"value ({symbol})": value / size} for i, value in enumerate(values, 1)
        ]
        shell.table(raw, key="cell-samples", name=f"samples-{name}", alt="Raw samples in order")


def neighbours(chosen: Chosen, row: Row) -> None:
    """Offer the next shorter and longer cell of the same contender."""
    found = cells.neighbours(chosen.table, row)
    if not found:
        return
    with st.container(horizontal=True):
        for label, cell in found:
            shell.way(label, "cell", key=f"go-{label}", run=chosen.path.name, cell=cell)


def details(chosen: Chosen, result: Result) -> None:
    """Show facts, environment, artifacts and the record as it is stored."""
    with st.expander("Proof, facts and environment", key="cell-facts"):
        facts = cells.facts(result)
        if facts:
            st.dataframe(pd.DataFrame(facts), hide_index=True, key="cell-facts-table", alt="Facts")
        environment = chosen.environments.get(result.environment or "")
        if environment is None:
            st.text("No environment was recorded: no process lived long enough to tell.")
        else:
            fields = [{"key": k, "value": str(v)} for k, v in sorted(environment.fields.items())]
            st.dataframe(fields, hide_index=True, key="cell-environment", alt="Environment")
    files = store.artifacts(chosen.path, result.cell.id)
    with st.expander(f"Files ({len(files)})", key="cell-files"):
        if not files:
            st.text("This cell left no files; the metrics profile and memory_ledger leave some.")
        for file in files:
            label = f"{file.name}, {theme.quantity(file.stat().st_size, 'byte')}"
            st.download_button(
                theme.escape(label), file.read_bytes, file.name, key=f"cell-file-{file.name}"
            )
    with st.expander("The record as it is stored", key="cell-record"):
        st.code(json.dumps(cells.record(result), indent=1)[:200_000], language=None)


main()
