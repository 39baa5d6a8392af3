"""Compare: two runs, cell by cell, with intervals and plain verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import data, shell, theme, verdicts
from dashboard.figures.forest import MOST_ROWS, forest
from harness.compare import Comparison
from harness.store import RunSummary, StoreError


def main() -> None:
    """Choose two runs and show what changed between them."""
    found = shell.readable()
    if not found:
        return
    if len(found) < 2:
        st.info("There is one run here; a comparison needs two. This makes another:")
        st.code(f"python -m harness run suites/{found[0].suite}.yaml", language=None)
        return
    base, candidate = choose(found)
    if base.path == candidate.path:
        st.info("Baseline and candidate are the same run: choose two.")
        return
    try:
        comparison = data.comparison(base.path, candidate.path)
    except StoreError as error:
        st.error("A run cannot be read.")
        st.text(str(error))
        return
    banner(comparison)
    show(comparison, candidate.path.name)


def choose(found: Sequence[RunSummary]) -> tuple[RunSummary, RunSummary]:
    """Show two boxes; at first the newest run and the one of its suite before it."""
    by = {run.path.name: run for run in found}
    names = list(by)
    older, newer = pair(found)
    with st.container(horizontal=True):
        base = st.selectbox("Baseline", names, older, key="base", bind="query-params")
        candidate = st.selectbox("Candidate", names, newer, key="candidate", bind="query-params")
    if by[base].suite != by[candidate].suite:
        st.warning("These are runs of different suites: only cells that both have are compared.")
    return by[base], by[candidate]


def pair(found: Sequence[RunSummary]) -> tuple[int, int]:
    """Return the places of the newest run that has an older one of its suite, and of that."""
    for newer, run in enumerate(found):
        for older in range(newer + 1, len(found)):
            if found[older].suite == run.suite:
                return older, newer
    return 1, 0


def banner(comparison: Comparison) -> None:
    """Say first whether times may be compared at all."""
    barring = [d for d in comparison.differences if d.forbids != "nothing"]
    if barring:
        st.warning("The environments differ: times are not comparable, what is counted is.")
    elif comparison.differences:
        st.info("The environments are equal in all that matters; what differs explains only.")
    else:
        st.success("The environments are equal.")
    if comparison.differences:
        with st.expander("What differs", key="compare-environment", expanded=bool(barring)):
            rows = [
                {"key": d.key, "baseline": d.base, "candidate": d.candidate, "forbids": d.forbids}
                for d in comparison.differences
            ]
            st.dataframe(rows, hide_index=True, key="compare-differences", alt="What differs")


def show(comparison: Comparison, candidate: str) -> None:
    """Show the verdicts of one metric: counts, forest, table, Markdown."""
    metrics = verdicts.metrics(comparison)
    if not metrics:
        st.info("No cell has numbers in both runs.")
        st.text(verdicts.excluded(comparison))
        missing(comparison)
        return
    metric = st.selectbox(
        "Metric",
        metrics,
        format_func=lambda name: theme.metric(name).tab,
        key="compared",
        bind="query-params",
        width=260,
    )
    rows = verdicts.rows(comparison, metric)
    counts = verdicts.counts(rows)
    with st.container(horizontal=True):
        for verdict, n in counts.items():
            st.metric(verdicts.WORDS[verdict].capitalize(), n, border=True)
    st.text(verdicts.excluded(comparison))
    drawn = [row for row in rows if row.ratio]
    finding = verdicts.headline(rows)
    st.text(finding)
    if drawn:
        name = f"compare-{metric}"
        shell.chart(forest(drawn, shell.ink()), key="compare-forest", alt=finding, name=name)
        told = "whiskers: 95 % interval of the ratio; grey: band in which a change counts as noise"
        if len(drawn) > MOST_ROWS:
            told += f"; the {MOST_ROWS} worst of {len(drawn)} are drawn, the table has all"
        shell.caption(told)
    with st.expander("Table and Markdown", key="compare-numbers"):
        shell.table(verdicts.table(rows), key="compare", name=f"compare-{metric}", alt=finding)
        st.download_button(
            "Report in Markdown",
            verdicts.markdown(comparison, metric),
            f"compare-{metric}.md",
            "text/markdown",
            key="compare-report",
        )
    missing(comparison)
    jump(candidate, rows)


def missing(comparison: Comparison) -> None:
    """Show the cells without numbers on both sides, with their reasons."""
    left = verdicts.without(comparison)
    if left:
        with st.expander(f"{len(left)} cells without numbers on both sides", key="compare-left"):
            rows = [
                {
                    "cell": f"{c.cell.contender} {c.cell.phase} {theme.length(c.cell.seq_len)}",
                    "verdict": verdicts.WORDS[str(c.verdict)],
                    "why": c.reason or "",
                }
                for c in left
            ]
            st.dataframe(rows, hide_index=True, key="compare-without", alt="Cells without numbers")


def jump(candidate: str, rows: Sequence[verdicts.Row]) -> None:
    """Offer the way to a cell's raw samples in the candidate."""
    if not rows:
        return
    labels = {row.cell_id: row.label for row in rows}
    cell = st.selectbox(
        "Look at a cell", list(labels), format_func=labels.__getitem__, key="look", width=420
    )
    shell.way("Its raw samples", "cell", key="samples", run=candidate, cell=cell)


main()
