"""History: cells over many runs, and the steps found in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st

from dashboard import data, history, looks, shell, theme
from dashboard.figures.history import MOST_PANELS, multiples
from dashboard.history import Series
from dashboard.selecting import Table
from harness import store
from harness.store import Environment, RunSummary

METRICS = ("latency", "peak_memory", "throughput")
MOST_RUNS = 400


def main() -> None:
    """Choose a suite and a metric and show its cells over all runs."""
    found = shell.readable()
    if not found:
        return
    bar = st.container(horizontal=True)
    with bar:
        runs = choose_suite(found)
    table = data.history(tuple(run.path for run in reversed(runs)))
    with bar:
        metric = choose_metric(table)
    if metric is None:
        st.info("No run of this suite has a number yet.")
        return
    few = history.FEWEST - len(runs)
    if few > 0:
        plural = "s" if few > 1 else ""
        st.info(f"Steps need at least {history.FEWEST} runs of a suite: {few} more run{plural}.")
        st.code(f"python -m harness run suites/{runs[0].suite}.yaml", language=None)
    with bar:
        series = choose_series(table, metric, history.machines(environments(runs)))
    if not series:
        st.info("No cell of these was measured with this metric.")
        return
    show(series, metric, {run.run_id: run.path for run in runs})


def environments(runs: Sequence[RunSummary]) -> dict[str, Environment]:
    """Return the environments of runs by id."""
    return {k: v for run in runs for k, v in store.environments(run.path).items()}


def choose_suite(found: Sequence[RunSummary]) -> list[RunSummary]:
    """Show the suites, the one with most runs first; return its runs, newest first."""
    suites = list(dict.fromkeys(run.suite for run in found))
    suites.sort(key=lambda name: -sum(run.suite == name for run in found))
    name = suites[0]
    if len(suites) > 1:
        name = st.selectbox("Suite", suites, key="suite", bind="query-params", width=260)
    runs = [run for run in found if run.suite == name]
    if len(runs) > MOST_RUNS:
        st.text(f"The newest {MOST_RUNS} of {len(runs)} runs are shown.")
    return runs[:MOST_RUNS]


def choose_metric(table: Table) -> str | None:
    """Show the metrics of a suite's runs."""
    there = [str(name) for name in table["metric"].dropna().unique()]
    if not there:
        return None
    names = [name for name in METRICS if name in there]
    names += sorted(set(there).difference(names))
    return st.selectbox(
        "Metric",
        names,
        format_func=lambda name: theme.metric(name).tab,
        key="over",
        bind="query-params",
        width=260,
    )


def choose_series(table: Table, metric: str, places: Mapping[str, int]) -> list[Series]:
    """Show which contenders and phases to look at; twelve cells fit on the page."""
    phases = sorted(str(phase) for phase in table["phase"].unique())
    phase = phases[0]
    if len(phases) > 1:
        phase = st.selectbox("Phase", phases, key="phase", bind="query-params", width=200)
    table = table[table["phase"] == phase]
    lengths = sorted(int(n) for n in table["seq_len"].unique())
    length = st.selectbox(
        "Sequence length",
        ["all", *lengths],
        index=len(lengths),
        format_func=lambda n: n if n == "all" else theme.length(n),
        key="at",
        bind="query-params",
        width=200,
    )
    if length != "all":
        table = table[table["seq_len"] == length]
    return history.series(table, metric, places)


def show(series: Sequence[Series], metric: str, paths: dict[str, Path]) -> None:
    """Show the steps in words and the small multiples."""
    steps = history.steps(series)
    if steps:
        st.subheader(f"{len(steps)} steps found, newest first", anchor=False)
    for i, step in enumerate(steps[:10]):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(history.sentence(step, metric))
            before, after = (paths[run].name for run in step.runs)
            label = "Compare the runs around it"
            shell.way(label, "compare", key=f"step-{i}", base=before, candidate=after)
    finding = f"{len(steps)} steps found in {len(series)} cells."
    longest = len(series[0].moments)
    if longest < history.FEWEST:
        finding = f"{len(series)} cells over {longest} runs; no steps looked for."
    elif not steps:
        finding = f"No step found in {len(series)} cells over {longest} runs."
    for line in history.drifts(series):
        st.text(f"Creeping: {line}")
    st.text(finding)
    variants = [(each.contender, each.variant) for each in series]
    styles = looks.styles(dict(variants).items())
    figure = multiples(series, steps, styles, shell.ink())
    shell.chart(figure, key="history-multiples", alt=finding, name=f"history-{metric}")
    told = "a point a run, oldest left, with the 95 % interval of its median; every panel has its "
    told += "own scale, which need not begin at 0; lines: medians of the stretches between steps; "
    told += "gate --history looks for steps with the luck of each launch taken off"
    if len(series) > MOST_PANELS:
        told += f"; {MOST_PANELS} of {len(series)} cells are drawn: choose a length to see others"
    shell.caption(told)
    with st.expander("Numbers", key="history-numbers"):
        rows = [
            {
                "cell": each.label,
                "run": moment.run_id,
                "median": theme.quantity(moment.value, each.unit),
                "environment": moment.environment,
            }
            for each in series[:MOST_PANELS]
            for moment in each.moments
        ]
        shell.table(rows, key="history", name=f"history-{metric}", alt=finding)


main()
