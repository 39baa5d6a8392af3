"""Charts over length for pages: which metric, built once a selection."""

from __future__ import annotations

import streamlit as st

from dashboard import curves, theme
from dashboard.curves import Chart
from dashboard.data import Selection

TABS = ("latency", "peak_memory", "throughput", "joules_per_token")
HOW = {  # metric -> metric of the suite that measures it
    "latency": "latency",
    "throughput": "latency",
    "peak_memory": "peak_memory",
    "joules_per_token": "energy",
}


def choose_metric(selection: Selection) -> str:
    """Show the switch between metrics: the four that everybody asks for, then what there is."""
    found = curves.metrics(selection.rows)
    first = main_metric(selection)
    names = [*TABS, *(name for name in found if name not in TABS)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        tab = st.segmented_control(
            "Metric",
            [*TABS, "other"],
            default=first if first in TABS else "other",
            required=True,
            format_func=lambda name: "Other" if name == "other" else theme.metric(name).tab,
            key="metric",
            bind="query-params",
        )
        others = names[len(TABS) :]
        if tab != "other" or not others:
            return tab if tab != "other" else first
        return st.selectbox(
            "Other metric",
            others,
            format_func=lambda name: theme.metric(name).tab,
            key="other",
            bind="query-params",
            width=260,
        )


def main_metric(selection: Selection) -> str:
    """Return what a selection is looked at by first: time, or what there is instead."""
    found = curves.metrics(selection.rows)
    preferred = ("latency", "quality", "peak_memory", "error", *found)
    return next((name for name in preferred if name in found), "latency")


@st.cache_data(max_entries=64, show_spinner="Fitting", hash_funcs={Selection: lambda s: s.key})
def build(selection: Selection, metric: str) -> Chart:
    """Return the curves of a selection."""
    rows = curves.with_derived(selection.rows)
    return curves.chart(
        rows, selection.contenders, metric, selection.phase, selection.chosen.styles,
        baseline=selection.chosen.contenders[0],
    )  # fmt: skip


def conditions(selection: Selection) -> dict[str, str]:
    """Return the settings that all cells share, those worth telling."""
    if not selection.rows:
        return {}
    first = selection.rows[0]
    return {name: str(first[name]) for name in curves.TOLD}


def command(selection: Selection, *metrics: str) -> str:
    """Return the command that measures metrics in the suite of a selection."""
    header = selection.chosen.outline.header
    wanted = [HOW.get(metric, metric) for metric in metrics]
    names = ",".join(dict.fromkeys([*header.metrics, *wanted]))
    return f"python -m harness run {suite(selection)} --set metrics=[{names}]"


def suite(selection: Selection) -> str:
    """Return the file of the suite as the run's command named it."""
    header = selection.chosen.outline.header
    named = [word for word in header.command if word.endswith((".yaml", ".yml"))]
    return named[0] if named else f"suites/{header.suite}.yaml"
